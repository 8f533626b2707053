"""Lesson 07 runs headlessly at smoke size, and shows what it promises."""

import json

import pytest

from labkit import execute


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_shows_mask_cuts_leaks_and_bad_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    source = execute.SOURCES / "2_tune" / "07_prepare.py"
    made = json.loads(execute.execute(source, tmp_path / "07.ipynb", {"SIZE": "smoke"}, progress=False).read_text())
    outputs = json.dumps([cell["outputs"] for cell in made["cells"] if cell["cell_type"] == "code"], ensure_ascii=False)
    for said in ("tokens are learned", "NOT learned", "rows are too long", "same answer", "the whole exam",
                 "refused: ", "allowed: ", "line 6: message 3 has no role", "line 3: not CSV"):  # fmt: skip
        assert said in outputs
    assert "<b style" in outputs and str(tmp_path) not in outputs
