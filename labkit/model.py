"""A causal language model that answers conversations greedily, in batches."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.decode import Reader, common_prefix, greedy, plan, read_prefix
from labkit.errors import LabError, one_line
from labkit.hub import pinned
from labkit.quiet import quiet
from labkit.store import address, hash_file

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

    from labkit.store import Cache


Message = dict[str, str]
"""Role and content of one turn."""
DTYPES = ("float32", "bfloat16", "float16")
FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*",
         "chat_template*", "vocab*", "merges*", "special_tokens_map.json", "added_tokens.json",
         "adapter_config.json")  # fmt: skip


def precision(device: str) -> str:
    """bfloat16 where the processor computes in it (measured faster there), else float32."""
    import torch

    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    checks = [getattr(torch.cpu, name, None) for name in names]
    return "bfloat16" if any(check and check() for check in checks) else "float32"


def fingerprint(*folders: Path | str) -> str:
    """SHA-256 of the weights, configuration and tokenizer files in the folders of a model and its adapter.

    Loads nothing: it names a model for a content address. Raises LabError for a folder without weights.
    """
    hashes = []
    for folder in folders:
        paths = (path for pattern in FILES for path in Path(folder).glob(pattern))
        present = {path.name: path for path in paths if path.is_file()}
        if not any(name.endswith(".safetensors") for name in present):
            raise LabError(f"no safetensors weights in {folder}: give the folder of a transformers model")
        hashes.append({name: hash_file(path) for name, path in sorted(present.items())})
    return address(files=hashes)


def find(name: Path | str) -> Path:
    """The folder itself, or that of a hub id at its pinned revision; LabError for neither."""
    folder = Path(pinned(str(name)))
    if not folder.is_dir():
        raise LabError(f"no model '{name}': give a folder with config.json and model.safetensors, or a hub id")
    return folder


def read(folder: Path, dtype: object, **options: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Network and tokenizer of a folder; LabError for pickled, incomplete or damaged weights."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    safe = {"trust_remote_code": False, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **safe)
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, **safe, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise LabError(f"cannot load {folder} ({one_line(error)}): give a whole safetensors checkpoint") from error
    return network, tokenizer


def adapt(network: PreTrainedModel, adapter: Path, merge: bool) -> PreTrainedModel:
    """The network with a peft adapter in its weights, or beside them; LabError for one that does not fit."""
    from peft import PeftModel
    from safetensors import SafetensorError

    missing = [n for n in ("adapter_config.json", "adapter_model.safetensors") if not (adapter / n).is_file()]
    if missing:
        raise LabError(f"{adapter} holds no {missing[0]}: give the folder that train_adapter wrote")
    try:
        with warnings.catch_warnings():  # weights that the file lacks would stay untrained, with no more than a warning
            warnings.filterwarnings("error", "(?s).*missing adapter keys")
            tuned = PeftModel.from_pretrained(network, str(adapter))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, UserWarning) as error:
        raise LabError(f"{adapter} does not fit this model ({one_line(error)}): train it on this base") from error
    if not merge:
        return tuned
    # peft gives frozen weights back, and PyTorch multiplies a sliced batch by frozen weights row by row, each row with its
    # own copy of them: at the output head that took a gigabyte.
    return tuned.merge_and_unload().requires_grad_(True)


RECIPE = "greedy/2"
"""Raised by hand whenever other tokens come out of the same weights and prompt; a test holds ten answers to it."""


@dataclass(frozen=True)
class Generation:
    """One answer. `output_tokens` counts the end token; `seconds` is the share of its batch, by tokens; `cut`: it had no end."""

    text: str
    prompt_tokens: int
    output_tokens: int
    seconds: float
    cut: bool = False


class Model:
    """A network with its tokenizer: counts prompts and generates answers. Made by `load_model`.

    >>> model = load_model("data/models/pocket")
    >>> model.generate([[{"role": "user", "content": "Question: Who are you?"}]])[0].text
    """

    def __init__(
        self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folders: Sequence[Path | str] = ()
    ) -> None:
        self.network, self.tokenizer, self._folders = network.eval(), tokenizer, folders
        self._ends = ends(tokenizer, network.generation_config)
        known = getattr(network.config.get_text_config(), "max_position_embeddings", None)
        self.context = int(known or min(tokenizer.model_max_length, 1_000_000))
        self.dtype = str(network.dtype).removeprefix("torch.")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the files it was loaded from; see `labkit.model.fingerprint`."""
        return fingerprint(*self._folders)

    @property
    def size(self) -> int:
        """Number of parameters; shared ones count once."""
        return sum(weight.numel() for weight in self.network.parameters())

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation up to where the answer begins."""
        return encode(self.tokenizer, render(self.tokenizer, messages, prompt=True))

    def count(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of a conversation."""
        return len(self.encode(messages))

    def generate(
        self,
        conversations: Sequence[Sequence[Message]],
        max_new_tokens: int = 64,
        batch_tokens: int = 16_384,
        progress: Callable[[int], object] | None = None,
        cache: Cache | None = None,
    ) -> list[Generation]:
        """Greedy answers in the order of the conversations; `progress` gets each batch's number of rows.

        What all prompts begin with, where it is long, is read once. With a `cache`, equal prompts are answered once, each
        batch is kept as it is done, and what was answered before by the same weights in the same precision is taken from
        there.

        Conversations of similar length share a batch of at most `batch_tokens`, answers included. In float32 a
        batch answers as one by one does; in bfloat16 rounding may turn a near tie. The checkpoint's sampling
        settings are not used. Raises LabError for a prompt that leaves no room for `max_new_tokens`.
        """
        prompts = [self.encode(messages) for messages in conversations]
        self._check(prompts, max_new_tokens)
        cache = cache if self._folders else None  # a network without files has no name to be kept under
        keys = [self._key(prompt, max_new_tokens) for prompt in prompts] if cache else list(range(len(prompts)))
        known = cache.get(keys) if cache else {}
        answers = {key: Generation(**json.loads(text)) for key, text in known.items()}
        left = {key: i for i, key in enumerate(keys) if key not in answers}  # equal prompts have one key
        if progress and len(left) < len(prompts):
            progress(len(prompts) - len(left))
        todo = list(left.values())
        batches = plan([len(prompts[i]) for i in todo], max_new_tokens, batch_tokens)
        # Instructions and pasted documents begin every prompt: their keys and values are computed once for all batches.
        prefix = common_prefix([prompts[i] for i in todo])
        start = read_prefix(self.network, prefix) if todo else None
        for batch in batches:
            rest = {todo[place]: prompts[todo[place]][len(prefix) :] for place in batch}
            new = self._answer(rest, max_new_tokens, start)
            if cache:
                cache.put({keys[i]: json.dumps(asdict(one)).encode() for i, one in new.items()})
            answers |= {keys[i]: one for i, one in new.items()}
            if progress:
                progress(len(batch))
        return [answers[key] for key in keys]

    def _key(self, prompt: Sequence[int], room: int) -> bytes:
        """What decides an answer: weights, precision, prompt, room and the recipe of decoding."""
        parts = {"model": self.fingerprint, "dtype": self.dtype, "prompt": list(prompt), "room": room}
        return bytes.fromhex(address(recipe=RECIPE, **parts))

    def _answer(self, prompts: dict[int, list[int]], limit: int, start: Reader) -> dict[int, Generation]:
        began, before = time.perf_counter(), start.length
        outputs = greedy(self.network, list(prompts.values()), self._ends, limit, start)
        texts = [self.tokenizer.decode(output, skip_special_tokens=True).strip() for output in outputs]
        sizes = [(before + len(prompt), len(output)) for prompt, output in zip(prompts.values(), outputs, strict=True)]
        per_token = (time.perf_counter() - began) / sum(map(sum, sizes))
        return {
            i: Generation(text, *size, sum(size) * per_token, output[-1] not in self._ends)
            for i, text, size, output in zip(prompts, texts, sizes, outputs, strict=True)
        }

    def _check(self, prompts: Sequence[list[int]], room: int) -> None:
        if room < 1:
            raise LabError(f"max_new_tokens is {room}: ask for at least 1")
        for i, prompt in enumerate(prompts):
            if len(prompt) + room > self.context:
                raise LabError(
                    f"conversation {i} has {len(prompt)} tokens, and {self.context - room} fit beside {room} "
                    "new ones: retrieve fewer or smaller chunks, or lower max_new_tokens"
                )


def load_model(
    path_or_id: Path | str,
    dtype: str = "auto",
    adapter: Path | str | None = None,
    merge: bool = True,
) -> Model:
    """The model in a folder or under a hub id, on the GPU where there is one.

    Only safetensors are read and no code of the model's runs. `adapter` is a peft folder; merged (in float32,
    before the weights take `dtype`), a tuned model runs at the speed and precision of its base. "auto" is
    bfloat16 where the processor computes in it, else float32. Raises LabError for what cannot be loaded.
    """
    if dtype not in ("auto", *DTYPES):
        raise LabError(f"unknown dtype '{dtype}': choose auto, {', '.join(DTYPES)}")
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = getattr(torch, precision(device) if dtype == "auto" else dtype)
    with quiet():
        folder = find(path_or_id)
        network, tokenizer = read(folder, torch.float32 if adapter and merge else wanted)
        if adapter:
            network = adapt(network, Path(adapter), merge)
    return Model(network.to(device, wanted), tokenizer, [folder, *([adapter] if adapter else [])])


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], prompt: bool = False) -> str:
    """A conversation as text in the model's chat template; `prompt` opens the answer.

    A model without a template gets "system\\n\\nuser\\n", each answer closed by its end token. Models
    that can think aloud are told not to. Where the template knows no system role, its text goes to the front of the
    user's. A text that spells a special token stays text: it closes no turn. Raises LabError for messages that the
    template refuses.

    >>> render(tokenizer, [{"role": "user", "content": "Why?"}], prompt=True)
    '<|im_start|>user\\nWhy?<|im_end|>\\n<|im_start|>assistant\\n'
    """
    if not messages:
        raise LabError("a conversation is empty: give it a message")
    messages = [{**message, "content": _parted(tokenizer, message["content"])} for message in messages]
    if not tokenizer.chat_template:
        close = {"system": "\n\n", "user": "\n", "assistant": f"{tokenizer.eos_token or ''}\n"}
        text = "".join(message["content"] + close[message["role"]] for message in messages)
        return (tokenizer.bos_token or "") + text
    from jinja2 import TemplateError

    refused: Exception | None = None
    for turns in (messages, _without_system(messages)):
        try:
            return tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=prompt, enable_thinking=False
            )
        except (TemplateError, KeyError, TypeError) as error:
            refused = refused or error
    roles = [message.get("role") for message in messages]
    raise LabError(f"the chat template refuses the roles {roles} ({refused}): reorder them") from refused


CUT = "\ufdd0"  # a noncharacter, which no text holds: where it stands, what spells a special token is tokenised in two


def _parted(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """A text with a cut within whatever spells a special token, so that a document cannot end a turn or begin another."""
    marks = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    for mark in marks | set(tokenizer.all_special_tokens):
        if mark in text:
            text = text.replace(mark, mark[:1] + CUT + mark[1:])
    return text


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The system's text at the front of the first user message; the messages themselves where they begin otherwise."""
    if [message["role"] for message in messages[:2]] != ["system", "user"]:
        return list(messages)
    system, user, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of rendered text: nothing is added, as the template holds every special token."""
    if CUT in text:
        return [i for part in text.split(CUT) for i in encode(tokenizer, part)]
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def ends(tokenizer: PreTrainedTokenizerBase, settings: GenerationConfig | None = None) -> frozenset[int]:
    """The ids that end an answer: the tokenizer's end token and those of the generation settings."""
    listed = settings.eos_token_id if settings is not None else None
    several = listed if isinstance(listed, list) else [listed]
    return frozenset(i for i in [tokenizer.eos_token_id, *several] if i is not None)
