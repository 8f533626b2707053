"""The figures of the article's best practices: real ones at smoke size, and their arithmetic on rows made up."""

import pandas as pd
import pytest

import labkit
from labkit.compare import practices, update
from labkit.compare.claims import needed


@pytest.fixture(scope="module")
def lab():
    return labkit.open(size="smoke", progress=False)


def test_an_index_of_yesterday_misses_what_changed_and_another_embedder_misses_nearly_all(lab):
    made = practices.embedding(lab)
    assert made.keys() == needed("03_embed")
    assert all(value.low > 0 for value in made.values())


def test_overlap_is_judged_question_by_question_over_all_sizes(lab, monkeypatch):
    rows = [
        {"id": n, "size": size, "overlap": overlap, "found": float(overlap > 0), "correct": float(n == 0)}
        for n in range(4)
        for size in (64, 500)
        for overlap in (0.0, 0.1, practices.OVERLAP)
    ]
    monkeypatch.setattr(
        "labkit.compare.chunk_sweep.sweep",
        lambda lab, overlaps: pd.DataFrame(r for r in rows if r["overlap"] in overlaps),
    )
    made = practices.chunking(lab)
    assert made.keys() == needed("02_chunk")
    assert {name.partition(" ")[0]: value.mean for name, value in made.items()} == {"accuracy": 0, "recall": 1}


def test_an_adapter_saves_bytes_and_is_compared_with_all_weights_fact_by_fact(lab, monkeypatch):
    rows = [{"id": n, "seed": 0, "correct": int(n < 3)} for n in range(4)]
    monkeypatch.setattr(update, "shares", lambda lab: pd.DataFrame(rows).assign(arm="tuned", share=0.0))
    monkeypatch.setattr(practices, "fully_tuned", lambda lab: pd.DataFrame(rows).assign(arm="full", correct=1))
    made = practices.adapting(lab)
    assert made.keys() == needed("09_adapters")
    assert made["accuracy: lora - full tuning"].mean == -0.25
    assert 0 < made["trained bytes: lora / full"].mean < 0.2
    assert 0 < made["bytes of the weights: qlora / full"].mean < 0.5
