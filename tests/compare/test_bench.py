"""The benchmarks of answering and of starting measure both sides on the same work."""

import pytest

from labkit.bench import rag, start


@pytest.mark.slow
def test_both_sides_answer_the_same_questions_and_are_scored_alike():
    chain, right, alone = rag.measure(quick=True)
    assert chain.ours == alone.ours > 0 and chain.theirs > 0 and alone.theirs > 0
    assert 0 <= right.ours <= 1 and abs(right.ours - right.theirs) <= 0.5


def test_importing_labkit_takes_a_fraction_of_what_it_builds_on():
    (found,) = start.measure(quick=True)
    assert found.ratio > 3
