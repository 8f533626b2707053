"""The main job: four arms, one set of questions, intervals over questions. Introduced in 12_compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from labkit.compare.arms import ARMS
from labkit.compare.score import pair_up, score, summarise
from labkit.lab import Lab
from labkit.store import peak_rss_mb, provenance

if TYPE_CHECKING:
    import pandas as pd

    from labkit.rag.ingest import Rejected

TUNED = ("tuned", "hybrid")


@dataclass(frozen=True)
class Comparison:
    """A finished comparison: the result as written to JSON, a row per answer, artifacts used, documents refused."""

    result: dict[str, Any]
    answers: pd.DataFrame
    artifacts: list[dict[str, Any]]
    rejected: list[Rejected]


def ask_arm(lab: Lab, name: str, seed: int = 0) -> list[dict[str, Any]]:
    """Answers of one arm to all questions, scored: one row per question; remembered until something changes."""

    def make() -> list[dict[str, Any]]:
        answers = lab.arm(name, seed).answer([item.question for item in lab.questions])
        return [{"arm": name, "seed": seed, **score(i, a)} for i, a in zip(lab.questions, answers, strict=True)]

    return lab.remembered(make, what="answers", **_depends(lab, name, seed))


def ask_arms(lab: Lab, arms: Sequence[str] = ARMS, tell: Callable[[str], None] = print) -> pd.DataFrame:
    """Scored answers of some arms, tuned ones with every seed of the profile: one row per question, arm and seed."""
    import pandas as pd

    tasks = [(name, seed) for name in arms for seed in (lab.profile.seeds if name in TUNED else [0])]
    rows = []
    for number, (name, seed) in enumerate(tasks, start=1):
        began = time.perf_counter()
        rows += ask_arm(lab, name, seed)
        tell(
            f"{number} of {len(tasks)}: {name}{f', seed {seed}' if name in TUNED else ''}, {time.perf_counter() - began:.1f} s"
        )
    return pd.DataFrame(rows)


def _depends(lab: Lab, name: str, seed: int) -> dict[str, Any]:
    """What answers of an arm depend on; the adapter's address stands for its training."""
    adapter = lab.adapter(name, seed).name if name in TUNED else None
    return {
        "arm": name,
        "seed": seed,
        "adapter": adapter,
        "hashes": lab.hashes,
        "profile": asdict(lab.profile),
    }


def latencies(lab: Lab, name: str) -> list[float]:
    """Milliseconds from question to answer, one question at a time after one warm-up, over a spread of questions."""

    def make() -> list[float]:
        arm, step = lab.arm(name), max(1, len(lab.questions) // lab.profile.latency_questions)
        texts = [item.question for item in lab.questions[::step]]
        arm.answer(texts[:1])
        return [_milliseconds(lambda text=text: arm.answer([text])) for text in texts]

    return lab.remembered(make, what="latency", **_depends(lab, name, 0))


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def run_compare(lab: Lab, tell: Callable[[str], None] = print) -> Comparison:
    """Ask all arms all questions and measure; what was trained or answered before is found again, not made."""
    began = time.perf_counter()
    answers = ask_arms(lab, tell=tell)
    asked = time.perf_counter() - began
    times = {name: latencies(lab, name) for name in ARMS}
    timed = time.perf_counter() - began - asked
    arms, paired = summarise(answers, times), pair_up(answers)
    artifacts = [{"name": name, **entry} for name, entry in lab.artifacts.items()]
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
        "artifacts": artifacts,
        "environment": provenance(),
        "seconds": {
            "answers": round(asked, 2),
            "latency": round(timed, 2),
            "total": round(time.perf_counter() - began, 2),
        },
        "peak_rss_mb": round(peak_rss_mb(), 1),
    }
    return Comparison(result, answers, artifacts, lab.ingested.rejected)
