"""Lesson 02 runs at smoke size and says of the article's advice what its sweep shows."""

import json

import pytest

from labkit import execute


def printed(notebook, stream: str = "stdout") -> str:
    """What the cells printed."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join("".join(output["text"]) for output in outputs if output.get("name") == stream)


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_warns_of_truncation_and_judges_the_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    source = next(path for path in execute.sources() if path.stem == "02_chunk")
    made = execute.execute(source, tmp_path / "02_chunk.ipynb", {"SIZE": "smoke"}, progress=False)
    said = printed(made)
    assert "chunks are exact spans of their documents" in said and "start indexes are wrong or missing" in said
    assert "chunks of up to 500 tokens exceed" in printed(made, "stderr")
    verdicts = [line for line in said.splitlines() if line.startswith("• ")]
    assert len(verdicts) == 6
    assert all(any(word in line for word in ("better", "worse", "not told apart")) for line in verdicts)
