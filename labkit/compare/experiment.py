"""The main job: four arms, one set of questions, intervals over questions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from labkit.compare.arms import ARMS, Arm, arm_class, weights_of
from labkit.compare.lab import Lab, spread
from labkit.compare.score import pair_up, score, summarise
from labkit.data import Item
from labkit.quiet import bar
from labkit.rag.ingest import Rejected
from labkit.store import here, peak_rss_mb, provenance


@dataclass(frozen=True)
class Comparison:
    """A finished comparison: the result as written to JSON, a row per answer, artifacts used, documents refused or read partly."""

    result: dict[str, Any]
    answers: pd.DataFrame
    artifacts: list[dict[str, Any]]
    rejected: list[Rejected]


def ask_arms(
    lab: Lab, arms: Sequence[str] = ARMS, items: Sequence[Item] | None = None, seeds: Sequence[int] | None = None
) -> pd.DataFrame:
    """Scored answers of some arms, tuned ones with every seed of the profile: one row per question, arm and seed.

    `items` and `seeds` ask fewer. Raises LabError for an unknown arm.
    """
    asked = lab.questions if items is None else items
    seeds = lab.profile.seeds if seeds is None else seeds
    tasks = [(name, seed) for name in arms for seed in (seeds if weights_of(name) else [0])]
    # A prompt with passages takes about as many times longer as it has passages; the time left is estimated by that.
    weights = {name: 2 + lab.profile.top_k if arm_class(name).reads else 1 for name, _ in tasks}
    rows, texts = [], [item.question for item in asked]
    with bar(len(asked) * sum(weights[name] for name, _ in tasks), "answers", lab.progress) as steps:
        for name, seed in tasks:
            steps.set_description(f"{name}, seed {seed}" if weights_of(name) else name)
            before, weight = steps.n, weights[name]
            answers = lab.arm(name, seed).answer(texts, lambda n, weight=weight: steps.update(n * weight))
            about = {"arm": name, "seed": seed}
            rows += [about | score(item, a, lab.right) for item, a in zip(asked, answers, strict=True)]
            steps.update(before + weight * len(asked) - steps.n)
    return pd.DataFrame(rows)


def depends(lab: Lab, name: str, seed: int) -> dict[str, Any]:
    """What answers of an arm depend on; the adapter's address stands for its training."""
    weights = weights_of(name)
    return {
        "arm": name,
        "seed": seed,
        "adapter": lab.adapter(weights, seed).name if weights else None,
        "hashes": lab.hashes,
        "profile": asdict(lab.profile),
    }


def in_turn(lab: Lab, arms: Mapping[str, Arm]) -> Iterator[tuple[str, Arm, Item]]:
    """Each of some arms with each of a spread of questions, for timing: a name, its arm, warmed up, and an item.

    No arm looks up what it answered before. The arms take turns, and another is first every time: a machine that slows down slows all of them.
    """
    arms = {name: replace(arm, cache=None) for name, arm in arms.items()}
    names, step = list(arms), max(1, len(lab.questions) // lab.profile.latency_questions)
    for arm in arms.values():
        arm.answer([lab.questions[0].question])
    asked = lab.questions[::step]
    with bar(len(asked), "one by one", lab.progress) as steps:
        for number, item in enumerate(asked):
            turn = number % len(names)
            for name in [*names[turn:], *names[:turn]]:
                yield name, arms[name], item
            steps.update()


def latencies(lab: Lab, arms: Sequence[str] = ARMS) -> dict[str, list[float]]:
    """Milliseconds from question to answer for each arm, one question at a time; kept for this machine and commit."""

    def make() -> dict[str, list[float]]:
        """Measure now."""
        milliseconds: dict[str, list[float]] = {name: [] for name in arms}
        for name, arm, item in in_turn(lab, {name: lab.arm(name) for name in arms}):
            began = time.perf_counter()
            arm.answer([item.question])
            milliseconds[name].append(1000 * (time.perf_counter() - began))
        return milliseconds

    return lab.artifacts.value(make, what="latency", where=here(), of=[depends(lab, name, 0) for name in arms])


def preview(lab: Lab, count: int = 24) -> dict[str, Any] | None:
    """The table of a few questions and one seed, within minutes, to see whether the rest is worth the wait.

    None where the lab has hardly more questions. The answers are kept: the comparison does not ask again.
    """
    few, seeds = spread(lab.questions, count), lab.profile.seeds[:1]
    if len(lab.questions) < 2 * count:
        return None
    answers = lab.judged(ask_arms(lab, items=few, seeds=seeds))
    about = {"profile": lab.profile.name, "size": lab.size, "seeds": list(seeds), "n_questions": len(few)}
    return {**about, "arms": _fed(lab, summarise(answers))}


def _fed(lab: Lab, arms: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of each arm, without the metrics that the lab's questions cannot feed."""
    return {arm: {m: v for m, v in values.items() if m not in lab.unfed} for arm, values in arms.items()}


def run_compare(lab: Lab) -> Comparison:
    """Ask all arms all questions and measure; what was trained or answered before is found again, not made."""
    began = time.perf_counter()
    answers = lab.judged(ask_arms(lab, lab.profile.arms))
    asked = time.perf_counter() - began
    times = latencies(lab, [arm for arm in lab.profile.arms if arm in (*ARMS, "long-context")])
    timed = time.perf_counter() - began - asked
    arms = _fed(lab, summarise(answers, times))
    paired = [row for row in pair_up(answers) if row["metric"] not in lab.unfed]
    result = {
        "schema": 1,
        "experiment": "compare",
        "profile": lab.profile.name,
        "size": lab.size,
        "seeds": list(lab.profile.seeds),
        "n_questions": len(lab.questions),
        "arms": arms,
        "paired": paired,
        **({"pasted": lab.whole_documents.share} if "long-context" in lab.profile.arms else {}),
        "settings": asdict(lab.profile),
        "hashes": lab.hashes,
        "artifacts": lab.artifacts.used,
        "environment": provenance(),
        "seconds": {
            "answers": round(asked, 2),
            "latency": round(timed, 2),
            "total": round(time.perf_counter() - began, 2),
        },
        "peak_rss_mb": round(peak_rss_mb(), 1),
    }
    return Comparison(result, answers, lab.artifacts.used, lab.ingested.flawed)
