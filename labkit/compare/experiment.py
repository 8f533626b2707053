"""The main job: four arms, one set of questions, intervals over questions. Introduced in 12_compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from labkit.compare.arms import ARMS, weights_of
from labkit.compare.score import pair_up, score, summarise
from labkit.lab import Lab
from labkit.store import peak_rss_mb, provenance

if TYPE_CHECKING:
    import pandas as pd

    from labkit.compare.arms import Arm
    from labkit.data import Item
    from labkit.rag.ingest import Rejected

Row = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """A finished comparison: the result as written to JSON, a row per answer, artifacts used, documents refused."""

    result: dict[str, Any]
    answers: pd.DataFrame
    artifacts: list[dict[str, Any]]
    rejected: list[Rejected]


def ask_arm(lab: Lab, name: str, seed: int = 0, progress: Callable[[int], object] | None = None) -> list[Row]:
    """Answers of one arm to all questions, scored: one row per question; remembered until something changes."""

    def make() -> list[Row]:
        answers = lab.arm(name, seed).answer([item.question for item in lab.questions], progress)
        return [{"arm": name, "seed": seed, **score(i, a)} for i, a in zip(lab.questions, answers, strict=True)]

    return lab.artifacts.value(make, what="answers", **depends(lab, name, seed))


def ask_arms(lab: Lab, arms: Sequence[str] = ARMS) -> pd.DataFrame:
    """Scored answers of some arms, tuned ones with every seed of the profile: one row per question, arm and seed.

    Raises LabError for an unknown arm.
    """
    import pandas as pd
    from tqdm import tqdm

    tasks = [(name, seed) for name in arms for seed in (lab.profile.seeds if weights_of(name) else [0])]
    rows: list[Row] = []
    with tqdm(total=len(tasks) * len(lab.questions), unit="answer", disable=not lab.progress) as bar:
        for done, (name, seed) in enumerate(tasks, start=1):
            bar.set_description(f"{name}, seed {seed}" if weights_of(name) else name)
            rows += ask_arm(lab, name, seed, bar.update)
            bar.update(done * len(lab.questions) - bar.n)
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

    The arms take turns, and another is first every time: a machine that slows down slows all of them.
    """
    from tqdm import tqdm

    names, step = list(arms), max(1, len(lab.questions) // lab.profile.latency_questions)
    for arm in arms.values():
        arm.answer([lab.questions[0].question])
    bar = tqdm(lab.questions[::step], desc="one by one", unit="question", disable=not lab.progress, leave=False)
    for number, item in enumerate(bar):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            yield name, arms[name], item


def latencies(lab: Lab, arms: Sequence[str] = ARMS) -> dict[str, list[float]]:
    """Milliseconds from question to answer for each arm, one question at a time."""

    def make() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {name: [] for name in arms}
        for name, arm, item in in_turn(lab, {name: lab.arm(name) for name in arms}):
            found[name].append(_milliseconds(lambda arm=arm, text=item.question: arm.answer([text])))
        return found

    return lab.artifacts.value(make, what="latency", of=[depends(lab, name, 0) for name in arms])


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def run_compare(lab: Lab) -> Comparison:
    """Ask all arms all questions and measure; what was trained or answered before is found again, not made."""
    began = time.perf_counter()
    answers = ask_arms(lab)
    asked = time.perf_counter() - began
    times = latencies(lab)
    timed = time.perf_counter() - began - asked
    arms, paired = summarise(answers, times), pair_up(answers)
    result = {
        "schema": 1,
        "experiment": "compare",
        "profile": lab.profile.name,
        "size": lab.size,
        "seeds": list(lab.profile.seeds),
        "n_questions": len(lab.questions),
        "arms": arms,
        "paired": paired,
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
    return Comparison(result, answers, lab.artifacts.used, lab.ingested.rejected)
