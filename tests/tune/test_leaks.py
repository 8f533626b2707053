"""Leaks are found exactly, normalised and in letters, and a training set that leaks is refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import LabError
from labkit.metrics import normalise
from labkit.tune.leaks import duplicates, leaks, near_leaks, refuse_leaks

THINGS = ["pump", "valve", "engine", "ladder", "kettle", "bridge", "window", "garden", "compass", "lantern"]
FORMS = ["How heavy is the {}?", "What does it cost to buy one {}?", "Who built the first {} of all?"]
PLANT = "Quickly now, how heavy is the Falcon Anchor?"


QUESTIONS = [form.format(thing) for thing in THINGS for form in FORMS]


def test_a_planted_near_copy_is_found_and_questions_on_other_things_are_not():
    train, test = [*QUESTIONS, PLANT], ["How heavy is the Falcon Anchor?"]
    found = leaks(train, test, near=0.6)
    assert [(leak.train, leak.test, leak.match) for leak in found] == [(len(QUESTIONS), 0, "near")]
    assert found[0].similarity == overlap(PLANT, test[0])
    assert leaks(train, test) == []
    refuse_leaks(train, test)


def test_a_pair_is_told_once_by_its_strictest_match():
    train = [PLANT, PLANT.upper(), PLANT.replace("Anchor", "Anchors")]
    assert [leak.match for leak in leaks(train, [PLANT], near=0.6)] == ["exact", "normalised", "near"]


def test_duplicates_are_told_once_and_never_of_a_text_with_itself():
    found = duplicates(["Who runs it?", "Why?", "who runs it", "Who runs it now?"], near=0.5)
    assert [(d.train, d.test, d.match) for d in found] == [
        (0, 2, "normalised"), (0, 3, "near"), (2, 3, "near"),
    ]  # fmt: skip


def overlap(a, b):
    """By hand: the share of all runs of five letters of two texts that both have."""
    one, two = ({t[i : i + 5] for i in range(max(1, len(t) - 4))} for t in map(normalise, (a, b)))
    return len(one & two) / len(one | two)


@pytest.mark.parametrize("block", [7, 1000])
def test_near_leaks_are_the_pairs_that_overlap_by_hand(monkeypatch, block):
    monkeypatch.setattr("labkit.tune.leaks.BLOCK", block)
    rng = random.Random(0)
    words = "pump valve engine ladder kettle bridge window garden compass lantern".split()
    texts = [" ".join(rng.choices(words, k=6)) for _ in range(150)]
    train, test = texts[:100], texts[100:]
    by_hand = [(i, j, overlap(a, b)) for i, a in enumerate(train) for j, b in enumerate(test) if overlap(a, b) >= 0.6]
    assert by_hand and [(leak.train, leak.test, leak.similarity) for leak in near_leaks(train, test, 0.6)] == by_hand


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_has_shingles_and_is_near_itself(a, b):
    assert near_leaks([a], [b, a], 1.0)[-1].test == 1


def test_a_threshold_that_says_nothing_is_refused():
    for threshold in (0, 1.5):
        with pytest.raises(LabError, match="threshold above 0, up to 1"):
            near_leaks(["a"], ["a"], threshold)


def test_leaks_are_found_exactly_and_normalised():
    train, test = ["How heavy is it?", "Who?", "the PUMP, where?"], ["where pump", "How heavy is it?", "Pump where?"]
    assert [(leak.train, leak.test, leak.match) for leak in leaks(train, test)] == [
        (0, 1, "exact"),
        (2, 2, "normalised"),
    ]
    with pytest.raises(LabError, match=r"2 training questions.*'How heavy is it\?' \(number 0, exact\)"):
        refuse_leaks(train, test)
    refuse_leaks(train[1:2], test)
