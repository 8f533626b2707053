"""The arithmetic of the update study, on rows made up for the purpose, and its parts at smoke size."""

import pandas as pd
import pytest

from labkit.compare import claims, update
from labkit.lab import Lab
from labkit.profile import POCKET


def told(arm: str, right: list[int], seconds: float = 0.0, **about: object) -> list[dict]:
    return [
        {"arm": arm, "id": f"q{n}", "changed": n % 2 == 0, "correct": r, "style": 1, "joint": r, "seed": 0,
         "seconds": seconds, "indexing": 2.0, **about}
        for n, r in enumerate(right)
    ]  # fmt: skip


@pytest.fixture
def studies(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose three studies are made up: RAG takes changes up, the tuned arm does not, patching forgets."""
    shares = [
        *(row for share in (0.0, 0.25, 0.5) for arm in ("rag", "hybrid") for row in told(arm, [1] * 8, share=share)),
        *told("tuned", [1] * 8, share=0.0),
        *(row for share in (0.25, 0.5) for row in told("tuned", [0, 1] * 4, share=share)),
        *(row for share in (0.25, 0.5) for row in told("retrained", [1] * 8, 50.0, share=share)),
        *told("patched", [1, 0] * 4, 10.0, share=0.25),
    ]
    ten = [row for arm, r, s in (("rag", [1], 0.0), ("patched", [0], 40.0)) for row in told(arm, r * 8, s, step=10)]
    gone = [
        row
        for arm, before, after in (("base", 0, 0), ("rag", 1, 0), ("hybrid", 1, 0), ("tuned", 1, 1))
        for left, right in ((False, before), (True, after))
        for row in told(arm, [right] * 8, gone=left, removed=True)
    ]
    for name, rows in (("shares", shares), ("stream", ten), ("removal", gone)):
        monkeypatch.setattr(update, name, lambda lab, rows=rows: pd.DataFrame(rows))
    return Lab(POCKET, "smoke", progress=False)


def test_the_study_makes_every_figure_that_its_claims_need(studies):
    made = update.figures(studies)
    assert set(claims.figure_names("13_update")) <= made.keys()


def test_the_figures_say_what_the_rows_say(studies):
    made = {name: value.mean for name, value in update.figures(studies).items()}
    assert made["accuracy on changed facts, not trained again: rag - tuned"] == 1
    assert made["accuracy on changed facts less on unchanged ones: rag"] == 0
    assert made["accuracy with half of the facts changed: rag - tuned"] == 0.5
    assert made["accuracy on unchanged facts lost by training on the change: tuned"] == 1
    assert made["seconds to take up a change: tuned / rag"] == 25
    assert made["seconds for ten updates: tuned / rag"] == 20
    assert made["accuracy lost without the document: rag"] == 1
    assert made["accuracy lost without the document: tuned"] == 0
    assert made["accuracy lost without the adapter: tuned"] == 1
    assert made["removed facts still answered: tuned - rag"] == 1


def test_a_study_that_shows_what_the_article_says_supports_its_claims(studies):
    made = update.figures(studies)
    mine = [claim for claim in claims.load_claims() if claim.lesson == "13_update"]
    verdicts = {row["id"]: row["verdict"] for row in claims.judge(mine, made, {})}
    assert verdicts["rag-up-to-date"] == verdicts["knowledge-source"] == verdicts["changing-knowledge"] == "supported"
    assert verdicts["stable-style"] == "mixed", "with no fact changed, tuned and rag are alike here"
