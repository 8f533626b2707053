"""Advice follows what was measured."""

import pandas as pd
import pytest

from labkit.compare.decide import Needs, advise, sentence, utilities
from labkit.errors import LabError


def answered(arm: str, kind: str, right: int, style: int, abstained: int = 0) -> list[dict]:
    return [
        {"arm": arm, "id": f"{kind}{n}", "kind": kind, "seed": 0, "answerable": kind != "unknown", "correct": right,
         "style": style, "joint": right * style, "cited": right if arm in ("rag", "hybrid") else 0, "abstained": abstained}
        for n in range(12)
    ]  # fmt: skip


ANSWERS = pd.DataFrame(
    [
        *answered("rag", "changed fact", 1, 0), *answered("rag", "single fact", 1, 0), *answered("rag", "unknown", 0, 0),
        *answered("tuned", "changed fact", 0, 1), *answered("tuned", "single fact", 1, 1),
        *answered("tuned", "unknown", 0, 1, 1),
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("needs", "best"),
    [
        (Needs(changed=1, unknown=0), "rag"),
        (Needs(changed=0, unknown=0, style=1), "tuned"),
        (Needs(changed=0, unknown=1), "tuned"),
        (Needs(changed=0.4, unknown=0, right=0.2, style=1), "tuned"),
        (Needs(changed=0, unknown=0, right=0, cited=1), "rag"),
    ],
)
def test_advice_follows_mix_and_weights(needs, best):
    found, gaps = advise(ANSWERS, needs)
    assert found == best and all(gap.diff >= 0 for gap in gaps.values())
    assert sentence(found, gaps).startswith(f"{best}: ahead of")


def test_worth_is_the_mix_of_what_was_measured():
    worth = utilities(ANSWERS, Needs(changed=0.25, unknown=0.25))
    assert worth["rag"].mean == pytest.approx(0.75) and worth["tuned"].mean == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"changed": 0.8, "unknown": 0.4}, "add up"), ({"changed": -0.1}, "add up"), ({"right": 0}, "above zero"),
     ({"style": -1}, "none below")],
)  # fmt: skip
def test_impossible_needs_are_refused(wrong, said):
    with pytest.raises(LabError, match=said):
        Needs(**wrong)


def test_a_mix_of_questions_that_were_not_asked_is_refused():
    with pytest.raises(LabError, match="no question is unknown"):
        advise(ANSWERS[ANSWERS.kind != "unknown"], Needs(changed=0, unknown=0.5))
