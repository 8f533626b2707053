"""Lesson 04 runs at smoke size and shows what it says: a store refused, a pickle that runs, hits that agree."""

import json

import pytest

from labkit.profile import runs_folder


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_measures_every_kind_and_trusts_no_file(lesson):
    said = lesson("04_index")
    assert "of the ten nearest by hand, FAISS found 100.0%" in said
    assert "the new value is in the store: True" in said
    assert "index.faiss is missing or was altered" in said
    assert "printed by a data file while it was loaded" in said
    assert "error: langchain_pinecone is not installed" in said or "pinecone needs a key" in said
    assert len([line for line in said.splitlines() if line.startswith("• ")]) == 8
    trials = [json.loads(path.read_text()) for path in (runs_folder() / "artifacts").glob("*/value.json")]
    assert len(trials) == 12 and all(0 <= row["recall"] <= 1 for rows in trials for row in rows)
