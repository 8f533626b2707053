"""Seconds, memory and quality of setting each arm up, on the small company. Introduced in 14_cost.

`python -m labkit.compare.cost_setup ARM SEED PROFILE SIZE` sets one arm up in a process of its own and prints what that took.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from labkit.compare import small
from labkit.compare.arms import FineTuned
from labkit.compare.score import is_right
from labkit.errors import LabError

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab

BUDGETS = (5, 20, small.EPOCHS)  # epochs of the tuned arm on the small company
TOP = (1, 3, 5, 8)


def setting_up(lab: Lab) -> pd.DataFrame:
    """Seconds, and peak memory in MB, of setting each arm up on the small company, each in a fresh process, by seed."""

    def make() -> list[small.Row]:
        return [
            {"arm": arm, "seed": seed, **_in_child(arm, seed, lab)}
            for arm in ("rag", "tuned", "hybrid")
            for seed in lab.profile.seeds
        ]

    return small.kept(lab, "cost of setting up", make)


def _in_child(arm: str, seed: int, lab: Lab) -> small.Row:
    words = [sys.executable, "-m", "labkit.compare.cost_setup", arm, str(seed), lab.profile.name, lab.size]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"setting {arm} up failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def set_up(lab: Lab, arm: str, seed: int) -> float:
    """Seconds from documents, or pairs, to an arm that could answer; loading the models is not counted."""
    from labkit.rag.retrieve import retriever

    made = small.company()
    store, seconds = small.reindexed(lab, [], made.documents)
    if arm == "rag":
        return seconds
    read = retriever(lab.profile.method, store, lab.profile.reranker) if arm == "hybrid" else None
    epochs = lab.profile.hybrid_epochs if read else small.EPOCHS
    return small.learn(lab, lab.model, made.questions, seed, epochs, read)[1] + (seconds if read else 0.0)


def by_budget(lab: Lab) -> pd.DataFrame:
    """The tuned arm after more and more training on the small company, and RAG: columns as `small.asked`, seconds."""

    def make() -> list[small.Row]:
        made = small.company()
        told = made.questions
        store, seconds = small.reindexed(lab, [], made.documents)
        rows = small.asked(lab, small.readers(lab, lab.profile.seeds[0], store)[0], told, seconds=seconds, seed=0)
        for seed in lab.profile.seeds:
            for epochs in BUDGETS:
                model, seconds = small.learn(lab, lab.model, told, seed, epochs)
                arm = FineTuned(model, None, 0, lab.profile.max_new_tokens)
                rows += small.asked(lab, arm, told, seconds=seconds, seed=seed, epochs=epochs)
        return rows

    return small.kept(lab, "cost by budget", make)


def top(lab: Lab) -> pd.DataFrame:
    """RAG with one to eight passages over a spread of questions: right, tokens read, milliseconds of generation."""
    from labkit.lab import spread

    def make() -> list[small.Row]:
        some = spread([item for item in lab.questions if item.gold], 80)
        rows = []
        for k in TOP:
            answers = replace(lab.arm("rag"), top_k=k, cache=None).answer([item.question for item in some])
            for item, told in zip(some, answers, strict=True):
                right = int(is_right(item, told.text))
                spent = 1000 * told.generation_seconds
                rows.append({"k": k, "id": item.id, "correct": right, "read": told.prompt_tokens, "ms": spent})
        return rows

    return small.kept(lab, "cost of k", make)


if __name__ == "__main__":
    import labkit
    from labkit.store import peak_rss_mb

    name, number, profile, size = sys.argv[1:]
    took = set_up(labkit.open(profile, size=size, progress=False), name, int(number))
    print(json.dumps({"seconds": took, "peak_mb": peak_rss_mb()}))
