"""Growth: arithmetic on known numbers; the stages of a real answer; shards."""

import numpy as np
import pandas as pd
import pytest

from labkit.compare import cost
from labkit.lab import Lab
from labkit.profile import POCKET


def test_a_cost_in_proportion_doubles_and_a_square_quadruples():
    sizes = [1, 2, 4, 8]
    noise = np.random.default_rng(0).uniform(0.99, 1.01, (30, 4))
    linear = pd.DataFrame(noise * np.array(sizes), columns=sizes)
    square = pd.DataFrame(noise * np.array(sizes) ** 2, columns=sizes)
    assert cost.per_doubling(linear).mean == pytest.approx(2, rel=0.02)
    found = cost.per_doubling(square)
    assert found.low < 4.01 and found.high > 3.99 and found.mean == pytest.approx(4, rel=0.02)


def test_the_stages_of_an_answer_are_all_of_it():
    lab = Lab(POCKET, "smoke", progress=False)
    question = lab.questions[0].question
    lab.arm("rag").answer([question])
    row = cost._time(lab, lab.arm("rag"), question)
    stages = sum(row[stage] for stage in ("embed", "search", "prefill", "decode"))
    assert 0 < stages <= 1.5 * row["total"] and row["embed"] > 0 and row["prefill"] > 0
    assert row["read"] > 100 and row["written"] > 1 and row["processor"] > 0
    assert cost._time(lab, lab.arm("base"), question)["search"] < 1


@pytest.mark.slow
def test_shards_find_together_what_one_index_finds(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    found = cost.shards(Lab(POCKET, "smoke", progress=False))
    assert sorted(found.shards.unique()) == list(cost.SHARDS)
    assert found.recall.eq(1).all() or found.recall.mean() > 0.99
