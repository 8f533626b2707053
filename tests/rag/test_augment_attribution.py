"""Every answer has one cause, shares add up, and the figure shows the same."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from labkit import LabError, plot
from labkit.rag.attribution import CAUSES, SAID, attribute, cause, causes

ROWS = pd.DataFrame(
    [
        ("rag", True, 1, 1.0, 0, "right", "right"),
        ("rag", True, 0, 1.0, 0, "model misread", "wrong"),
        ("rag", True, 0, 1.0, 1, "model misread", "declined"),
        ("rag", True, 0, 0.5, 0, "retrieval missed", "wrong"),
        ("rag", True, 0, 0.0, 1, "retrieval missed", "declined"),
        ("rag", False, 0, 0.0, 0, "should have abstained", "wrong"),
        ("hybrid", False, 1, 0.0, 1, "right", "right"),
        ("hybrid", True, 1, 0.0, 0, "right", "right"),
    ],
    columns=["arm", "answerable", "correct", "retrieved", "abstained", "cause", "said"],
)


def test_each_answer_gets_its_cause_and_what_was_said():
    told = attribute(ROWS.drop(columns=["cause", "said"]))
    assert told.cause.tolist() == ROWS.cause.tolist()
    assert told.said.tolist() == ROWS.said.tolist()
    assert (tuple(told.cause.cat.categories), tuple(told.said.cat.categories)) == (CAUSES, SAID)


@given(st.booleans(), st.booleans(), st.sampled_from([0, 1 / 3, 0.5, 1]))
def test_a_right_answer_is_right_and_any_other_is_not(answerable, correct, retrieved):
    assert (cause(answerable, correct, retrieved) == "right") == correct
    assert cause(answerable, correct, retrieved) in CAUSES


def test_shares_add_up_in_every_group_and_keep_their_order():
    table = causes(ROWS)
    assert list(table.index) == ["rag", "hybrid"] and tuple(table.columns) == CAUSES
    assert table.sum(axis=1).tolist() == pytest.approx([1, 1])
    assert table.loc["rag"].tolist() == pytest.approx([1 / 6, 2 / 6, 2 / 6, 1 / 6])
    assert causes(ROWS[ROWS.arm == "hybrid"]).loc["hybrid"].tolist() == [1, 0, 0, 0]


def test_answers_that_were_not_scored_are_an_error_that_names_what_lacks():
    with pytest.raises(LabError, match="without correct, retrieved"):
        attribute(ROWS.drop(columns=["correct", "retrieved"]))


def test_the_bars_are_the_shares():
    table = causes(ROWS)
    figure, text = plot.shares(table)
    for part, bars in zip(table, figure.axes[0].containers, strict=True):
        assert [bar.get_width() for bar in bars] == pytest.approx(table[part].tolist())
    last = figure.axes[0].containers[-1]
    assert [bar.get_x() + bar.get_width() for bar in last] == pytest.approx([1, 1])
    assert len({bars[0].get_hatch() for bars in figure.axes[0].containers}) == len(CAUSES)
    assert text.splitlines()[0].startswith("rag: right 0.17, model misread 0.33")
    plt.close("all")
    with pytest.raises(LabError, match="no shares"):
        plot.shares(table.iloc[:0])
