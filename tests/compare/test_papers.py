"""The papers' numbers agree with what their texts say of them; ours are counted from rows; the parts run for real."""

import re

import pandas as pd
import pytest

from labkit.compare import papers
from labkit.compare.claims import load_claims, verdict
from labkit.lab import Lab
from labkit.profile import POCKET
from labkit.stats import Interval
from labkit.tune import curves

CLAIMS = load_claims(papers.PAPERS)


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(POCKET, "smoke", progress=False)


def test_five_papers_are_cited_with_the_place_of_what_is_quoted():
    found = papers.published()
    assert len(found) == len(CLAIMS) == 5
    for row in found.values():
        assert re.fullmatch(r"\d{4}\.\d{5}", row["arxiv"]) and 2000 + int(row["arxiv"][:2]) == row["year"]
        assert row["title"] and row["authors"] and row["place"] and row["here"] and row["claim"].endswith(".")
        assert bool(row["published"]) == bool(row["unit"]), "numbers have a unit"


def test_every_rule_asks_for_a_direction_only_and_turns_with_the_data():
    for claim in CLAIMS:
        assert claim.lesson == "18_papers" and all(need.bound == 0 for need in claim.needs)
        for claimed, said in ((True, "supported"), (False, "refuted")):
            sign = [1 if need.above == claimed else -1 for need in claim.needs]
            made = {n.figure: Interval(s, s - 0.5, s + 0.5) for n, s in zip(claim.needs, sign, strict=True)}
            assert verdict(claim, made) == said


def test_the_numbers_of_raft_give_the_gains_that_its_text_names():
    table = papers.published()["practise-reading"]["published"]
    for data, over, gain in (
        ("HotPot", "RAG", 35.25),
        ("Torch Hub", "RAG", 76.35),
        ("HotPot", "DSF + RAG", 30.87),
        ("HuggingFace", "DSF + RAG", 31.41),
    ):
        assert table[data]["RAFT"] - table[data][over] == pytest.approx(gain)


def answered(part: str, share: float, epochs: int, right: list[int], seed: int = 0) -> list[dict]:
    return [
        {"part": part, "share": share, "epochs": epochs, "seed": seed, "id": f"{part} {n}", "correct": r, "declined": 0}
        for n, r in enumerate(right)
    ]


def made_up(before: list[int]) -> pd.DataFrame:
    """The first training taught `before`; of the others only the long one on new facts takes any, all but the last."""
    rows = answered("known", 0.0, 0, before)
    for share in papers.SHARES:
        after = [0] * (len(before) - 1) + [1] if share == 1 else [1] * len(before)
        rows += answered("known", share, papers.BRIEF, [1] * len(before))
        rows += answered("known", share, papers.LONG, after)
    return pd.DataFrame(rows)


def test_only_facts_that_were_known_can_be_lost():
    share = papers.wrong(made_up([1, 0, 1, 1]))
    assert list(share.index) == ["known 0", "known 2", "known 3"]
    assert share[1.0, papers.LONG].tolist() == [1, 1, 0] and share[0.0, papers.LONG].sum() == 0
    assert len(papers.wrong(made_up([0, 0, 0, 0]))) == 4, "where nothing was known, all count"


def test_the_figures_say_what_the_rows_say_and_every_rule_finds_its_own(lab, monkeypatch):
    scores = {curves.TRAINED: {1: [[1]] * 4, 16: [[1]] * 4}, curves.UNSEEN: {1: [[0, 1]] * 4, 16: [[1, 1]] * 4}}
    rare = [{"seen": seen, "seed": 0, "rag": 1.0, "tuned": tuned} for seen, tuned in ((1, 0.0), (32, 0.75)) * 4]
    monkeypatch.setattr(papers, "wordings", lambda lab: scores)
    monkeypatch.setattr(papers, "rarity", lambda lab: pd.DataFrame(rare))
    monkeypatch.setattr(papers, "new_facts", lambda lab: made_up([1, 1, 1, 1]))
    names = [n.figure for claim in CLAIMS for n in claim.needs if not n.figure.startswith("accuracy")]
    assert {name: value.mean for name, value in papers.figures(lab, names).items()} == {
        "wordings: right in unseen ones, many trained - one trained": 0.5,
        "wordings: one trained, right in it - in unseen ones": 0.5,
        "new facts: known ones answered wrong, all new - none new": 0.75,
        "new facts: known ones answered wrong, all new, trained long - briefly": 0.75,
        "rarity: lead of rag, seen once": 1.0,
        "rarity: lead of rag, seen once - seen most often": 0.75,
    }
    assert papers.verdict(lab, "rare-facts").startswith("SUPPORTED: The rarer")


@pytest.mark.slow
def test_rag_and_the_tuned_model_are_asked_about_the_same_facts(lab):
    rows = papers.rarity(lab)
    assert rows.groupby("seen").size().to_dict() == {1: 4, 4: 4}
    scores = curves.repetition_curve(lab, **papers.SEEN["smoke"])[curves.UNSEEN]
    assert rows.tuned.tolist() == [sum(row) / len(row) for some in scores.values() for row in some]
    assert rows.rag.mean() > rows.tuned.mean()


@pytest.mark.slow
def test_the_second_training_shows_no_fact_that_is_asked_as_known(lab, monkeypatch):
    told, learn = [], papers.small.learn

    def watched(lab, model, items, *more):
        told.append(items)
        return learn(lab, model, items, *more)

    monkeypatch.setattr(papers.small, "learn", watched)
    rows = pd.DataFrame(papers.new_facts.__wrapped__(lab, 0))
    known = set(rows[rows.part == "known"].id)
    later = told[1:]
    assert {len(items) for items in later} == {11} and not any(known & {item.id for item in items} for items in later)
    assert rows[rows.epochs > 0].groupby(["part", "share"]).size().index.tolist() == [
        ("known", 0.0), ("known", 0.5), ("known", 1.0), ("new", 0.5), ("new", 1.0)]  # fmt: skip
