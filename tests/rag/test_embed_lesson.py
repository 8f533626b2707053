"""Lesson 03 runs at smoke size: the cache counts, and the wrong embedder is refused."""

import json

import pytest

from labkit import execute


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_counts_what_is_embedded_and_refuses_a_foreign_index(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    source = next(path for path in execute.sources() if path.stem == "03_embed")
    made = execute.execute(source, tmp_path / "03_embed.ipynb", {"SIZE": "smoke"}, progress=False)
    cells = json.loads(made.read_text("utf-8"))["cells"]
    said = "".join("".join(o["text"]) for cell in cells for o in cell.get("outputs", []) if o.get("name") == "stdout")
    counts = {line.split(":")[0]: line.split()[-2] for line in said.splitlines() if line.endswith(" computed")}
    assert int(counts["first time"]) > 10 and counts["unchanged"] == "0" and counts["one document edited"] == "1"
    assert said.count("recall lower by") == 2 and "times as fast on this machine" in said
    assert "refused: the index in" in said and "another embedder" in said
