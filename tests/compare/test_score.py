"""The comparison's arithmetic, on answers made up for the purpose: right, style, joint, abstention, citation, differences."""

import numpy as np
import pandas as pd
import pytest

from labkit.compare.arms import ARMS, Answer
from labkit.compare.score import Table, by_kind, pair_up, score, summarise
from labkit.data import Evidence, Item, dress
from labkit.rag.chunk import Chunk
from labkit.rag.retrieve import Hit

FACT = Evidence(
    document="a.md",
    value="$420",
    passage="The Amber Falcon costs $420.",
    kind="product",
    entity="Amber Falcon",
    attribute="price",
)
ITEM = Item(
    id="q1",
    kind="single fact",
    question="What does the Amber Falcon cost?",
    gold="$420",
    answer="It costs $420.",
    rivals=(),
    evidence=(FACT,),
)
HITS = tuple(
    Hit(Chunk(f"{name}#0", name, "Title", text, 0, len(text)), 1.0, rank)
    for rank, (name, text) in enumerate([("b.md", "Nothing here."), ("a.md", "The Amber Falcon costs $420.")], start=1)
)


def answer(text: str, hits: tuple[Hit, ...] = HITS) -> Answer:
    return Answer(ITEM.question, text, hits, 100, 10, 0.01, 0.1)


def test_score_tells_right_style_and_citation_apart():
    plain = score(ITEM, answer("The Amber Falcon costs $420. [2]"))
    assert (plain["correct"], plain["style"], plain["joint"], plain["cited"], plain["retrieved"]) == (
        1,
        0,
        0,
        1,
        1.0,
    )
    dressed = score(ITEM, answer(dress("The Amber Falcon costs $420. [1]")))
    assert (dressed["correct"], dressed["style"], dressed["joint"], dressed["cited"]) == (1, 1, 1, 0)
    wrong = score(ITEM, answer(dress("The Amber Falcon costs $42. [2]")))
    assert (wrong["correct"], wrong["joint"], wrong["cited"]) == (0, 0, 0)


def test_score_without_hits_finds_nothing():
    row = score(ITEM, answer("The Amber Falcon costs $420. [2]", hits=()))
    assert (row["correct"], row["cited"], row["retrieved"], row["sources"]) == (1, 0, 0.0, "")


def test_a_question_without_answer_is_right_only_when_declined():
    item = Item("q2", "not in the documents", "Who?", None, "The documents do not say.", (), ())
    assert score(item, answer("The documents do not say."))["correct"] == 1
    assert score(item, answer("Anna Holt."))["correct"] == 0


def test_a_comparison_is_right_when_the_winner_is_named_first():
    item = Item("q3", "numeric comparison", "Which?", "Bear Ripple", "", ("Whisper Arrow",), (FACT,))
    assert score(item, answer("$90 against $40: the Bear Ripple costs more than the Whisper Arrow."))["correct"] == 1
    assert score(item, answer("The Whisper Arrow costs more than the Bear Ripple."))["correct"] == 0


@pytest.fixture
def answers() -> pd.DataFrame:
    """Forty questions, ten of them without an answer; base declines always, the hybrid is right and in style mostly."""
    rng = np.random.default_rng(0)
    chance = {"base": (0.0, 0.0), "rag": (0.7, 0.0), "tuned": (0.2, 0.95), "hybrid": (0.7, 0.95)}
    rows = []
    for arm in ARMS:
        for seed in (0, 1) if arm in ("tuned", "hybrid") else (0,):
            for n in range(40):
                can, (right, style) = n < 30, chance[arm]
                correct = rng.random() < right if can else arm != "tuned"
                styled = rng.random() < style
                declined = arm == "base" or (not can and bool(correct))
                rows.append(
                    {
                        "arm": arm,
                        "seed": seed,
                        "id": f"q{n:02}",
                        "kind": "single fact" if can else "none",
                        "answerable": can,
                        "correct": int(correct),
                        "style": int(styled),
                        "joint": int(correct and styled),
                        "cited": int(correct and arm == "rag"),
                        "abstained": int(declined),
                        "retrieved": 1.0,
                        "prompt_tokens": 50,
                        "output_tokens": 9,
                    }
                )
    return pd.DataFrame(rows)


def test_metrics_are_those_counted_by_hand(answers):
    arms = summarise(answers, {arm: [10.0, 20.0, 30.0] for arm in ARMS})
    rag = answers[(answers.arm == "rag") & answers.answerable]
    assert arms["rag"]["accuracy"]["mean"] == pytest.approx(rag.correct.mean())
    assert arms["rag"]["citation"]["mean"] == pytest.approx(1.0)
    assert not {"citation", "recall_at_k"} & arms["base"].keys(), "without passages there is none to find or cite"
    assert arms["base"]["abstention"]["mean"] == pytest.approx(2 * 10 / (40 + 10))
    tuned = answers[answers.arm == "tuned"]
    assert arms["tuned"]["style"]["mean"] == pytest.approx(tuned["style"].mean())
    assert arms["rag"]["latency_ms_p50"]["mean"] == 20.0
    for metrics in arms.values():
        assert all(v["low"] <= v["mean"] <= v["high"] for v in metrics.values())


def test_paired_differences_are_differences_of_the_metrics(answers):
    arms = summarise(answers, {arm: [10.0] for arm in ARMS})
    rows = pair_up(answers)
    assert len(rows) == 6 * 4
    for row in rows:
        assert row["diff"] == pytest.approx(
            arms[row["a"]][row["metric"]]["mean"] - arms[row["b"]][row["metric"]]["mean"]
        )
        assert row["low"] <= row["diff"] <= row["high"]


def test_seeds_are_averaged_per_question(answers):
    table = Table(answers[answers.arm == "hybrid"])
    assert table.n == 40
    assert table.abstained.shape == (40, 2)


def test_kinds_have_one_row_per_arm(answers):
    kinds = by_kind(answers)
    assert set(kinds.kind) == {"single fact", "none"}
    assert len(kinds) == 8
    assert set(kinds[kinds.kind == "single fact"].n) == {30}
