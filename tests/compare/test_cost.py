"""Growth: arithmetic on known numbers; the stages of a real answer; shards."""

import numpy as np
import pandas as pd
import pytest

from labkit.compare import cost
from labkit.compare.claims import figure_names
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


def test_every_figure_that_the_claims_need_is_counted_from_the_studies_rows(monkeypatch):
    each = {"rag": (200, 400, 0.2), "tuned": (100, 50, 0.1), "hybrid": (300, 400, 0.3)}
    spent = [dict(zip(("arm", "id", "total", "read", "processor"), (arm, f"q{n}", *values), strict=True))
             for arm, values in each.items() for n in range(4)]  # fmt: skip
    setup = [{"arm": arm, "seed": seed, "seconds": s, "peak_mb": 100 * s} for arm, s in (("rag", 1), ("tuned", 40), ("hybrid", 100)) for seed in (0, 1)]  # fmt: skip
    spread = [{"shards": n, "question": q, "recall": 1.0 if n < 8 else 0.9} for n in cost.SHARDS for q in range(4)]
    wide = [{"width": w, "step": n, "seconds": w**2} for w in (128, 256) for n in range(4)]
    search = [{"vectors": v, "question": q, "ms": v / 100} for v in (1000, 10_000) for q in range(4)]
    # Tuning is right in half of the answers after 40 epochs, in a quarter before, and in style only after 300 s.
    budget = [{"arm": "rag", "id": f"q{n}", "seed": 0, "correct": 1, "style": 0, "seconds": 2.0} for n in range(4)]
    budget += [{"arm": "tuned", "id": f"q{n}", "seed": 0, "epochs": epochs, "seconds": took, "style": int(took > 60),
                "correct": int(n < (2 if epochs == 40 else 1))}
               for epochs, took in ((5, 30.0), (20, 299.0), (40, 500.0)) for n in range(4)]  # fmt: skip
    for name, rows in {"split": spent, "setting_up": setup, "shards": spread, "widths": wide, "vectors": search,
                       "by_budget": budget}.items():  # fmt: skip
        monkeypatch.setattr(cost, name, lambda lab, rows=rows: pd.DataFrame(rows))
    all_data = pd.DataFrame({"kind": ["single fact", "single fact", "two-hop"], "correct": [1, 0, 0]})
    monkeypatch.setattr(cost, "ask_arms", lambda lab, arms: all_data)
    made = cost.figures(None)
    assert set(made) == set(figure_names("14_cost"))
    means = {name: round(value.mean, 6) for name, value in made.items()}
    assert means["milliseconds an answer: rag - tuned"] == 100 and means["milliseconds an answer: rag / tuned"] == 2
    assert means["prompt tokens: rag / tuned"] == 8
    assert means["processor seconds a question: rag - tuned"] == 0.1
    assert means["processor seconds a question: rag / tuned"] == 2
    assert means["seconds of setting up: tuned / rag"] == means["peak memory of setting up: tuned / rag"] == 40
    assert means["seconds of setting up: tuned - rag"] == 39
    assert means["cost of 1,000 questions: tuned / rag"] == round((40 + 100) / (1 + 200), 6)
    assert means["cost of 1,000 questions: hybrid / rag"] == round((100 + 300) / (1 + 200), 6)
    assert means["recall with 8 shards less with one"] == -0.1
    assert (
        means["search time per doubling of the vectors"] == 2 and means["training time per doubling of the width"] == 4
    )
    assert means["accuracy with a tenth of the data: rag - tuned"] == 0.5
    assert means["accuracy with a tenth of the data less with all: rag"] == 0.5
    assert means["accuracy within a minute of setting up: rag - tuned"] == 0.75
    assert means["style within five minutes of setting up: tuned - rag"] == 1
    assert means["accuracy for a second of setting up: rag / tuned"] == (1 / 2) / (0.5 / 500)


@pytest.mark.slow
def test_shards_find_together_what_one_index_finds(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    found = cost.shards(Lab(POCKET, "smoke", progress=False))
    assert sorted(found.shards.unique()) == list(cost.SHARDS)
    assert found.recall.eq(1).all() or found.recall.mean() > 0.99
