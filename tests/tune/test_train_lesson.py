"""Lesson 08 runs headlessly at smoke size, and shows what it promises."""

import pytest


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_shows_errors_curves_a_kill_and_the_command(lesson):
    outputs = lesson("08_train")
    for said in (
        "unexpected keyword argument 'epochs'",
        "name 'dataset' is not defined",
        "expected sequence of length",
        "on strangers, the loss",
        "exit status -9 and no result",
        "the same weights, bit by bit",
        "there is nothing to train on",
        "the loss is nan at step 1",
        "by wordings of each fact in training",
        "by times that a fact is seen in training",
        "left out: line 4: no response",
        "Usage: labkit tune",
    ):
        assert said in outputs, said
    assert outputs.count("[image/png]") == 3
