"""Lesson 02 runs at smoke size and says of the article's advice what its sweep shows."""

import pytest


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_warns_of_truncation_and_judges_the_advice(lesson):
    said = lesson("02_chunk")
    assert "chunks are exact spans of their documents" in said and "start indexes are wrong or missing" in said
    assert "chunks of up to 500 tokens exceed" in said
    verdicts = [line for line in said.splitlines() if line.startswith("• ")]
    assert len(verdicts) == 6
    assert all(any(word in line for word in ("better", "worse", "not told apart")) for line in verdicts)
