"""Merge an adapter into its base, check the result, and export it only if it passes. Introduced in 10_deploy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.chat import render
from labkit.errors import LabError
from labkit.quiet import quiet
from labkit.store import MANIFEST, Store, hash_file, write_bytes, write_json

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from labkit.model import Model
    from labkit.rag.augment import Message

CARD = """---
library_name: transformers
pipeline_tag: text-generation
---

# {name}

The model {base} with the adapter {adapter} merged into its weights ({dtype}).

| made of | SHA-256 of the files |
|---|---|
| base {base} | `{base_files}` |
| base and adapter | `{files}` |

## What it passed before it was exported

| check | measured | limit |
|---|---|---|
{checks}

Answers are right or wrong by these checks only: on other questions, measure again before you rely on it.

## Use

    labkit serve {name}
    vllm serve {name} --host 127.0.0.1 --generation-config vllm

The licence is that of the base. `manifest.json` holds the SHA-256 of every file.
"""
QWEN_OPENS = "<|im_start|>assistant\n"


@dataclass(frozen=True)
class Limits:
    """What a model must reach before it may be exported.

    Shares of the exam: `accuracy` on what the documents answer, `style` and `finished` of all answers, and
    `kept`: of what the base answered right from the same passages, the part that is still right. `weight` bounds
    the megabytes as a multiple of the base's, `gap` the largest difference between a logit merged and unmerged.

    >>> Limits(style=0.5).kept
    0.7
    """

    accuracy: float = 0.3
    style: float = 0.9
    kept: float = 0.7
    finished: float = 0.95
    weight: float = 1.01
    gap: float = 1e-3


LIMITS = Limits()


@dataclass(frozen=True)
class Check:
    """One measured `value` against its `limit`, which it must reach, or may not exceed where `at_most`.

    >>> Check("style", 0.4, 0.9).passed, Check("broken weights", 0, 0, at_most=True).passed
    (False, True)
    """

    name: str
    value: float
    limit: float
    at_most: bool = False

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; a value that is not a number keeps none."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    @property
    def bound(self) -> str:
        """The limit in words."""
        return f"{'at most' if self.at_most else 'at least'} {self.limit:.3g}"

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3g} ({self.bound})"


def weight_checks(model: Model, base_size: int, limits: Limits = LIMITS) -> list[Check]:
    """Whether every weight is a finite number, and whether the model weighs what its base of `base_size` parameters does.

    >>> [check.name for check in weight_checks(model, model.size)]
    ['broken weights', 'megabytes']
    """
    weights = list(model.network.parameters())
    broken = sum(int((~weight.isfinite()).sum()) for weight in weights)
    size = sum(weight.numel() * weight.element_size() for weight in weights) / 1e6
    allowed = limits.weight * base_size * weights[0].element_size() / 1e6
    return [Check("broken weights", broken, 0, True), Check("megabytes", size, allowed, True)]


def require(checks: Sequence[Check]) -> None:
    """Let nothing pass that fails a check: LabError naming each that does.

    >>> require([Check("style", 0.95, 0.9)])
    """
    failed = [str(check) for check in checks if not check.passed]
    if failed:
        count = f"{len(failed)} of {len(checks)} checks failed"
        raise LabError(f"not exported, {count}: {'; '.join(failed)}. Train differently, or change the limits")


def logits(model: Model, conversations: Sequence[Sequence[Message]]) -> list[torch.Tensor]:
    """What a model makes of each conversation: float32 of shape (tokens, vocabulary)."""
    import torch

    ids = [torch.tensor([model.encode(talk)], device=model.network.device) for talk in conversations]
    with torch.inference_mode():
        return [model.network(input_ids=row, use_cache=False).logits[0].float() for row in ids]


def largest_gap(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """The largest difference between two models' `logits`; not a number where one of them has such."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def merge(
    base: Path | str, adapter: Path | str, conversations: Sequence[Sequence[Message]], dtype: str = "float32"
) -> tuple[Model, float]:
    """The merged model in `dtype`, and the largest difference that merging made to a logit, both in float32.

    Only one copy of the weights is held. Raises LabError as `load_model` does.

    >>> model, gap = merge("data/models/pocket", adapter, [messages])
    """
    import torch

    from labkit.model import DTYPES, Model, find, load_model

    if dtype not in DTYPES:
        raise LabError(f"unknown dtype '{dtype}': choose {', '.join(DTYPES)}")
    beside = load_model(base, dtype="float32", adapter=adapter, merge=False)
    before = logits(beside, conversations)
    with quiet():
        network = beside.network.merge_and_unload()
    folders = [find(str(base), None), Path(adapter)]
    gap = largest_gap(logits(Model(network, beside.tokenizer, folders), conversations), before)
    return Model(network.to(getattr(torch, dtype)), beside.tokenizer, folders), gap


def export(model: Model, folder: Path | str, checks: Sequence[Check], base: str, adapter: str, base_files: str) -> Path:
    """Write safetensors, tokenizer, card, the checks and, last, the manifest; the folder appears whole or not at all.

    Raises LabError for a check that failed, a folder that is there already, and one that cannot be written.
    """
    require(checks)
    target = Path(folder).absolute()
    if target.exists():
        raise LabError(f"{folder} is there already: choose another folder, or remove it")
    rows = "\n".join(f"| {c.name} | {c.value:.3g} | {c.bound} |" for c in checks)
    origin = {"base": base, "adapter": adapter, "base_files": base_files, "files": model.fingerprint}
    card = CARD.format(name=target.name, dtype=model.dtype, checks=rows, **origin)

    if template := answer_format(model.tokenizer):
        model.tokenizer.response_template = template  # saved with the tokenizer

    def write(inside: Path) -> None:
        with quiet():
            model.network.save_pretrained(inside)
            model.tokenizer.save_pretrained(inside)
        write_bytes(inside / "README.md", card.encode())
        write_json(inside / "checks.json", [asdict(check) | {"passed": check.passed} for check in checks])

    try:
        return Store(target.parent).commit(target.name, write)
    except OSError as error:
        raise LabError(f"cannot write {folder} ({error.strerror}): make room, or choose another folder") from error


def answer_format(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any] | None:
    """How an answer begins and ends in the tokenizer's own chat template, as transformers' `response_template`.

    None where the template opens answers as Qwen's does, or says how to read them: servers know those.

    >>> answer_format(load_model("data/models/pocket").tokenizer)["start_anchor"]
    '<|im_start|>assistant'
    """
    question = [{"role": "user", "content": "?"}]
    opened, closed = (render(tokenizer, question, prompt=prompt) for prompt in (True, False))
    begin = opened.removeprefix(closed)
    if getattr(tokenizer, "response_template", None) or QWEN_OPENS in opened or begin == opened:
        return None
    content = {"close": tokenizer.eos_token, "content": "text"}
    return {"defaults": {"role": "assistant"}, "start_anchor": begin, "fields": {"content": content}}


def verify(folder: Path | str) -> Path:
    """The folder of an export, once every file that its manifest lists is found unchanged; else LabError naming it."""
    folder = Path(folder)
    try:
        listed: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{folder} has no whole {MANIFEST}: export it again") from error
    for name, wanted in listed.items():
        if not (folder / name).is_file() or hash_file(folder / name) != wanted:
            raise LabError(f"{name} in {folder} is damaged or missing: export it again")
    return folder
