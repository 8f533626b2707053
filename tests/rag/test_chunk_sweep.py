"""The sweep measures what it says, keeps what it made, and its verdicts follow from the rows."""

import numpy as np
import pandas as pd
import pytest

import labkit
from labkit.rag import chunk_sweep
from labkit.rag.chunk_sweep import claims, sweep


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield labkit.open("pocket", size="smoke", progress=False)


@pytest.mark.slow
def test_a_sweep_has_a_row_for_each_question_and_is_kept(lab, monkeypatch):
    swept = sweep(lab, [64, 128, 256, 500], [0.15])
    assert set(swept["size"]) == {64, 500}, "a smoke run sweeps little"
    answerable = {item.id for item in lab.questions if item.evidence}
    assert all(set(rows.id) == answerable for _, rows in swept.groupby("size"))
    assert swept.correct.notna().groupby(swept["size"]).sum().eq(6).all()
    assert (swept.read.dropna() <= swept.found[swept.read.notna()]).all(), "a prompt shows no more than was found"
    assert swept.prompt_tokens.max() <= 1024 and swept.passages.between(1, 5)[swept.passages.notna()].all()
    small, large = (swept[swept["size"] == size].iloc[0] for size in (64, 500))
    assert small.chunks > large.chunks and small.truncated == 0 < large.truncated
    assert small.megabytes == small.chunks * 384 * 4 / 1e6
    monkeypatch.setattr(chunk_sweep, "_measure", None)
    pd.testing.assert_frame_equal(sweep(lab, [64, 128, 256, 500], [0.15]), swept)


def rows(shares: dict[tuple[int, float], float], questions: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    draws = rng.random(questions)
    made = [
        {
            "id": f"q{n}",
            "size": size,
            "overlap": overlap,
            **dict.fromkeys(("found", "read", "correct"), float(draw < share)),
        }
        for (size, overlap), share in shares.items()
        for n, draw in enumerate(draws)
    ]
    return pd.DataFrame(made)


SHARES = {
    (size, o): 0.5 + 0.3 * (size == 128) - 0.2 * (size == 64) + 0.1 * (o == 0.1)
    for size in (64, 128, 500)
    for o in (0, 0.1)
}


def test_verdicts_say_where_the_advice_is_better_and_where_worse():
    told = claims(rows(SHARES)).set_index(["against", "metric"]).verdict
    assert told["64 tokens", "found"] == "better" and told["128 tokens", "found"] == "worse"
    assert told["0% overlap", "correct"] == "better"
    assert len(told) == 9


def test_equal_settings_are_not_told_apart():
    even = claims(rows({(size, o): 0.5 for size in (64, 500) for o in (0, 0.15, 0.3)}))
    assert set(even.verdict) == {"not told apart"} and even["diff"].eq(0).all()
    assert list(even.against.unique()) == ["64 tokens", "0% overlap", "30% overlap"]


def test_differences_are_paired_over_questions_and_corrected_for_their_number():
    table = claims(rows(SHARES))
    assert (table.low <= table["diff"]).all() and (table["diff"] <= table.high).all()
    assert (table.holm >= table.p).all() and table.questions.eq(200).all()
    found = table.query("metric == 'found' and against == '64 tokens'").iloc[0]
    data = rows(SHARES).groupby("size").found.mean()
    assert found["diff"] == pytest.approx(data[500] - data[64])
