"""Five published findings, measured again in direction, beside what the papers report.

`papers.yaml` holds each paper's own numbers with their place, and the rule by which ours are judged.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from labkit.compare import small
from labkit.compare.arms import Rag
from labkit.compare.claims import evidence, figure, judge, load_claims
from labkit.compare.experiment import ask_arms
from labkit.compare.score import is_right
from labkit.data import Item
from labkit.metrics import abstained, contains
from labkit.stats import Interval, bootstrap_mean, paired_bootstrap, unpaired_bootstrap
from labkit.tune import curves

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab
    from labkit.model import Model

PAPERS = Path(__file__).with_name("papers.yaml")
ARMS = ("rag", "tuned", "naive", "hybrid-4")
WORDED = {"full": {"counts": (1, 4, 16), "count": 60, "seen": 16}, "smoke": {"counts": (1, 2), "count": 6, "seen": 2}}
SEEN = {"full": {"counts": (1, 2, 4, 8, 16, 32), "group": 16}, "smoke": {"counts": (1, 4), "group": 4}}
"""Sizes of the curves, those of lesson 08, whose trainings they share."""
SHARES = (0.0, 0.5, 1.0)
BRIEF, LONG = 5, 40  # epochs of the second training


@cache
def published() -> dict[str, dict[str, Any]]:
    """What `papers.yaml` says of each paper, by id: title, authors, numbers with their place, what differs here."""
    return {row["id"]: row for row in yaml.safe_load(PAPERS.read_text("utf-8"))}


def verdict(lab: Lab, paper: str) -> str:
    """Whether a paper's direction shows here, with the figures that say so, as text; measured now or found."""
    claims = [claim for claim in load_claims(PAPERS) if claim.id == paper]
    measured = figures(lab, [need.figure for claim in claims for need in claim.needs])
    return "\n".join(evidence(row) for row in judge(claims, measured, {}))


def wordings(lab: Lab) -> curves.Scores:
    """`curves.paraphrase_curve` with every seed of the profile, each with facts of its own, put together."""
    runs = [curves.paraphrase_curve(lab, **WORDED[lab.size], seed=seed) for seed in lab.profile.seeds]
    return {kind: {at: [row for run in runs for row in run[kind][at]] for at in runs[0][kind]} for kind in runs[0]}


@small.study("papers: rarity", seeds=True)
def rarity(lab: Lab, seed: int) -> list[small.Row]:
    """Facts by how often training showed them: columns seen, seed, rag, tuned (shares of the unseen wordings right).

    `tuned` is `curves.repetition_curve`, `rag` reads the documents as first written, asked the same.
    """
    scores = curves.repetition_curve(lab, **SEEN[lab.size], seed=seed)[curves.UNSEEN]
    tuned = [(seen, right) for seen, group in scores.items() for right in group]
    facts = curves.facts(len(tuned), seed + 1)  # in the order of the curve, which draws them so
    arm = Rag(lab.model, lab.old_retriever(), lab.profile.top_k, lab.profile.max_new_tokens)
    answers = iter(arm.answer([fact.example(form).question for fact in facts for form in fact.unseen]))
    read = [[contains(next(answers).text, fact.value) for _ in fact.unseen] for fact in facts]
    return [
        {"seen": seen, "seed": seed, "rag": float(np.mean(found)), "tuned": float(np.mean(right))}
        for (seen, right), found in zip(tuned, read, strict=True)
    ]


@small.study("papers: new facts", seeds=True)
def new_facts(lab: Lab, seed: int) -> list[small.Row]:
    """Facts of the small company are taught, then come more trainings, each of as many facts, a share of them new.

    Asked are the known facts that only the first training showed, and the new ones. A row for each answer: part
    ("known" or "new"), share, epochs (0 before the second training), seed, id, correct, declined.
    """
    taught, other = small.company().questions, small.items("other")
    stride = 2 if lab.size == "full" else 8
    asked, practised = taught[::stride], taught[1::stride]
    model = small.first(lab, seed)
    rows = _answers(lab, model, asked, part="known", share=0.0, epochs=0, seed=seed)
    for share in SHARES:
        rng = random.Random(seed)
        new = rng.sample(other, round(share * len(practised)))
        pairs = [*new, *rng.sample(practised, len(practised) - len(new))]
        for epochs in (BRIEF, LONG):
            more, _ = small.learn(lab, model, pairs, seed, epochs)
            for part, items in (("known", asked), ("new", new)):
                rows += _answers(lab, more, items, part=part, share=share, epochs=epochs, seed=seed)
    return rows


def _answers(lab: Lab, model: Model, items: Sequence[Item], **about: Any) -> list[small.Row]:
    answers = small.reciting(lab, "tuned", model).answer([item.question for item in items])
    return [
        {**about, "id": item.id, "correct": int(is_right(item, a.text)), "declined": int(abstained(a.text))}
        for item, a in zip(items, answers, strict=True)
    ]


def wrong(rows: pd.DataFrame) -> pd.DataFrame:
    """The share of seeds in which each known fact is answered wrong after the second training, by (share, epochs).

    Only where the first training had taught it; where none was taught, as at smoke size, all count.
    """
    held = rows[rows.part == "known"].set_index(["id", "seed"])
    before = held[held.epochs == 0].correct.astype(bool)
    known = before[before].index if before.any() else before.index
    after = held[held.epochs > 0].loc[known].reset_index()
    return 1 - after.pivot_table(index="id", columns=["share", "epochs"], values="correct")


def figures(lab: Lab, names: Sequence[str]) -> dict[str, Interval]:
    """The figures of these names in `papers.yaml`; only their experiments run, each once, or are found."""
    kinds = {name.partition(":")[0] for name in names}
    gaps, found = {}, {}
    if "wordings" in kinds:
        scores = wordings(lab)
        seen, unseen = scores[curves.TRAINED], scores[curves.UNSEEN]
        one, many = min(unseen), max(unseen)
        gaps["wordings: right in unseen ones, many trained - one trained"] = unseen[many], unseen[one]
        gaps["wordings: one trained, right in it - in unseen ones"] = seen[one], unseen[one]
    if "new facts" in kinds:
        share, stem = wrong(new_facts(lab)), "new facts: known ones answered wrong, all new"
        gaps[f"{stem} - none new"] = share[1.0, LONG], share[0.0, LONG]
        gaps[f"{stem}, trained long - briefly"] = share[1.0, LONG], share[1.0, BRIEF]
    if "rarity" in kinds:
        lead = {seen: (some.rag - some.tuned).to_numpy() for seen, some in rarity(lab).groupby("seen")}
        once, often = lead[min(lead)], lead[max(lead)]
        found["rarity: lead of rag, seen once"] = bootstrap_mean(once)
        found["rarity: lead of rag, seen once - seen most often"] = unpaired_bootstrap(once, often)
    if "accuracy" in kinds:
        answers = ask_arms(lab, ARMS)
        found |= {name: figure(answers, name) for name in names if name.startswith("accuracy")}
    found |= {name: paired_bootstrap(a, b).interval for name, (a, b) in gaps.items()}
    return {name: found[name] for name in names if name in found}
