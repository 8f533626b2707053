"""Five published findings, measured again in direction, beside what the papers report. Introduced in 18_papers.

`papers.yaml` holds each paper's own numbers with their place, and the rule by which ours are judged.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from labkit.compare import small
from labkit.compare.arms import Rag
from labkit.compare.claims import evidence, judge, load_claims
from labkit.compare.experiment import ask_arms
from labkit.compare.figures import figure
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
    """Whether a paper's direction shows here, with the figures that say so, as text; measured now or found.

    >>> print(verdict(lab, "rare-facts"))
    """
    claims = [claim for claim in load_claims(PAPERS) if claim.id == paper]
    found = figures(lab, [need.figure for claim in claims for need in claim.needs])
    return "\n".join(evidence(row) for row in judge(claims, found, {}))


def wordings(lab: Lab) -> curves.Scores:
    """`curves.paraphrase_curve` with every seed of the profile, each with facts of its own, put together."""
    runs = [curves.paraphrase_curve(lab, **WORDED[lab.size], seed=seed) for seed in lab.profile.seeds]
    return {kind: {at: [row for run in runs for row in run[kind][at]] for at in runs[0][kind]} for kind in runs[0]}


def rarity(lab: Lab) -> pd.DataFrame:
    """Facts by how often training showed them: columns seen, seed, rag, tuned (shares of the unseen wordings right).

    `tuned` is `curves.repetition_curve`, `rag` reads the documents as first written, asked the same.
    """

    def make(seed: int) -> list[small.Row]:
        scores = curves.repetition_curve(lab, **SEEN[lab.size], seed=seed)[curves.UNSEEN]
        tuned = [(seen, rows) for seen, group in scores.items() for rows in group]
        facts = curves.facts(len(tuned), seed + 1)  # in the order of the curve, which draws them so
        arm = Rag(lab.model, lab.old_retriever(), lab.profile.top_k, lab.profile.max_new_tokens)
        said = iter(arm.answer([fact.example(form).question for fact in facts for form in fact.unseen]))
        read = [[contains(next(said).text, fact.value) for _ in fact.unseen] for fact in facts]
        return [
            {"seen": seen, "seed": seed, "rag": _mean(told), "tuned": _mean(right)}
            for (seen, right), told in zip(tuned, read, strict=True)
        ]

    return small.by_seed(lab, "papers: rarity", make)


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def new_facts(lab: Lab) -> pd.DataFrame:
    """Facts of the small company are taught, then come more trainings, each of as many facts, a share of them new.

    Asked are the known facts that only the first training showed, and the new ones. A row for each answer: part
    ("known" or "new"), share, epochs (0 before the second training), seed, id, correct, declined.
    """
    taught, other = small.company().questions, small.items("other")
    step = 2 if lab.size == "full" else 8
    asked, practised = taught[::step], taught[1::step]

    def make(seed: int) -> list[small.Row]:
        model = small.first(lab, seed)
        rows = _answers(lab, model, asked, part="known", share=0.0, epochs=0, seed=seed)
        for share in SHARES:
            rng = random.Random(seed)
            new = rng.sample(other, round(share * len(practised)))
            told = [*new, *rng.sample(practised, len(practised) - len(new))]
            for epochs in (BRIEF, LONG):
                more, about = small.learn(lab, model, told, seed, epochs)[0], {"share": share, "epochs": epochs}
                for part, items in (("known", asked), ("new", new)):
                    rows += _answers(lab, more, items, part=part, **about, seed=seed)
        return rows

    return small.by_seed(lab, "papers: new facts", make)


def _answers(lab: Lab, model: Model, items: Sequence[Item], **about: Any) -> list[small.Row]:
    said = small.reciting(lab, "tuned", model).answer([item.question for item in items])
    return [
        {**about, "id": item.id, "correct": int(is_right(item, a.text)), "declined": int(abstained(a.text))}
        for item, a in zip(items, said, strict=True)
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


def _of_wordings(lab: Lab) -> dict[str, Interval]:
    scores = wordings(lab)
    seen, unseen = scores[curves.TRAINED], scores[curves.UNSEEN]
    one, many = min(unseen), max(unseen)
    return {
        "right in unseen ones, many trained - one trained": paired_bootstrap(unseen[many], unseen[one]).interval,
        "one trained, right in it - in unseen ones": paired_bootstrap(seen[one], unseen[one]).interval,
    }


def _of_rarity(lab: Lab) -> dict[str, Interval]:
    rows = rarity(lab)
    lead = {seen: (some.rag - some.tuned).to_numpy() for seen, some in rows.groupby("seen")}
    once, often = lead[min(lead)], lead[max(lead)]
    return {
        "lead of rag, seen once": bootstrap_mean(once),
        "lead of rag, seen once - seen most often": unpaired_bootstrap(once, often),
    }


def _of_new_facts(lab: Lab) -> dict[str, Interval]:
    share, said = wrong(new_facts(lab)), "known ones answered wrong, all new"
    return {
        f"{said} - none new": paired_bootstrap(share[1.0, LONG], share[0.0, LONG]).interval,
        f"{said}, trained long - briefly": paired_bootstrap(share[1.0, LONG], share[1.0, BRIEF]).interval,
    }


EXPERIMENTS: dict[str, Callable[[Lab], dict[str, Interval]]] = {
    "wordings": _of_wordings,
    "rarity": _of_rarity,
    "new facts": _of_new_facts,
}


def figures(lab: Lab, names: Sequence[str]) -> dict[str, Interval]:
    """The figures of these names in `papers.yaml`; only their experiments run, each once, or are found.

    >>> figures(lab, ["accuracy: rag - tuned"])
    """
    kinds = {name.partition(":")[0] for name in names}
    made = {f"{kind}: {name}": v for kind in kinds & set(EXPERIMENTS) for name, v in EXPERIMENTS[kind](lab).items()}
    if "accuracy" in kinds:
        answers = ask_arms(lab, ARMS)
        made |= {name: figure(answers, name) for name in names if name.startswith("accuracy")}
    return {name: made[name] for name in names if name in made}
