"""From needs to an arm: advice from what was measured. Lesson 17 compares the article's flowchart with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from labkit.compare.arms import arm_class
from labkit.errors import LabError
from labkit.rag.augment import attribute
from labkit.stats import (
    ALPHA,
    Difference,
    Interval,
    bootstrap,
    bootstrap_difference,
    detectable,
    holm,
    sign_flip,
)


@dataclass(frozen=True)
class Needs:
    """What users ask, as shares of the questions, and what an answer must be, as weights; the rest of the questions is plain.

    `changed`: on facts that changed since training; `unknown`: that the documents do not answer, where right is to
    decline. LabError for shares that are negative or exceed one, and for no weight at all.
    """

    changed: float = 0.1
    unknown: float = 0.1
    right: float = 1.0
    style: float = 0.0
    cited: float = 0.0

    def __post_init__(self) -> None:
        if min(self.changed, self.unknown) < 0 or self.changed + self.unknown > 1:
            raise LabError(
                f"changed {self.changed:g} and unknown {self.unknown:g}: give shares that add up to 1 at most"
            )
        if min(self.right, self.style, self.cited) < 0 or not self.right + self.style + self.cited:
            raise LabError("give at least one of right, style and cited a weight above zero, and none below")


def _worths(answers: pd.DataFrame, needs: Needs) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The worth of every answer of each arm, and the weight of its question in the mix; in the order of the ids."""
    about = answers.drop_duplicates("id").set_index("id").sort_index()
    known = about.answerable.to_numpy(bool)
    group = np.where(~known, 1, np.where(about.kind == "changed fact", 0, 2))
    shares = np.array([needs.changed, needs.unknown, 1 - needs.changed - needs.unknown])
    counts = np.bincount(group, minlength=3)
    for name, share, count in zip(("changed", "unknown", "plain"), shares, counts, strict=True):
        if share > 0 and not count:
            raise LabError(f"no question is {name}: set its share to 0, or ask some")
    worth, total = {}, needs.right + needs.style + needs.cited
    for arm, mine in answers.groupby("arm", sort=False):
        mean = mine.groupby("id")[["correct", "style", "cited", "abstained"]].mean()
        right = np.where(known, mean.correct, mean.abstained)
        cited = np.where(known, mean.cited, mean.abstained)
        worth[arm] = (needs.right * right + needs.style * mean["style"].to_numpy() + needs.cited * cited) / total
    return worth, (shares / np.maximum(counts, 1))[group]


def _weighted(values: np.ndarray, weight: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The weighted mean of the questions in each resample, for a bootstrap."""
    return lambda items: (values * weight)[items].sum(-1) / weight[items].sum(-1)


def _lead(values: np.ndarray, weight: np.ndarray) -> Difference:
    """The weighted mean of differences between two arms, with its interval."""
    return bootstrap_difference(_weighted(values, weight), len(values), n=4000)


def utilities(answers: pd.DataFrame, needs: Needs) -> dict[str, Interval]:
    """The worth of each arm from 0 to 1 for these needs, with its interval over questions."""
    worth, weight = _worths(answers, needs)
    return {arm: bootstrap(_weighted(values, weight), len(weight), n=4000) for arm, values in worth.items()}


def advise(answers: pd.DataFrame, needs: Needs) -> tuple[str, dict[str, Difference]]:
    """The arm worth most for these needs, and how far it is above each other one, with intervals and p-values after Holm.

    Raises LabError where the mix names a kind of question that was not asked.
    """
    means, (worth, weight) = utilities(answers, needs), _worths(answers, needs)
    best = max(means, key=lambda arm: means[arm].mean)
    leads = {arm: worth[best] - values for arm, values in worth.items() if arm != best}
    adjusted = holm([sign_flip(lead * weight) for lead in leads.values()])
    return best, {arm: replace(_lead(leads[arm], weight), p=float(p)) for arm, p in zip(leads, adjusted, strict=True)}


def ahead(gap: Difference) -> bool:
    """Whether the best arm is told apart from this one: by p, which a few lucky questions do not turn as they do an interval."""
    return gap.diff > 0 and gap.p < ALPHA


def sentence(best: str, gaps: dict[str, Difference]) -> str:
    """The advice in words: the best arm, and from which others the questions tell it apart."""
    clear = [arm for arm, gap in gaps.items() if ahead(gap)]
    alike = [arm for arm in gaps if arm not in clear]
    told = [f"ahead of {', '.join(clear)}"] * bool(clear) + [f"not told apart from {', '.join(alike)}"] * bool(alike)
    return f"{best}: {'; '.join(told)}."


SIMPLEST = ("base", "prompted", "few-shot", "rag", "long-context", "tuned", "naive", "hybrid")
"""The arms by what they take to keep up: nothing, an index and a prompt, a training, both."""


def in_front(best: str, gaps: Mapping[str, Difference]) -> list[str]:
    """The arms that `advise` does not tell apart from the best, the simplest to keep up first."""
    return [arm for arm in SIMPLEST if arm == best or (arm in gaps and not ahead(gaps[arm]))]


READS = 0.2  # share right where every passage was found, below which a model does not read these documents
FINDS = 0.5  # share of the facts found, below which search is what limits every arm that reads


def diagnose(answers: pd.DataFrame) -> list[str]:
    """What limits the arms that read, before anything is recommended: the search, the model, or nothing that stands out.

    `answers` has the columns of `labkit.compare.score.score`. None where no arm reads.
    """
    if (reading := _reading(answers)).empty:
        return []
    recall, (arm, share) = reading.retrieved.mean(), _best_reader(reading)
    lines = []
    if recall < FINDS:
        lines.append(
            f"Search is the limit: it found {recall:.0%} of the facts needed. Try other chunk sizes, more passages, or "
            "another embedder before another model."
        )
    if arm and share < READS:
        lines.append(
            f"The model cannot read these documents: where every passage was found, its best arm ({arm}) is right in "
            f"{share:.0%}. More questions will not help; name a larger model with --profile, or a served one with "
            "--generator."
        )
    return lines or [
        f"Search found {recall:.0%} of the facts needed; where it found them all, {arm} is right in {share:.0%}."
    ]


def _reading(answers: pd.DataFrame) -> pd.DataFrame:
    """Answers of the arms that read, to questions that have one."""
    return answers[answers.answerable & answers.arm.map(lambda arm: arm_class(arm).reads)]


def _best_reader(reading: pd.DataFrame) -> tuple[str, float]:
    """The arm that is right most often where every passage was found, and how often; no arm where that never happened."""
    right = reading[reading.retrieved == 1].groupby("arm").correct.mean()
    return (right.idxmax(), right.max()) if len(right) else ("", 0.0)


FAULTS = {
    "retrieval missed": "the passage was not found",
    "model misread": "the passage was there and was misread",
    "should have abstained": "the documents do not say, and it answered",
}


def failures(answers: pd.DataFrame, arm: str, shown: int = 3) -> list[str]:
    """How many questions an arm gets wrong for each reason, with the first few of each by their id.

    A question counts as wrong where most seeds of the arm are.
    """
    mine, faults = attribute(answers[answers.arm == arm]), dict(FAULTS)
    wrong = mine.groupby("id").correct.mean() < 0.5
    first = mine[mine.correct == 0].drop_duplicates("id").set_index("id")
    lines = []
    if not arm_class(arm).reads:  # no passage is searched for, so none can be missed
        faults["retrieval missed"] = "its weights do not hold the fact"
    for cause, words in faults.items():
        rows = [(name, row) for name, row in first.iterrows() if wrong[name] and row.cause == cause]
        some = "; ".join(f'{name}, "{row.question}"' for name, row in rows[:shown])
        if rows:
            lines.append(f"{arm} fails on {len(rows)} of {len(wrong)} questions because {words}: {some}"
                         f"{' and so on' if len(rows) > shown else ''}.")  # fmt: skip
    return lines


def price(arms: Mapping[str, Mapping[str, Mapping[str, float]]], arm: str, trained: Mapping[str, float]) -> str:
    """What an answer of an arm costs, beside the others, and how long it trained.

    `arms` are a result's figures, `trained` seconds by the name of the arm whose adapter took them here.
    """
    each = []
    for name, values in arms.items():
        if latency := values.get("latency_ms_p50"):
            each.append(f"{name} {latency['mean'] / 1000:.1f} s and {values['prompt_tokens']['mean']:,.0f} tokens read")
    took = f"; {arm} trained for {trained[arm] / 60:.0f} minutes here" if trained.get(arm, 0) >= 60 else ""
    return f"An answer takes (median, one at a time): {', '.join(each)}{took}."


def recommend(answers: pd.DataFrame, needs: Needs) -> list[str]:
    """The simplest arm that the questions do not tell apart from the best, and the evidence, a sentence each.

    Where that is the model alone, nothing is recommended. Arms not told apart come with how many questions would tell
    them apart, with a power of 0.8, if the difference stayed as it is; not so for a model that cannot read.
    """
    best, gaps = advise(answers, needs)
    worth, weight = _worths(answers, needs)
    alike, asked = in_front(best, gaps), len(weight)
    chosen = alike[0]
    means = utilities(answers, needs).items()
    worths = ", ".join(f"{arm} {v.mean:.2f} [{v.low:.2f}, {v.high:.2f}]" for arm, v in means)
    needed = f"right {needs.right:g}, style {needs.style:g}, cited {needs.cited:g}; {needs.unknown:.0%} to be declined"
    advice = "Recommendation: none. No arm is better than the model alone, as far as these questions can tell."
    if chosen != "base":
        gap = _lead(worth[chosen] - worth.get("base", np.zeros(asked)), weight)
        lead = f"worth {gap.diff:.2f} [{gap.low:.2f}, {gap.high:.2f}] more than the model alone"
        advice = f"Recommendation: {chosen}, the simplest of the arms that these {asked} questions do not tell apart from the best: {lead}."
    lines = [advice, f"Worth from 0 to 1 ({needed}): {worths}.", f"Highest is {sentence(best, gaps)}"]
    reader, share = _best_reader(_reading(answers))
    undecided = [] if reader and share < READS else [arm for arm in alike if arm != best and gaps[arm].diff > 0]
    for arm in undecided:
        diff, scattered = gaps[arm].diff, (worth[best] - worth[arm]) * weight / weight.mean()
        more = int(asked * (detectable(scattered) / diff) ** 2) + 1
        lines.append(f"To tell {best} from {arm} takes about {more} questions, if the difference stays {diff:.2f}.")
    return lines
