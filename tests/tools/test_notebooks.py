"""Notebooks are kept without a trace of the run, README's tables only from full results, and README names what exists."""

import json
import re

import nbformat
import pytest

from labkit import LabError, execute
from labkit.profile import ROOT
from tools import notebooks

TINY = """# %% [markdown]
# # 30 · Tiny

# %% tags=["parameters"]
PROFILE, SIZE, OUT = "pocket", "full", "runs/tiny"

# %%
print("size", SIZE)
"""


def test_publishing_keeps_no_cell_that_says_where_the_run_wrote(tmp_path, monkeypatch):
    source = tmp_path / "course" / "source" / "9_test" / "30_tiny.py"
    source.parent.mkdir(parents=True)
    source.write_text(TINY)
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    kept = notebooks.publish(source)
    assert kept == source.parent.parent.parent / "9_test" / "30_tiny.ipynb"
    assert (tmp_path / "runs" / "tiny" / "latest" / "30_tiny.ipynb").is_file()
    notebook = nbformat.read(kept, as_version=4)
    assert [cell.id for cell in notebook.cells] == [cell.id for cell in execute.build(source).cells]
    assert str(tmp_path / "runs") not in kept.read_text()


def result(**changes) -> dict:
    value = {"mean": 0.5, "low": 0.4, "high": 0.6}
    arms = {arm: {"accuracy": value} for arm in ("base", "rag", "tuned", "hybrid")}
    told = {"profile": "pocket", "size": "full", "n_questions": 260, "seeds": [0, 1], "environment": {}}
    return {**told, "arms": arms, "paired": [], **changes}


def test_readme_gets_the_table_between_its_markers_and_twice_is_once(tmp_path):
    readme, kept = tmp_path / "README.md", tmp_path / "result.json"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    kept.write_text(json.dumps(result()))
    notebooks.update_readme(readme, "results", kept)
    once = readme.read_text()
    notebooks.update_readme(readme, "results", kept)
    assert readme.read_text() == once and "old" not in once
    assert once.startswith("before\n") and once.endswith("\nafter\n")
    assert "| accuracy | 0.50 [0.40, 0.60] |" in once and "260 questions, training seeds 0, 1" in once


@pytest.mark.parametrize(
    "text, kept, said",
    [
        ("no markers", result(), "lacks <!-- results -->"),
        ("<!-- results --> <!-- /results -->", result(size="smoke"), "is of smoke size"),
        ("<!-- results --> <!-- /results -->", None, "no result at"),
    ],
)
def test_readme_is_not_touched_without_a_full_result(tmp_path, text, kept, said):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    if kept:
        (tmp_path / "result.json").write_text(json.dumps(kept))
    with pytest.raises(LabError, match=said):
        notebooks.update_readme(readme, "results", tmp_path / "result.json")
    assert readme.read_text() == text


def test_lessons_are_chosen_by_number():
    assert [path.stem for path in notebooks.chosen(["12", "0"])] == ["12_compare", "00_start"]
    assert notebooks.chosen([]) == execute.sources()
    with pytest.raises(LabError, match="no lesson '77': choose 00"):
        notebooks.chosen(["77"])


def test_a_lesson_s_run_time_is_kept_beside_those_of_others(tmp_path):
    path = tmp_path / "times.json"
    notebooks.note_time(path, "12_compare", 61.27)
    notebooks.note_time(path, "00_start", 9)
    notebooks.note_time(path, "12_compare", 58.04)
    found = json.loads(path.read_text())
    assert list(found) == ["00_start", "12_compare"] and found["12_compare"]["seconds"] == 58.0


README = (ROOT / "README.md").read_text("utf-8")


def test_readme_marks_as_planned_exactly_the_lessons_that_are_not_there():
    planned = set(re.findall(r"^\|[^|]*\| (\d\d_\w+) \| planned \|", README, re.M))
    there = dict(re.findall(r"^\|[^|]*\| \[(\d\d_\w+)\]\((\S+)\) \| \|", README, re.M))
    assert there == {path.stem: path.relative_to(ROOT).as_posix() for path in execute.sources()}
    assert sorted(name[:2] for name in planned | set(there)) == [f"{n:02d}" for n in range(22)]


def test_readme_links_and_names_only_what_exists():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links and all((ROOT / link).exists() for link in links)
    layout, folder = README.partition("## Layout")[2].partition("[CONTRIBUTING")[0], ROOT
    for line in filter(str.strip, layout.splitlines()):
        folder = ROOT / "labkit" if line.startswith("      ") else ROOT
        names = re.findall(r"[\w./]+", re.match(r" +((?:\S+ ?)+)", line)[1])
        assert all((folder / name).exists() for name in names if name != "runs/"), line
