"""When facts change: index again, train again, or both; what is lost, what stays, what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.compare import small
from labkit.compare.arms import Base
from labkit.stats import Interval, bootstrap_mean, paired_bootstrap, paired_ratio, unpaired_bootstrap

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab

SHARES = (0.0, 0.1, 0.25, 0.5)
PATCH = 0.25  # the share at which the tuned arm is also trained on the changes alone
UPDATES, ASKED = 10, (1, 4, 7, 10)  # the stream: its length, when to ask


@small.study("update shares", seeds=True, reads=True)
def shares(lab: Lab, seed: int) -> list[small.Row]:
    """Each arm's answers after a share of the facts changed, one row for each question, arm, share and seed.

    `tuned` knows the first version, `retrained` learned the second from nothing, `patched` learned the changes on top
    of the first. Columns share, seed, arm, id, changed, correct, style, joint, seconds (of training), indexing
    (seconds of indexing the same change).
    """
    rows: list[small.Row] = []
    for share in SHARES:
        update = small.company(share)
        store, indexing = small.reindex(lab, update.documents, update.updates)
        arms = [
            (arm, 0.0)
            for arm in (*small.readers(lab, seed, store), small.reciter(lab, "tuned", small.first(lab, seed)))
        ]
        if share:
            model, seconds = small.learn(lab, lab.model, update.questions, seed)
            arms.append((small.reciter(lab, "retrained", model), seconds))
        if share == PATCH:
            model, seconds = small.learn(lab, small.first(lab, seed), update.changed, seed)
            arms.append((small.reciter(lab, "patched", model), seconds))
        for arm, seconds in arms:
            about = {"share": share, "seed": seed, "indexing": indexing, "seconds": seconds}
            rows += small.ask(lab, arm, update.questions, **about)
    return rows


@small.study("update stream", seeds=True, reads=True)
def stream(lab: Lab, seed: int) -> list[small.Row]:
    """Ten updates, one after another: RAG indexes again, `patched` is trained on each change, `tuned` never.

    Columns as in `shares`, with `step` in place of the share; seconds and indexing add up from the first step on.
    """
    model, rows = small.first(lab, seed), []
    training = indexing = 0.0
    for number in range(1, UPDATES + 1):
        update = small.step(number)
        store, took = small.reindex(lab, update.documents, update.updates)
        model, seconds = small.learn(lab, model, update.changed, seed)
        indexing, training = indexing + took, training + seconds
        if number in ASKED:
            arms = [
                (arm, 0.0)
                for arm in (*small.readers(lab, seed, store)[:-1], small.reciter(lab, "tuned", small.first(lab, seed)))
            ]
            for arm, seconds in (*arms, (small.reciter(lab, "patched", model), training)):
                about = {"step": number, "seed": seed, "indexing": indexing, "seconds": seconds}
                rows += small.ask(lab, arm, update.questions, **about)
    return rows


@small.study("update removal", seeds=True, reads=True)
def removal(lab: Lab, seed: int) -> list[small.Row]:
    """What is still answered once every second document is gone, and what the model knew before: columns as in `shares`.

    `removed` says whether the fact stood in a document that goes, `gone` whether it was asked after that.
    """
    every, questions = small.company().documents, small.company().questions
    rows = small.ask(lab, Base(lab.model, None, 0, lab.profile.max_new_tokens), questions, gone=False, seed=seed)
    for gone, left in ((False, every), (True, every[::2])):
        store, _ = small.reindex(lab, [], left)
        for arm in (*small.readers(lab, seed, store), small.reciter(lab, "tuned", small.first(lab, seed))):
            rows += small.ask(lab, arm, questions, gone=gone, seed=seed)
    left = {document.id for document in every[::2]}
    removed = {item.id for item in questions if item.evidence[0].document not in left}
    return [{**row, "removed": row["id"] in removed} for row in rows]


def _times(rows: pd.DataFrame, by: str, arm: str) -> Interval:
    """How many times as long the training of an arm takes as the indexing of the same changes, over seeds and changes."""
    took = rows[rows.arm == arm].groupby([by, "seed"])[["seconds", "indexing"]].first().to_numpy(float)
    return paired_ratio(took[:, 0], took[:, 1])


def figures(lab: Lab) -> dict[str, Interval]:
    """What the claims about updates need, each by its name in claims.yaml."""
    rows, ten, gone = shares(lab), stream(lab), removal(lab)
    half, none, patch = (rows[rows.share == share] for share in (0.5, 0.0, PATCH))
    fresh, last, taken = half[half.changed], ten[ten.step == UPDATES], gone[gone.removed]
    before, after = taken[~taken.gone], taken[taken.gone]

    def lost(arm: str) -> Interval:
        return paired_bootstrap(small.by_question(before, arm), small.by_question(after, arm)).interval

    ten_times = _times(last, "step", "patched")
    return {
        "accuracy lost without the document: rag": lost("rag"),
        "accuracy lost without the document: tuned": lost("tuned"),
        "accuracy lost without the adapter: tuned": small.gap(gone[~gone.gone], "tuned", "base"),
        "removed facts still answered: rag": bootstrap_mean(small.by_question(after, "rag")),
        "removed facts still answered: tuned - rag": small.gap(after, "tuned", "rag"),
        "seconds to take up a change: tuned / rag": _times(rows, "share", "retrained"),
        "accuracy on changed facts, not trained again: rag - tuned": small.gap(fresh, "rag", "tuned"),
        "accuracy on changed facts, not trained again: hybrid - tuned": small.gap(fresh, "hybrid", "tuned"),
        "accuracy on changed facts less on unchanged ones: rag": unpaired_bootstrap(
            small.by_question(fresh, "rag"), small.by_question(half[~half.changed], "rag")
        ),
        "accuracy with half of the facts changed: rag - tuned": small.gap(half, "rag", "tuned"),
        "joint with no fact changed: tuned - rag": small.gap(none, "tuned", "rag", "joint"),
        "joint with no fact changed: tuned - hybrid": small.gap(none, "tuned", "hybrid", "joint"),
        "accuracy on unchanged facts lost by training on the change: tuned": small.gap(
            patch[~patch.changed], "tuned", "patched"
        ),
        "seconds for ten updates: tuned / rag": ten_times,
        "seconds for ten updates: tuned / hybrid": ten_times,
        "seconds for ten updates: hybrid / rag": Interval(1.0, 1.0, 1.0),  # both index the same documents again
        "accuracy after ten updates: rag - tuned": small.gap(last, "rag", "patched"),
    }
