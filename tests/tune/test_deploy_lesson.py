"""Lesson 10 runs headlessly at smoke size, and shows what it promises."""

import json

import pytest

from labkit import execute


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_refuses_merges_exports_serves_and_stops(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    source = execute.SOURCES / "2_tune" / "10_deploy.py"
    made = json.loads(execute.execute(source, tmp_path / "10.ipynb", {"SIZE": "smoke"}, progress=False).read_text())
    outputs = json.dumps([cell["outputs"] for cell in made["cells"] if cell["cell_type"] == "code"], ensure_ascii=False)
    for said in ("checks failed: broken weights 1 (at most 0)", "3 of 3 answers are the same, word for word",
                 "Linear4bit", "times as much as merging in full precision", "## What it passed",
                 "model.safetensors in copy is damaged or missing", "model 'norvale' listens on 127.0.0.1",
                 "3 of 3 answers are the same", "first piece after", "Address already in use",
                 "unknown profile 'no-such-model'", "stopped; the port is free"):  # fmt: skip
        assert said in outputs
    assert str(tmp_path) not in outputs and "labkit-serve" not in outputs
