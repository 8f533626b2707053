"""The gate: a tuned model is measured, and exported only if it passes. Introduced in 10_deploy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from labkit.compare.score import score
from labkit.errors import LabError
from labkit.store import address

if TYPE_CHECKING:
    from labkit.data import Item
    from labkit.lab import Lab
    from labkit.model import Model

EXAM = 60  # questions, some of each kind


@dataclass(frozen=True)
class Limits:
    """What a model must reach before it may be exported.

    Shares of the exam: `accuracy` on what the documents answer, `style` and `finished` of all answers, and
    `kept`: of what the base answered right from the same passages, the part that is still right. `weight` bounds
    the megabytes as a multiple of the base's, `gap` the largest difference between a logit merged and unmerged.
    Introduced in 10_deploy.

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


def exam_items(lab: Lab) -> list[Item]:
    """The questions of the exam, none of which any training pair asks: some of each kind."""
    from labkit.lab import spread

    return spread(lab.questions, EXAM)


def sit_exam(lab: Lab, model: Model) -> list[dict[str, Any]]:
    """The model's answers from retrieved passages, one scored row per question; remembered by the model's files."""
    from tqdm import tqdm

    from labkit.compare.arms import Hybrid

    items, p = exam_items(lab), lab.profile
    arm = Hybrid(model, lab.retriever(), p.top_k, p.max_new_tokens)

    def make() -> list[dict[str, Any]]:
        with tqdm(total=len(items), desc="exam", unit="answer", disable=not lab.progress, leave=False) as bar:
            answers = arm.answer([item.question for item in items], bar.update)
        return [score(item, answer) for item, answer in zip(items, answers, strict=True)]

    asked = {"exam": address(items=items), "model": model.fingerprint, "dtype": model.dtype, "profile": asdict(p)}
    return lab.artifacts.value(make, what="exam", hashes=lab.hashes, **asked)


def exam_checks(
    rows: Sequence[dict[str, Any]], base_rows: Sequence[dict[str, Any]], room: int, limits: Limits = LIMITS
) -> list[Check]:
    """What an exam shows, beside the same exam of the base; an answer of `room` tokens did not end by itself.

    Both are rows of `sit_exam`, in the same order.
    """
    can = [row["answerable"] for row in rows]
    kept = [
        row["correct"] for row, before in zip(rows, base_rows, strict=True) if row["answerable"] * before["correct"]
    ]
    right = [row["correct"] for row, asked in zip(rows, can, strict=True) if asked]
    return [
        Check("accuracy", _share(right), limits.accuracy),
        Check("style", _share([row["style"] for row in rows]), limits.style),
        Check("reading kept", _share(kept), limits.kept),
        Check("answers finished", _share([row["output_tokens"] < room for row in rows]), limits.finished),
    ]


def _share(flags: Sequence[float]) -> float:
    """The mean; 1 of nothing, since what was never there cannot be lost."""
    return sum(flags) / len(flags) if flags else 1.0


def require(checks: Sequence[Check]) -> None:
    """Let nothing pass that fails a check: LabError naming each that does. Introduced in 10_deploy.

    >>> require([Check("style", 0.95, 0.9)])
    """
    failed = [str(check) for check in checks if not check.passed]
    if failed:
        count = f"{len(failed)} of {len(checks)} checks failed"
        raise LabError(f"not exported, {count}: {'; '.join(failed)}. Train differently, or change the limits")
