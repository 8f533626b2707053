"""Lesson 08 runs headlessly at smoke size, and shows what it promises."""

import json

import pytest

from labkit import execute


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_shows_errors_curves_a_kill_and_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    source = execute.SOURCES / "2_tune" / "08_train.py"
    made = json.loads(execute.execute(source, tmp_path / "08.ipynb", {"SIZE": "smoke"}, progress=False).read_text())
    outputs = json.dumps([cell["outputs"] for cell in made["cells"] if cell["cell_type"] == "code"], ensure_ascii=False)
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
    assert outputs.count("image/png") == 3 and str(tmp_path) not in outputs
