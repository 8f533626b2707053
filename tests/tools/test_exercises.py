"""The learner's notebooks are what their sources give, run untouched, and hold no solution."""

import json

import nbformat
import pytest
from checks import SOURCES, fault, lesson, sources

from labkit import LabError
from tools.exercises import build, stub, target


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)
def test_a_kept_notebook_is_what_its_source_gives(source):
    assert target(source).read_text("utf-8") == nbformat.writes(build(source)) + "\n", "run make exercises"


def test_no_notebook_of_exercises_lacks_its_source():
    assert {path.stem for path in SOURCES.parent.glob("*.ipynb")} == {path.stem for path in sources()}


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)
def test_an_untouched_notebook_runs_through_and_counts_no_try(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    known = lesson(source.stem[:2])
    cells = json.loads(target(source).read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names: dict = {}
    exec("\n".join(code), names)
    said = capsys.readouterr().out
    assert said.count(": fill it in") == len(known.exercises) and not (tmp_path / "progress.json").exists()
    assert said.count("between the quotation marks") == len(known.questions)
    for name, asked in known.exercises.items():
        assert "expected: " in (fault(asked, names[name]) or "") and asked.hint not in "".join(code)


def test_a_solution_without_specification_is_refused():
    with pytest.raises(LabError, match="docstring"):
        stub("def f(x):\n    return x")
