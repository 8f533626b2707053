"""Splits keep groups apart, leaks are found in letters and in meaning, and a split that leaks is refused."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import LabError
from labkit.metrics import normalise
from labkit.tune.leaks import duplicates, leaks, near_leaks, refuse_leaks, split
from labkit.tune.prepare import Example

THINGS = ["pump", "valve", "engine", "ladder", "kettle", "bridge", "window", "garden", "compass", "lantern"]
FORMS = ["How heavy is the {}?", "What does it cost to buy one {}?", "Who built the first {} of all?"]
PLANT = "Quickly now, how heavy is the Falcon Anchor?"


def example(question, **tags):
    return Example([{"role": "user", "content": question}, {"role": "assistant", "content": "So."}], tags)


EXAMPLES = [example(form.format(thing), entity=thing, wording=form) for thing in THINGS for form in FORMS]


@pytest.mark.parametrize("by, groups", [("entity", THINGS), ("wording", FORMS)])
def test_no_value_of_the_tag_stands_on_both_sides(by, groups):
    parts = split(EXAMPLES, by, share=0.34)
    seen = [{EXAMPLES[n].tags[by] for n in side} for side in (parts.train, parts.test)]
    assert not seen[0] & seen[1] and seen[0] | seen[1] == set(groups)
    assert sorted(parts.train + parts.test) == list(range(len(EXAMPLES))) and not parts.dropped
    assert len(seen[1]) == round(0.34 * len(groups))


def test_the_same_seed_splits_alike_and_another_one_differently():
    assert split(EXAMPLES, "entity", seed=1) == split(EXAMPLES, "entity", seed=1) != split(EXAMPLES, "entity", seed=2)


def test_an_example_of_both_sides_is_used_on_neither():
    both = [example(f"Which is heavier, {a} or {b}?", entity=[a, b]) for a in THINGS for b in THINGS if a < b]
    parts = split(both, "entity", share=0.5, near=None)
    sides = [{e for n in side for e in both[n].tags["entity"]} for side in (parts.train, parts.test)]
    assert not sides[0] & sides[1] and len(parts.dropped) == 25
    assert sorted(parts.train + parts.test + parts.dropped) == list(range(len(both)))


def test_a_split_that_leaks_is_refused_unless_told_otherwise():
    leaky = [*EXAMPLES, *(example(e.question.lower(), entity="copy", wording="copy") for e in EXAMPLES)]
    with pytest.raises(LabError, match="training questions are test questions"):
        split(leaky, "entity", share=0.5)
    told = split(leaky, "entity", share=0.5, allow_leaks=True)
    assert told.leaks and {leak.match for leak in told.leaks} == {"normalised"}
    for leak in told.leaks:
        a, b = leaky[told.train[leak.train]].question, leaky[told.test[leak.test]].question
        assert a.lower() == b.lower()


def test_what_cannot_be_split_is_told():
    with pytest.raises(LabError, match=r"example 0 has no tag 'site': its tags are \['entity', 'wording'\]"):
        split(EXAMPLES, "site")
    for share in (0, 1, -1, 0.01):
        with pytest.raises(LabError, match=f"a share of {share} of 10 groups leaves 30 to train, 0 to test on"):
            split(EXAMPLES, "entity", share)
    with pytest.raises(LabError, match="no user message"):
        split([Example([], {"entity": "a"}), Example([], {"entity": "b"})], "entity", 0.5)


def test_without_a_tag_examples_are_dealt_one_by_one():
    parts = split(EXAMPLES, None, share=0.2)
    assert len(parts.test) == 6 and len(parts.train) == 24


def test_a_planted_near_copy_is_found_and_questions_on_other_things_are_not():
    train, test = [*(e.question for e in EXAMPLES), PLANT], ["How heavy is the Falcon Anchor?"]
    found = leaks(train, test, near=0.6)
    assert [(leak.train, leak.test, leak.match) for leak in found] == [(len(EXAMPLES), 0, "near")]
    assert found[0].similarity == overlap(PLANT, test[0])
    assert leaks(train, test) == []
    with pytest.raises(LabError, match=re.escape(f"'{PLANT}' (number 30, near)")):
        refuse_leaks(train, test, near=0.6)
    assert refuse_leaks(train, test, near=0.6, allow=True) == found


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
    with pytest.raises(LabError, match="2 training questions.*How heavy"):
        refuse_leaks(train, test)
    refuse_leaks(train[1:2], test)
