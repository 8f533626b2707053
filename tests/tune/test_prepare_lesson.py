"""Lesson 07 runs headlessly at smoke size, and shows what it promises."""

import pytest


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_shows_mask_cuts_leaks_and_bad_rows(lesson):
    outputs = lesson("07_prepare")
    for said in ("tokens are learned", "NOT learned", "rows are too long", "same answer", "the whole exam",
                 "refused: ", "allowed: ", "line 6: message 3 has no role", "line 3: not CSV"):  # fmt: skip
        assert said in outputs
    assert "<b style" in outputs
