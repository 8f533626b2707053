"""When facts change: index again, train again, or both; what is lost, what stays, what it takes. Introduced in 13_update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from labkit.compare.arms import Base
from labkit.compare.small import Row, asked, by_seed, changed, company, first, learn, readers, reciting, reindexed, step
from labkit.stats import Interval, bootstrap_mean, paired_bootstrap, paired_ratio, unpaired_bootstrap

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab

SHARES = (0.0, 0.1, 0.25, 0.5)
PATCH = 0.25  # the share at which the tuned arm is also trained on the changes alone
UPDATES, ASKED = 10, (1, 4, 7, 10)  # the stream: its length, when to ask


def shares(lab: Lab) -> pd.DataFrame:
    """Each arm's answers after a share of the facts changed, one row for each question, arm, share and seed.

    `tuned` knows the first version, `retrained` learned the second from nothing, `patched` learned the changes on top
    of the first. Columns share, seed, arm, id, changed, correct, style, joint, seconds (of training), indexing
    (seconds of indexing the same change).
    """

    def make(seed: int) -> list[Row]:
        rows: list[Row] = []
        for share in SHARES:
            made = company(share)
            now = made.questions
            store, indexing = reindexed(lab, made.documents, made.updates)
            about = {"share": share, "seed": seed, "indexing": indexing}
            arms = [(arm, 0.0) for arm in (*readers(lab, seed, store), reciting(lab, "tuned", first(lab, seed)))]
            if share:
                model, seconds = learn(lab, lab.model, now, seed)
                arms.append((reciting(lab, "retrained", model), seconds))
            if share == PATCH:
                model, seconds = learn(lab, first(lab, seed), changed(now), seed)
                arms.append((reciting(lab, "patched", model), seconds))
            for arm, seconds in arms:
                rows += asked(lab, arm, now, **about, seconds=seconds)
        return rows

    return by_seed(lab, "update shares", make, reads=True)


def stream(lab: Lab) -> pd.DataFrame:
    """Ten updates, one after another: RAG indexes again, `patched` is trained on each change, `tuned` never.

    Columns as in `shares`, with `step` in place of the share; seconds and indexing add up from the first step on.
    """

    def make(seed: int) -> list[Row]:
        model, rows = first(lab, seed), []
        training = indexing = 0.0
        for number in range(1, UPDATES + 1):
            made = step(number)
            now = made.questions
            store, took = reindexed(lab, made.documents, made.updates)
            model, seconds = learn(lab, model, changed(now), seed)
            indexing, training = indexing + took, training + seconds
            if number in ASKED:
                about = {"step": number, "seed": seed, "indexing": indexing}
                for arm in readers(lab, seed, store)[:-1]:
                    rows += asked(lab, arm, now, **about, seconds=0.0)
                rows += asked(lab, reciting(lab, "patched", model), now, **about, seconds=training)
                rows += asked(lab, reciting(lab, "tuned", first(lab, seed)), now, **about, seconds=0.0)
        return rows

    return by_seed(lab, "update stream", make, reads=True)


def removal(lab: Lab) -> pd.DataFrame:
    """What is still answered once every second document is gone, and what the model knew before: columns as in `shares`.

    `removed` says whether the fact stood in a document that goes, `gone` whether it was asked after that.
    """

    def make(seed: int) -> list[Row]:
        every, questions = company().documents, company().questions
        rows = asked(lab, Base(lab.model, None, 0, lab.profile.max_new_tokens), questions, gone=False, seed=seed)
        for gone, left in ((False, every), (True, every[::2])):
            store, _ = reindexed(lab, [], left)
            for arm in (*readers(lab, seed, store), reciting(lab, "tuned", first(lab, seed))):
                rows += asked(lab, arm, questions, gone=gone, seed=seed)
        kept = {document.id for document in every[::2]}
        removed = {item.id for item in questions if item.evidence[0].document not in kept}
        return [{**row, "removed": row["id"] in removed} for row in rows]

    return by_seed(lab, "update removal", make, reads=True)


def by_question(rows: pd.DataFrame, arm: str, column: str = "correct") -> np.ndarray:
    """One value for each question of an arm, the mean over seeds, in the order of the questions' ids."""
    return rows[rows.arm == arm].groupby("id", sort=True)[column].mean().to_numpy(float)


def over(rows: pd.DataFrame, by: str, arms: Sequence[str]) -> dict[str, dict[float, Interval]]:
    """The share right of each arm at each value of a column, with intervals, as `plot.curve` takes it."""
    return {
        arm: {at: bootstrap_mean(by_question(some, arm)) for at, some in rows.groupby(by) if arm in set(some.arm)}
        for arm in arms
    }


def _gap(rows: pd.DataFrame, a: str, b: str, column: str = "correct") -> Interval:
    return paired_bootstrap(by_question(rows, a, column), by_question(rows, b, column)).interval


def _times(rows: pd.DataFrame, by: str, arm: str) -> Interval:
    """How many times as long the training of an arm takes as the indexing of the same changes, over seeds and changes."""
    took = rows[rows.arm == arm].groupby([by, "seed"])[["seconds", "indexing"]].first().to_numpy(float)
    return paired_ratio(took[:, 0], took[:, 1])


def figures(lab: Lab) -> dict[str, Interval]:
    """What the claims about updates need, each by its name in claims.yaml."""
    rows, ten, gone = shares(lab), stream(lab), removal(lab)
    half, none, patch = (rows[rows.share == share] for share in (0.5, 0.0, PATCH))
    fresh, last, taken = half[half.changed], ten[ten.step == UPDATES], gone[gone.removed]
    steady = patch[~patch.changed]
    before, after = taken[~taken.gone], taken[taken.gone]
    new_and_old = (by_question(some, "rag") for some in (fresh, half[~half.changed]))

    def lost(arm: str) -> Interval:
        return paired_bootstrap(by_question(before, arm), by_question(after, arm)).interval

    ten_times = _times(last, "step", "patched")
    stale = "accuracy on changed facts, not trained again"
    return {
        "accuracy lost without the document: rag": lost("rag"),
        "accuracy lost without the document: tuned": lost("tuned"),
        "accuracy lost without the adapter: tuned": _gap(gone[~gone.gone], "tuned", "base"),
        "removed facts still answered: rag": bootstrap_mean(by_question(after, "rag")),
        "removed facts still answered: tuned - rag": _gap(after, "tuned", "rag"),
        "seconds to take up a change: tuned / rag": _times(rows, "share", "retrained"),
        f"{stale}: rag - tuned": _gap(fresh, "rag", "tuned"),
        f"{stale}: hybrid - tuned": _gap(fresh, "hybrid", "tuned"),
        "accuracy on changed facts less on unchanged ones: rag": unpaired_bootstrap(*new_and_old),
        "accuracy with half of the facts changed: rag - tuned": _gap(half, "rag", "tuned"),
        "joint with no fact changed: tuned - rag": _gap(none, "tuned", "rag", "joint"),
        "joint with no fact changed: tuned - hybrid": _gap(none, "tuned", "hybrid", "joint"),
        "accuracy on unchanged facts lost by training on the change: tuned": _gap(steady, "tuned", "patched"),
        "seconds for ten updates: tuned / rag": ten_times,
        "seconds for ten updates: tuned / hybrid": ten_times,
        "seconds for ten updates: hybrid / rag": Interval(1.0, 1.0, 1.0),  # both index the same documents again
        "accuracy after ten updates: rag - tuned": _gap(last, "rag", "patched"),
    }
