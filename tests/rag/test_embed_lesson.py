"""Lesson 03 runs at smoke size: the cache counts, and the wrong embedder is refused."""

import pytest


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_counts_what_is_embedded_and_refuses_a_foreign_index(lesson):
    said = lesson("03_embed")
    counts = {line.split(":")[0]: line.split()[-2] for line in said.splitlines() if line.endswith(" computed")}
    assert int(counts["first time"]) > 10 and counts["unchanged"] == "0" and counts["one document edited"] == "1"
    assert said.count("recall lower by") == 2 and "times as fast on this machine" in said
    assert "refused: the index in" in said and "another embedder" in said
