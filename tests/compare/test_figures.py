"""A figure's name says arm, metric and kind; its value is the mean over just those answers."""

import pandas as pd
import pytest

from labkit.compare.figures import figure, found_and_missed
from labkit.errors import LabError

FLAGS = ("style", "joint", "cited", "abstained", "prompt_tokens", "output_tokens")


def answered(arm: str, correct: list[int], retrieved: list[int], seed: int = 0) -> list[dict]:
    kinds = ["single fact", "two-hop"]
    return [
        {"id": f"q{n}", "kind": kinds[n % 2], "arm": arm, "seed": seed, "answerable": True, "correct": right, "retrieved": found}
        | dict.fromkeys(FLAGS, 0)
        for n, (right, found) in enumerate(zip(correct, retrieved, strict=True))
    ]  # fmt: skip


ANSWERS = pd.DataFrame(
    answered("rag", [1, 0, 1, 0], [1, 1, 1, 0])
    + answered("tuned", [0, 1, 0, 0], [0, 0, 0, 0])
    + answered("tuned", [0, 1, 0, 1], [0, 0, 0, 0], seed=1)
)


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("accuracy: rag", 0.5),
        ("accuracy: rag - tuned", 0.125),
        ("accuracy: tuned - rag (two-hop)", 0.75),
        ("style: tuned", 0.0),
    ],
)
def test_a_figure_is_what_its_name_says(name, mean):
    found = figure(ANSWERS, name)
    assert found.mean == pytest.approx(mean) and found.low <= found.mean <= found.high


@pytest.mark.parametrize("name", ["accuracy", "accuracy rag", "accuracy: base", "accuracy: rag (growth)"])
def test_a_figure_without_answers_is_refused(name):
    with pytest.raises(LabError, match=r"accuracy"):
        figure(ANSWERS, name)


def test_search_and_reader_share_the_blame():
    told = found_and_missed(ANSWERS)
    assert told["accuracy where all was found: rag"].mean == pytest.approx(2 / 3)
    assert told["found but answered wrong: rag"].mean == pytest.approx(1 / 4)
    assert told["something was missed: rag"].mean == pytest.approx(1 / 4)
    assert told["accuracy where all was found less where something was missed: rag"].mean == pytest.approx(2 / 3)
    # Either arm: questions 0 and 2 by rag, 1 by tuned, 3 by tuned with one of two seeds.
    assert told["accuracy of either: rag or tuned less the better alone"].mean == pytest.approx(3.5 / 4 - 0.5)
