"""Prices, break-even, growth: arithmetic on known numbers; the stages of a real answer."""

import numpy as np
import pandas as pd
import pytest

from labkit.compare import cost, cost_growth
from labkit.compare.cost import Prices, break_even
from labkit.lab import Lab
from labkit.profile import POCKET


def test_a_thousand_questions_cost_setting_up_and_a_thousand_answers():
    prices = Prices(processor_hour=3600, read=1e6, written=2e6, trained=0.5e6)
    assert prices.own(setup=100, seconds=2, questions=1000) == 2100
    assert prices.rented(trained=10, read=3, written=1, questions=2) == 5 + 2 * (3 + 2)


@pytest.mark.parametrize(
    ("a", "b", "even"), [((100, 1), (0, 2), 100), ((0, 1), (100, 2), 0), ((100, 2), (0, 2), float("inf"))]
)
def test_break_even_is_where_the_lines_cross(a, b, even):
    assert break_even(*a, *b) == even


def test_a_cost_in_proportion_doubles_and_a_square_quadruples():
    sizes = [1, 2, 4, 8]
    noise = np.random.default_rng(0).uniform(0.99, 1.01, (30, 4))
    linear = pd.DataFrame(noise * np.array(sizes), columns=sizes)
    square = pd.DataFrame(noise * np.array(sizes) ** 2, columns=sizes)
    assert cost_growth.per_doubling(linear).mean == pytest.approx(2, rel=0.02)
    found = cost_growth.per_doubling(square)
    assert found.low < 4.01 and found.high > 3.99 and found.mean == pytest.approx(4, rel=0.02)


def test_the_stages_of_an_answer_are_all_of_it():
    lab = Lab(POCKET, "smoke", progress=False)
    question = lab.questions[0].question
    lab.arm("rag").answer([question])
    row = cost._timed(lab, lab.arm("rag"), question)
    stages = sum(row[stage] for stage in ("embed", "search", "prefill", "decode"))
    assert 0 < stages <= 1.5 * row["total"] and row["embed"] > 0 and row["prefill"] > 0
    assert row["read"] > 100 and row["written"] > 1 and row["processor"] > 0
    assert cost._timed(lab, lab.arm("base"), question)["search"] < 1


@pytest.mark.slow
def test_shards_find_together_what_one_index_finds(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    found = cost_growth.shards(Lab(POCKET, "smoke", progress=False))
    assert sorted(found.shards.unique()) == list(cost_growth.SHARDS)
    assert found.recall.eq(1).all() or found.recall.mean() > 0.99
