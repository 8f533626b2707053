"""What each arm costs: where an answer's time goes, what setting up takes, how it grows. Introduced in 14_cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from labkit.compare import small
from labkit.compare.arms import ARMS, passages
from labkit.compare.cost_growth import growth_figures
from labkit.compare.cost_setup import BUDGETS, by_budget, setting_up
from labkit.compare.experiment import ask_arms, in_turn
from labkit.compare.update import by_question
from labkit.model import greedy
from labkit.rag.augment import build_messages
from labkit.stats import Interval, bootstrap, paired_bootstrap, paired_ratio, unpaired_bootstrap

if TYPE_CHECKING:
    import pandas as pd

    from labkit.compare.arms import Arm
    from labkit.lab import Lab

Row = small.Row


@dataclass(frozen=True)
class Prices:
    """What is paid for: an hour of a processor, or a million tokens read, written, trained on. In one currency.

    The defaults are round figures to think with, not anybody's offer: put yours in their place.
    """

    processor_hour: float = 0.05
    read: float = 0.10
    written: float = 0.40
    trained: float = 0.50

    def own(self, setup: float, seconds: float, questions: float) -> float:
        """On a machine of one's own: processor seconds of setting up, and of each question."""
        return self.processor_hour * (setup + seconds * questions) / 3600

    def rented(self, trained: float, read: float, written: float, questions: float) -> float:
        """By the token: tokens trained on, and for each question those read and written."""
        return (self.trained * trained + questions * (self.read * read + self.written * written)) / 1e6


def break_even(setup_a: float, each_a: float, setup_b: float, each_b: float) -> float:
    """The number of questions from which `a`, dearer to set up, is the cheaper; infinite where that never comes.

    >>> break_even(100, 1, 0, 2)
    100.0
    """
    return max(0.0, (setup_a - setup_b) / (each_b - each_a)) if each_b > each_a else float("inf")


def split(lab: Lab) -> pd.DataFrame:
    """Where an answer's time goes, one question at a time, each arm over the same spread of questions.

    Milliseconds to embed the question, to search, to read the prompt (prefill) and to write (decode); processor seconds
    of all; tokens read and written. The arms take turns.
    """

    def make() -> list[Row]:
        arms = {name: lab.arm(name) for name in ARMS}
        return [
            {"arm": name, "id": item.id, **_timed(lab, arm, item.question)} for name, arm, item in in_turn(lab, arms)
        ]

    adapters = [lab.adapter(name).name for name in ("tuned", "hybrid")]
    return small.kept(lab, "cost split", make, adapters=adapters)


def merging(lab: Lab) -> pd.DataFrame:
    """The tuned arm with its adapter merged into the weights, and beside them: columns way, id, ms, text.

    One question at a time, both ways on each, in the base model's precision. Introduced in 12_compare.
    """
    from labkit.model import load_model

    def make() -> list[Row]:
        p, arm = lab.profile, lab.arm("tuned")
        beside = load_model(p.model_path, dtype=p.dtype, adapter=lab.adapter("tuned"), merge=False)
        rows = []
        for way, it, item in in_turn(lab, {"merged": arm, "beside": replace(arm, model=beside)}):
            answer = it.answer([item.question])[0]
            rows.append({"way": way, "id": item.id, "ms": 1000 * answer.generation_seconds, "text": answer.text})
        return rows

    return small.kept(lab, "cost of merging", make, adapter=lab.adapter("tuned").name)


def _timed(lab: Lab, arm: Arm, question: str) -> Row:
    """One answer, whole and not looked up; then its first stages once more alone, so that each has its share."""
    arm = replace(arm, cache=None)
    began, processor = time.perf_counter(), time.process_time()
    answer = arm.answer([question])[0]
    whole, spent = time.perf_counter() - began, time.process_time() - processor
    began = time.perf_counter()
    if arm.retriever:
        lab.embedder.encode([question], query=True)
    embed = time.perf_counter() - began
    prompt = arm.model.encode(build_messages(question, passages(answer.hits), system=arm.system))
    began = time.perf_counter()
    greedy(arm.model.network, [prompt], {-1}, 1)
    prefill = time.perf_counter() - began
    stages = {
        "embed": embed,
        "search": answer.retrieval_seconds - embed,
        "prefill": prefill,
        "decode": answer.generation_seconds - prefill,
        "total": whole,
    }
    tokens = {"processor": spent, "read": answer.prompt_tokens, "written": answer.output_tokens}
    return {name: 1000 * max(0.0, seconds) for name, seconds in stages.items()} | tokens


def figures(lab: Lab) -> dict[str, Interval]:
    """What the claims about cost need, each by its name in claims.yaml."""
    spent, made, budget = split(lab), setting_up(lab), by_budget(lab)
    wide = {c: spent.pivot(index="id", columns="arm", values=c) for c in ("total", "processor", "read")}
    setup = made.pivot(index="seed", columns="arm", values="seconds")
    memory = made.pivot(index="seed", columns="arm", values="peak_mb")
    found = {
        "milliseconds an answer: rag - tuned": paired_bootstrap(wide["total"]["rag"], wide["total"]["tuned"]).interval,
        "milliseconds an answer: rag / tuned": paired_ratio(wide["total"]["rag"], wide["total"]["tuned"]),
        "prompt tokens: rag / tuned": paired_ratio(wide["read"]["rag"], wide["read"]["tuned"]),
        "processor seconds a question: rag / tuned": paired_ratio(wide["processor"]["rag"], wide["processor"]["tuned"]),
        "processor seconds a question: rag - tuned": paired_bootstrap(
            wide["processor"]["rag"], wide["processor"]["tuned"]
        ).interval,
        "seconds of setting up: tuned / rag": paired_ratio(setup["tuned"], setup["rag"]),
        "seconds of setting up: tuned - rag": paired_bootstrap(setup["tuned"], setup["rag"]).interval,
        "peak memory of setting up: tuned / rag": paired_ratio(memory["tuned"], memory["rag"]),
    }
    return found | _thousand(setup, wide["processor"]) | _quality(lab, budget) | growth_figures(lab)


def _thousand(setup: pd.DataFrame, processor: pd.DataFrame) -> dict[str, Interval]:
    """Processor seconds of setting up and of a thousand questions, one arm to another, over questions."""
    found, mean = {}, setup.mean()
    for arm in ("tuned", "hybrid"):
        x, y = processor[arm].to_numpy(float), processor["rag"].to_numpy(float)
        found[f"cost of 1,000 questions: {arm} / rag"] = bootstrap(
            lambda i, x=x, y=y, arm=arm: (mean[arm] + 1000 * x[i].mean(-1)) / (mean["rag"] + 1000 * y[i].mean(-1)),
            len(x),
        )
    return found


def _quality(lab: Lab, budget: pd.DataFrame) -> dict[str, Interval]:
    """Right and in style for the time of setting up: RAG, and the longest tuning that a time allows."""
    rag = budget[budget.arm == "rag"]
    means = budget[budget.arm == "tuned"].groupby("epochs").seconds.mean()

    def within(seconds: float, column: str) -> np.ndarray:
        kept = [epochs for epochs, took in means.items() if took <= seconds] or [means.idxmin()]
        return by_question(budget[budget.epochs == max(kept)], "tuned", column)

    right, most = by_question(rag, "rag"), by_question(budget[budget.epochs == max(BUDGETS)], "tuned")
    all_data = ask_arms(lab, ["rag"]).query("kind == 'single fact'").correct.to_numpy(float)
    rag_seconds, tuned_seconds = float(rag.seconds.mean()), float(means[max(BUDGETS)])
    gaps = {
        "accuracy with a tenth of the data: rag - tuned": (right, most),
        "accuracy within a minute of setting up: rag - tuned": (right, within(60, "correct")),
        "style within five minutes of setting up: tuned - rag": (
            within(300, "style"),
            by_question(rag, "rag", "style"),
        ),
    }
    return {
        **{name: paired_bootstrap(a, b).interval for name, (a, b) in gaps.items()},
        "accuracy with a tenth of the data less with all: rag": unpaired_bootstrap(right, all_data),
        "accuracy for a second of setting up: rag / tuned": bootstrap(
            lambda i: (right[i].mean(-1) / rag_seconds) / np.maximum(most[i].mean(-1) / tuned_seconds, 1e-9), len(right)
        ),
    }
