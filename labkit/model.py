"""A causal language model that answers conversations greedily, in batches. Introduced in 00_start."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.attention import use_blocks
from labkit.chat import encode, ends, render
from labkit.checkpoint import DTYPES, adapt, find, precision, read
from labkit.checkpoint import fingerprint as fingerprint
from labkit.errors import LabError
from labkit.generate import greedy, plan
from labkit.hashing import address
from labkit.quiet import quiet
from labkit.rag.augment import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from labkit.cache import Cache

RECIPE = "greedy/1"
"""Raised by hand whenever other tokens come out of the same weights and prompt; a test holds ten answers to it."""


@dataclass(frozen=True)
class Generation:
    """One answer. `output_tokens` counts the end token; `seconds` is the share of its batch, by tokens."""

    text: str
    prompt_tokens: int
    output_tokens: int
    seconds: float


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

        With a `cache`, equal prompts are answered once, each batch is kept as it is done, and what was answered before by the
        same weights in the same precision is taken from there.

        Conversations of like length share a batch of at most `batch_tokens`, answers included. In float32 a
        batch answers as one by one does; in bfloat16 rounding may turn a near tie. The checkpoint's sampling
        settings are not used. Raises LabError for a prompt that leaves no room for `max_new_tokens`.

        >>> model.generate([messages], max_new_tokens=8)[0].output_tokens
        8
        """
        prompts = [self.encode(messages) for messages in conversations]
        self._check(prompts, max_new_tokens)
        cache = cache if self._folders else None  # a network without files has no name to be kept under
        keys = [self._key(prompt, max_new_tokens) if cache else i.to_bytes(4) for i, prompt in enumerate(prompts)]
        made = {key: Generation(**json.loads(text)) for key, text in (cache.get(keys) if cache else {}).items()}
        left = {key: i for i, key in enumerate(keys) if key not in made}
        if progress and len(left) < len(prompts):
            progress(len(prompts) - len(left))
        todo = list(left.values())
        for batch in plan([len(prompts[i]) for i in todo], max_new_tokens, batch_tokens):
            new = self._answer({todo[place]: prompts[todo[place]] for place in batch}, max_new_tokens)
            if cache:
                cache.put({keys[i]: json.dumps(asdict(one)).encode() for i, one in new.items()})
            made |= {keys[i]: one for i, one in new.items()}
            if progress:
                progress(len(batch))
        return [made[key] for key in keys]

    def _key(self, prompt: Sequence[int], room: int) -> bytes:
        """What decides an answer: weights, precision, prompt, room and the recipe of decoding."""
        parts = {"model": self.fingerprint, "dtype": self.dtype, "prompt": list(prompt), "room": room}
        return bytes.fromhex(address(recipe=RECIPE, **parts))

    def _answer(self, prompts: dict[int, list[int]], limit: int) -> dict[int, Generation]:
        began = time.perf_counter()
        outputs = greedy(self.network, list(prompts.values()), self._ends, limit)
        texts = [self.tokenizer.decode(output, skip_special_tokens=True).strip() for output in outputs]
        sizes = [(len(prompt), len(output)) for prompt, output in zip(prompts.values(), outputs, strict=True)]
        per_token = (time.perf_counter() - began) / sum(map(sum, sizes))
        return {
            i: Generation(text, *size, sum(size) * per_token)
            for i, text, size in zip(prompts, texts, sizes, strict=True)
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
    revision: str | None = None,
) -> Model:
    """The model in a folder or under a hub id, on the GPU where there is one.

    Only safetensors are read and no code of the model's runs. `adapter` is a peft folder; merged (in float32,
    before the weights take `dtype`), a tuned model runs at the speed and precision of its base. "auto" is
    bfloat16 where the processor computes in it, else float32. Raises LabError for what cannot be loaded.
    Introduced in 00_start.

    >>> load_model("data/models/pocket", dtype="float32").context
    2048
    """
    if dtype not in ("auto", *DTYPES):
        raise LabError(f"unknown dtype '{dtype}': choose auto, {', '.join(DTYPES)}")
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = getattr(torch, precision(device) if dtype == "auto" else dtype)
    with quiet():
        folder = find(str(path_or_id), revision)
        network, tokenizer = read(folder, torch.float32 if adapter and merge else wanted)
        if adapter:
            network = adapt(network, Path(adapter), merge)
    use_blocks(network.to(device, wanted))
    return Model(network, tokenizer, [folder, *([adapter] if adapter else [])])
