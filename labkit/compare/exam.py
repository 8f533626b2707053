"""The exam before an export: a tuned model answers the course's questions beside its base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.compare.arms import Hybrid
from labkit.compare.lab import Lab, spread
from labkit.compare.score import score
from labkit.data import Item
from labkit.errors import LabError
from labkit.model import Model
from labkit.profile import TRAINED
from labkit.quiet import bar
from labkit.rag.augment import build_messages
from labkit.store import address
from labkit.tune.deploy import LIMITS, Check, Limits, export, merge, weight_checks

EXAM = 60  # questions, some of each kind


def exam_items(lab: Lab) -> list[Item]:
    """The questions of the exam, none of which any training pair asks: some of each kind."""
    return spread(lab.questions, EXAM)


def sit_exam(lab: Lab, model: Model) -> list[dict[str, Any]]:
    """The model's answers from retrieved passages, one scored row per question; remembered by the model's files."""
    items, p = exam_items(lab), lab.profile
    arm = Hybrid(model, lab.retriever(), p.top_k, p.max_new_tokens)

    def make() -> list[dict[str, Any]]:
        """Sit the exam now."""
        with bar(len(items), "exam", lab.progress) as steps:
            answers = arm.answer([item.question for item in items], steps.update)
        return [score(item, answer) for item, answer in zip(items, answers, strict=True)]

    parts = {"exam": address(items=items), "model": model.fingerprint, "dtype": model.dtype, "profile": asdict(p)}
    return lab.artifacts.value(make, what="exam", hashes=lab.hashes, **parts)


def exam_checks(
    rows: Sequence[dict[str, Any]], base_rows: Sequence[dict[str, Any]], room: int, limits: Limits = LIMITS
) -> list[Check]:
    """What an exam shows, beside the same exam of the base; an answer of `room` tokens did not end by itself.

    Both are rows of `sit_exam`, in the same order.
    """
    answers, before = pd.DataFrame(rows), pd.DataFrame(base_rows)
    can = answers.answerable == 1
    shares = {
        "accuracy": (answers.correct[can], limits.accuracy),
        "style": (answers["style"], limits.style),
        "reading kept": (answers.correct[can & (before.correct == 1)], limits.kept),
        "answers finished": (answers.output_tokens < room, limits.finished),
    }
    # Of nothing all: what was never there cannot be lost.
    return [Check(name, float(flags.mean()) if len(flags) else 1.0, limit) for name, (flags, limit) in shares.items()]


def merge_into(
    lab: Lab, adapter: str, folder: Path | str, dtype: str = "float32", exam: bool | None = None
) -> list[Check]:
    """Merge an adapter, "tuned", "hybrid" or a folder, into the lab's base and export it if it passes the gate.

    `exam`: also ask the course's questions; None asks them of the course's own adapters only. Gives the checks.
    Raises LabError as `export` and `load_model` do.
    """
    if Path(folder).exists():
        raise LabError(f"{folder} is there already: choose another folder, or remove it")
    path = lab.adapter(adapter) if adapter in TRAINED else Path(adapter)
    probes = [build_messages(item.question) for item in lab.questions[:8]]
    model, gap = merge(lab.profile.model_path, path, probes, dtype)
    checks = [*weight_checks(model, lab.model.size), Check("merging gap", gap, LIMITS.gap, True)]
    if exam or (exam is None and adapter in TRAINED):
        room = lab.profile.max_new_tokens
        checks += exam_checks(sit_exam(lab, model), sit_exam(lab, lab.model), room)
    export(model, folder, checks, Path(lab.profile.model).name, Path(adapter).name, lab.model.fingerprint)
    return checks
