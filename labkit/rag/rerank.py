"""A cross-encoder reads query and passage together and orders what a search found. Introduced in 05_retrieve."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError
from labkit.rag.chunk import Chunk
from labkit.rag.retrieve_base import Retriever

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class Rerank(Retriever):
    """The first `depth` hits of a retriever, ordered by a cross-encoder; scores run from 0 to 1.

    An embedder must say all about a passage before it knows the question; a cross-encoder reads both at once:
    slower by far, and usually better at the top (Nogueira & Cho, 2019). Introduced in 05_retrieve.

    >>> Rerank(Dense(store), load_reranker("cross-encoder/ms-marco-MiniLM-L6-v2")).search("How heavy is the pump?")
    """

    first: Retriever
    model: Any
    depth: int = 20

    def __init__(self, first: Retriever, model: CrossEncoder, **settings: Any) -> None:
        super().__init__(first=first, model=model, **settings)

    def _find(self, queries: list[str], top_k: int) -> Iterable[list[tuple[Chunk, float]]]:
        found = self.first.search_batch(queries, max(self.depth, top_k))
        texts = [(q, hit.chunk.embedding_text) for q, hits in zip(queries, found, strict=True) for hit in hits]
        scores = iter(self.model.predict(texts, show_progress_bar=False).tolist() if texts else [])
        for hits in found:
            scored = [(hit.chunk, next(scores)) for hit in hits]
            yield sorted(scored, key=lambda pair: -pair[1])


def load_reranker(name: str | Path) -> CrossEncoder:
    """The cross-encoder in that folder or under that hub id, from safetensors; no code of its own runs.

    It gives one score for a query and a passage, here as a probability: models trained on MS MARCO emit logits
    of any size. Raises `LabError` for what cannot be loaded, and for a model without a trained, single score.
    Introduced in 05_retrieve.

    >>> load_reranker("BAAI/bge-reranker-base").predict([("How heavy is it?", "It weighs 12 kilograms.")])
    """
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoConfig

    remedy = "give the folder or hub id of a cross-encoder"
    try:
        config = AutoConfig.from_pretrained(str(name), trust_remote_code=False)
        trained = [kind for kind in config.architectures or [] if kind.endswith("ForSequenceClassification")]
        if not trained or config.num_labels != 1:
            raise LabError(f"{name} does not score pairs of texts: {remedy}")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options: dict[str, Any] = {"trust_remote_code": False, "model_kwargs": {"use_safetensors": True}}
        return CrossEncoder(str(name), device=device, activation_fn=torch.nn.Sigmoid(), **options)
    except (OSError, ValueError, KeyError) as error:
        raise LabError(f"no reranker '{name}' ({' '.join(str(error).split())[:120]}): {remedy}") from error
