"""From answers to metrics with intervals: each answer is scored once, each metric resamples questions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from labkit.compare.arms import Answer, arm_class
from labkit.compare.training import holds
from labkit.data import Item, style_faults
from labkit.metrics import QUALITY, abstained, contains, f1_abstention, first_mention, is_share
from labkit.rag.retrieve import Hit
from labkit.stats import (
    GAP,
    SHARE,
    Difference,
    Interval,
    bootstrap,
    bootstrap_difference,
    bootstrap_mean,
    detectable,
    sign_flip,
    widen,
)

METRICS = (*QUALITY, "recall_at_k", "citation", "prompt_tokens", "output_tokens")
OF_PASSAGES = ("recall_at_k", "citation")
"""What an arm without passages has no value of: not zero, none."""


YEAR = re.compile(r"[12]\d{3}")
WHEN = re.compile(r"\b(?:when|what year|which year|the year|date|since)\b", re.IGNORECASE)
MEASURED = re.compile(
    r"\b\d[\d.,]*\s*(?:%|°|per ?cent|(?:kilo|milli|centi)?(?:gram|metre|meter|litre|liter)s?|[kmc]?[gm]|km|ml|tonnes?|tons?|pounds?"
    r"|ounces?|feet|foot|inch(?:es)?|miles?|hours?|minutes?|seconds?|days?|weeks?|months?|years|degrees|dollars|euros)\b",
    re.IGNORECASE,
)
"""A number with its unit."""


def is_right(item: Item, text: str) -> bool:
    """Whether an answer holds the exact gold value, in any of its accepted forms.

    Of two things compared the winner must be named first; a question that no document answers must be declined. Where a
    year is asked for, a number with a unit is none: "1520 grams" is no right answer to "In which year ...?".
    """
    if item.gold is None:
        return abstained(text)
    forms = (item.gold, *item.accepted)
    if item.rivals:
        return any(first_mention(text, form, item.rivals) for form in forms)
    if YEAR.fullmatch(item.gold) and WHEN.search(item.question):
        text = MEASURED.sub(" ", text)
    return any(contains(text, form) for form in forms)


def recall(item: Item, hits: Sequence[Hit]) -> float:
    """The share of the needed facts that some of the passages state; 0 where nothing is needed."""
    found = [any(holds(hit, fact) for hit in hits) for fact in item.evidence]
    return float(np.mean(found)) if found else 0.0


def score(item: Item, answer: Answer, rule: Callable[[Item, str], bool] = is_right) -> dict[str, Any]:
    """Everything that is measured of one answer; true and false as 1 and 0.

    `cited`: right, with a cited passage that proves it. `cut`: at the last token allowed; nothing said till then declines nothing.
    """
    declined, right = abstained(answer.text), rule(item, answer.text)
    if answer.cut and not answer.text:
        declined = right = False
    cited = right and any(holds(hit, e) for hit in answer.cited_hits for e in item.evidence)
    style = not style_faults(answer.text)
    return {
        "id": item.id,
        "kind": item.kind,
        "question": item.question,
        "gold": item.gold,
        "text": answer.text,
        "sources": ", ".join(answer.sources),
        "answerable": item.gold is not None,
        "correct": int(right),
        "style": int(style),
        "joint": int(right and style),
        "cited": int(cited),
        "abstained": int(declined),
        "cut": int(answer.cut),
        "retrieved": recall(item, answer.hits),
        "prompt_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens,
        "retrieval_ms": 1000 * answer.retrieval_seconds,
        "generation_ms": 1000 * answer.generation_seconds,
    }


class Table:
    """Answers of one arm as arrays of shape (questions, seeds), and its metrics as functions of resampled questions."""

    def __init__(self, answers: pd.DataFrame):
        can = answers.drop_duplicates("id").sort_values("id")["answerable"].to_numpy(bool)

        def column(name: str) -> np.ndarray:
            """One score of every answer, shape (questions, seeds)."""
            return answers.pivot(index="id", columns="seed", values=name).to_numpy(float)

        def mean(name: str) -> np.ndarray:
            """The same as one value for each question, shape (questions,)."""
            return column(name).mean(1)

        self.can, self.n, self.abstained = can, len(can), column("abstained").astype(bool)
        right, every = mean("correct") * can, np.ones(len(can))
        # Every metric but abstention is the sum of the first over that of the second, of the questions drawn.
        self.ratios = {
            "accuracy": (right, can.astype(float)),
            "joint": (mean("joint") * can, can.astype(float)),
            "recall_at_k": (mean("retrieved") * can, can.astype(float)),
            "citation": (mean("cited") * can, right),
            **{name: (mean(name), every) for name in ("style", "prompt_tokens", "output_tokens")},
        }

    def values(self, name: str) -> np.ndarray:
        """The accuracy, joint or style of each question that it is a mean over, shape (questions,)."""
        top, bottom = self.ratios[name]
        return top[bottom > 0]

    def counted(self, name: str) -> int:
        """How many questions a metric counts: those with an answer, those answered right, those without an answer, or all."""
        return int((~self.can if name == "abstention" else self.ratios[name][1] > 0).sum())

    def metric(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """The metric's value for each row of question numbers, shape (resamples, questions)."""
        if name == "abstention":
            return lambda items: np.mean([f1_abstention(s[items], ~self.can[items]) for s in self.abstained.T], axis=0)
        top, bottom = self.ratios[name]
        return lambda items: top[items].sum(-1) / np.maximum(bottom[items].sum(-1), 1e-9)

    def interval(self, name: str) -> Interval:
        """A metric with its interval over questions."""
        value = bootstrap(self.metric(name), self.n)
        return widen(value, self.counted(name), SHARE) if is_share(name) else value

    def above(self, other: Table, name: str) -> Difference:
        """How far a metric is above that of another arm on the same questions, with its interval and the bootstrap's p-value."""
        mine, theirs = self.metric(name), other.metric(name)
        gap = bootstrap_difference(lambda items: mine(items) - theirs(items), self.n)
        if not is_share(name):
            return gap
        wide = widen(gap.interval, min(self.counted(name), other.counted(name)), GAP)
        return replace(gap, low=wide.low, high=wide.high)


def summarise(
    answers: pd.DataFrame, times: Mapping[str, Sequence[float]] | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Every metric of every arm with its 95 % interval over questions; `times` holds milliseconds of single answers."""
    arms = {}
    for name in answers.arm.unique():
        table = Table(answers[answers.arm == name])
        own = [m for m in METRICS if arm_class(name).reads or m not in OF_PASSAGES]
        rows = {metric: table.interval(metric) for metric in own}
        measured = np.array((times or {}).get(name, []))
        for percent in (50, 95) if len(measured) else ():
            rows[f"latency_ms_p{percent}"] = bootstrap(
                lambda i, p=percent, t=measured: np.percentile(t[i], p, axis=-1), len(measured), n=2000
            )
        arms[name] = {m: asdict(v) for m, v in rows.items()}
    return arms


def pair_up(answers: pd.DataFrame) -> list[dict[str, Any]]:
    """Differences between every two arms on the same questions, the later arm minus the earlier, with intervals and p-values.

    `p` is by flipped signs where the metric is a mean over questions (see `labkit.stats.sign_flip`), else the bootstrap's. `wins` and
    `losses` count the questions on which the later arm is better and worse; `detectable` is the least difference that such
    questions would show with a power of 0.8.
    """
    tables = {name: Table(answers[answers.arm == name]) for name in answers.arm.unique()}
    rows = []
    for metric in QUALITY:
        for a, b in combinations(reversed(tables), 2):
            row = {"a": a, "b": b, "metric": metric, **asdict(tables[a].above(tables[b], metric))}
            if metric != "abstention" and tables[a].counted(metric):
                lead = tables[a].values(metric) - tables[b].values(metric)
                row |= {"p": sign_flip(lead), "wins": int((lead > 0).sum()), "losses": int((lead < 0).sum()),
                        "detectable": detectable(lead)}  # fmt: skip
            rows.append(row)
    return rows


def by_kind(answers: pd.DataFrame) -> pd.DataFrame:
    """Share right by kind of question and arm, with intervals: columns kind, arm, n, mean, low, high."""
    rows = []
    for (kind, arm), group in answers.groupby(["kind", "arm"], sort=False):
        wide = group.pivot(index="id", columns="seed", values="correct")
        rows.append({"kind": kind, "arm": arm, "n": len(wide), **asdict(bootstrap_mean(wide.to_numpy(), n=2000))})
    return pd.DataFrame(rows)
