"""Figures of answered questions by a name that says what they are: "style: tuned - rag". Introduced in 19_claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from labkit.compare.arms import ARMS, RIVALS
from labkit.compare.claims import needed
from labkit.compare.experiment import ask_arms
from labkit.compare.score import Table
from labkit.errors import LabError
from labkit.stats import Interval, bootstrap

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab

    Measured = Callable[[np.ndarray], np.ndarray]

NAME = re.compile(r"(?P<metric>\w+): (?P<arm>[\w-]+)(?: - (?P<other>[\w-]+))?(?: \((?P<kind>[^)]+)\))?")


def figure(answers: pd.DataFrame, name: str) -> Interval:
    """A metric of an arm or its difference between two, over all questions or one kind, with its interval.

    `name` is "METRIC: ARM", "METRIC: ARM - ARM", either with " (KIND)" behind; metrics as in `labkit.compare.score`.
    Raises LabError for a name of another form, and for an arm or kind without answers.

    >>> figure(answers, "accuracy: rag - base (two-hop)")
    """
    if not (match := NAME.fullmatch(name)):
        raise LabError(f"no figure '{name}': write 'metric: arm', 'metric: arm - arm' or either with ' (kind)'")
    metric, arm, other, kind = match.group("metric", "arm", "other", "kind")
    chosen = answers[answers.kind == kind] if kind else answers
    tables = [Table(chosen[chosen.arm == a]) for a in (arm, other) if a]
    if not all(table.n for table in tables):
        raise LabError(f"'{name}' has no answers: ask these arms, of these kinds: {', '.join(answers.kind.unique())}")
    values = [table.metric(metric) for table in tables]
    return bootstrap(lambda items: values[0](items) - (values[1](items) if other else 0.0), tables[0].n)


def found_and_missed(answers: pd.DataFrame) -> dict[str, Interval]:
    """How search and reader share the blame for RAG's answers, and what RAG and tuning get right between them."""
    can = answers[answers.answerable]
    found, right, tuned = (
        can[can.arm == arm].pivot(index="id", columns="seed", values=column).mean(axis=1).to_numpy(float)
        for arm, column in (("rag", "retrieved"), ("rag", "correct"), ("tuned", "correct"))
    )
    whole = found == 1

    def share(of: np.ndarray, where: np.ndarray) -> Measured:
        return lambda i: (of * where)[i].sum(-1) / np.maximum(where[i].sum(-1), 1)

    all_found, missed, everywhere = share(right, whole), share(right, ~whole), np.ones_like(right)
    either = can[can.arm == "tuned"].pivot(index="id", columns="seed", values="correct").to_numpy(float)
    either = np.maximum(either, right[:, None]).mean(1)
    made: dict[str, Measured] = {
        "accuracy where all was found: rag": all_found,
        "accuracy where all was found less where something was missed: rag": lambda i: all_found(i) - missed(i),
        "found but answered wrong: rag": share(whole * (1 - right), everywhere),
        "something was missed: rag": share(~whole, everywhere),
        "accuracy of either: rag or tuned less the better alone": lambda i: (
            either[i].mean(-1) - np.maximum(right[i].mean(-1), tuned[i].mean(-1))
        ),
    }
    return {name: bootstrap(value, len(right)) for name, value in made.items()}


def figures(lab: Lab) -> dict[str, Interval]:
    """What the claims of lessons 11 and 12 need, each by its name in claims.yaml."""
    wanted = [match for name in sorted(needed("11_hybrid", "12_compare")) if (match := NAME.fullmatch(name))]
    arms = {arm for match in wanted for arm in match.group("arm", "other") if arm}
    answers = ask_arms(lab, [arm for arm in (*ARMS, *RIVALS) if arm in arms or arm in ("rag", "tuned")])
    return found_and_missed(answers) | {match.string: figure(answers, match.string) for match in wanted}
