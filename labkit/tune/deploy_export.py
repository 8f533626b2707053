"""Merge an adapter into its base and export the result, whole or not at all. Introduced in 10_deploy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.quiet import quiet
from labkit.rag.augment import Message, build_messages
from labkit.store import Store, write_bytes, write_json
from labkit.tune.deploy import LIMITS, Check, Limits, exam_checks, require, sit_exam, weight_checks
from labkit.tune.deploy_chat import answer_format

if TYPE_CHECKING:
    import torch

    from labkit.lab import Lab
    from labkit.model import Model

ARMS = ("tuned", "hybrid")
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
    Introduced in 10_deploy.

    >>> model, gap = merge("data/models/pocket", adapter, [messages])
    """
    import torch

    from labkit.checkpoint import DTYPES, find
    from labkit.model import Model, load_model

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
    Introduced in 10_deploy.
    """
    require(checks)
    target = Path(folder).absolute()
    if target.exists():
        raise LabError(f"{folder} is there already: choose another folder, or remove it")
    rows = "\n".join(f"| {c.name} | {c.value:.3g} | {c.bound} |" for c in checks)
    made_of = {"base": base, "adapter": adapter, "base_files": base_files, "files": model.fingerprint}
    card = CARD.format(name=target.name, dtype=model.dtype, checks=rows, **made_of)

    if found := answer_format(model.tokenizer):
        model.tokenizer.response_template = found  # saved with the tokenizer

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


def merge_into(
    lab: Lab,
    adapter: str,
    folder: Path | str,
    dtype: str = "float32",
    exam: bool | None = None,
    limits: Limits = LIMITS,
) -> list[Check]:
    """Merge an adapter, "tuned", "hybrid" or a folder, into the lab's base and export it if it passes the gate.

    `exam`: also ask the course's questions; unless told, of the course's own adapters only. Gives the checks.
    Raises LabError as `export` and `load_model` do. Introduced in 10_deploy.
    """
    if Path(folder).exists():
        raise LabError(f"{folder} is there already: choose another folder, or remove it")
    path = lab.adapter(adapter) if adapter in ARMS else Path(adapter)
    probes = [build_messages(item.question) for item in lab.questions[:8]]
    model, gap = merge(lab.profile.model_path, path, probes, dtype)
    checks = [*weight_checks(model, lab.model.size, limits), Check("merging gap", gap, limits.gap, True)]
    if exam or (exam is None and adapter in ARMS):
        room = lab.profile.max_new_tokens
        checks += exam_checks(sit_exam(lab, model), sit_exam(lab, lab.model), room, limits)
    export(model, folder, checks, Path(lab.profile.model).name, Path(adapter).name, lab.model.fingerprint)
    return checks
