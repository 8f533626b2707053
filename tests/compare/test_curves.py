"""The curves show each fact as often and in as many wordings as they say, and ask in wordings never trained."""

import time
from collections import Counter

import pytest

import labkit
from labkit.compare import curves
from labkit.data import wordings


def test_facts_are_the_same_for_a_seed_and_their_unseen_wordings_are_not_trained():
    drawn = curves.facts(40)
    assert drawn == curves.facts(40) != curves.facts(40, seed=1)
    assert len({(fact.entity, fact.attribute) for fact in drawn}) == 40
    for fact in drawn:
        wording = wordings()[fact.kind, fact.attribute]
        assert len(fact.trained) == curves.WORDINGS and not set(fact.trained) & set(fact.unseen)
        assert set(wording.held_out) <= set(fact.unseen)
        assert set(fact.trained + fact.unseen) == {*wording.asks, *wording.held_out}
    example = drawn[0].example(drawn[0].unseen[0])
    assert drawn[0].entity in example.question and drawn[0].value in example.messages[-1]["content"]
    assert example.messages[:-1] == drawn[0].ask(drawn[0].unseen[0])


def test_every_paraphrase_training_is_of_equal_size_in_as_many_wordings_as_told():
    for number in (1, 4, 16):
        told = curves.paraphrased(curves.facts(5), number, seen=16)
        uses = Counter((e.tags["entity"], e.tags["value"], e.tags["wording"]) for e in told)
        assert len(told) == 5 * 16 and len(uses) == 5 * number and set(uses.values()) == {16 // number}


def test_each_group_of_the_repetition_curve_is_seen_as_often_as_told():
    drawn = curves.facts(9)
    told = curves.repeated({1: drawn[:3], 4: drawn[3:6], 32: drawn[6:]})
    times = Counter((e.tags["entity"], e.tags["value"]) for e in told)
    assert [times[fact.entity, fact.value] for fact in drawn] == [1] * 3 + [4] * 3 + [32] * 3
    wordings = {e.tags["wording"] for e in told if e.tags["value"] == drawn[3].value}
    assert wordings == set(drawn[3].trained[:4])


@pytest.mark.slow
def test_a_trained_curve_is_kept_and_scores_every_question(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    lab = labkit.open("pocket", size="smoke", progress=False)
    scores = curves.repetition_curve(lab, counts=(1, 30), group=2)
    for name, width in ((curves.TRAINED, 1), (curves.UNSEEN, 2)):
        assert [len(row) for rows in scores[name].values() for row in rows] == [width] * 4
        assert {answer for rows in scores[name].values() for row in rows for answer in row} <= {0, 1}
    began = time.perf_counter()
    assert curves.repetition_curve(lab, counts=(1, 30), group=2) == scores
    assert time.perf_counter() - began < 1, "it is kept, not trained again"
    assert curves.intervals(scores)[curves.UNSEEN][30].mean == sum(map(sum, scores[curves.UNSEEN][30])) / 4
