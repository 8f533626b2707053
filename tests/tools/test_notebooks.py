"""Notebooks are kept without a trace of the run, README's tables only from full results, and README names what exists."""

import json
import re

import nbformat
import pytest

from labkit import LabError
from labkit.compare import tables
from labkit.store import ROOT
from tools import execute, notebooks
from tools.notebooks import renew_text, target

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


def test_a_page_gets_text_between_its_markers_and_twice_is_once(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    text = notebooks.results_table({"pocket, company": result()})
    notebooks.put(readme, "results", text)
    once = readme.read_text()
    notebooks.put(readme, "results", text)
    assert readme.read_text() == once and "old" not in once
    assert once.startswith("before\n") and once.endswith("\nafter\n")
    assert "| pocket, company | rag | 0.50 [0.40, 0.60] |" in once and "260 questions, training seeds 0, 1" in once
    readme.write_text("no markers")
    with pytest.raises(LabError, match="lacks <!-- results -->"):
        notebooks.put(readme, "results", text)
    assert readme.read_text() == "no markers"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose README has markers, with runs of its own."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    (tmp_path / "README.md").write_text("<!-- results -->\n<!-- /results -->\n<!-- claims -->\n<!-- /claims -->\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "models.md").write_text("<!-- models -->\n<!-- /models -->\n")
    return tmp_path


def newest(project, name, found):
    folder = project / "runs" / name / "latest"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(found))


def test_results_are_published_by_profile_and_documents(project):
    newest(project, "compare", result(profile="smol"))
    newest(project, "prose", result(profile="smol", n_questions=160))
    (project / "docs" / "result.json").write_text(json.dumps(result()))
    notebooks.publish_results()
    assert sorted(path.name for path in (project / "docs").glob("*.json")) == [
        "result-prose.json", "result-smol.json", "result.json",
    ]  # fmt: skip
    text = (project / "README.md").read_text()
    assert all(f"| {name} | hybrid | 0.50" in text for name in ("smol, company", "smol, articles", "pocket, company"))


def test_a_smoke_result_is_not_published(project):
    newest(project, "compare", result(profile="smol", size="smoke"))
    before = (project / "README.md").read_text()
    with pytest.raises(LabError, match="is of smoke size"):
        notebooks.publish_results()
    with pytest.raises(LabError, match="no result at"):
        notebooks.update_claims(project / "none.json")
    assert (project / "README.md").read_text() == before and not list((project / "docs").glob("*.json"))


def test_lessons_are_chosen_by_number():
    assert [path.stem for path in notebooks.chosen(["12", "0", "0b"])] == ["12_compare", "00_start", "0b_lora"]
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
    planned = set(re.findall(r"^\|[^|]*\| (\d\w_\w+) \| planned \|", README, re.M))
    there = dict(re.findall(r"^\|[^|]*\| \[(\d\w_\w+)\]\((\S+)\) \| \|", README, re.M))
    assert there == {path.stem: path.relative_to(ROOT).as_posix() for path in execute.sources()}
    assert sorted(name[:2] for name in planned | set(there)) == sorted([*(f"{n:02d}" for n in range(22)), "0a", "0b"])


def test_readme_links_and_names_only_what_exists():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links and all((ROOT / link).exists() for link in links)
    layout, folder = README.partition("## Layout")[2].partition("[CONTRIBUTING")[0], ROOT
    for line in filter(str.strip, layout.splitlines()):
        folder = ROOT / "labkit" if line.startswith("      ") else ROOT
        names = re.findall(r"[\w./]+", re.match(r" +((?:\S+ ?)+)", line)[1])
        assert all((folder / name).exists() for name in names if name != "runs/"), line


def test_prose_is_renewed_without_a_run_and_changed_code_is_not(tmp_path):
    source = tmp_path / "source" / "1_part" / "01_topic.py"
    source.parent.mkdir(parents=True)
    source.write_text("# %% [markdown]\n# Old words.\n\n# %%\n1 + 1\n")
    kept = execute.build(source)
    kept.cells[1].outputs = [nbformat.v4.new_output("stream", text="2\n")]
    target(source).parent.mkdir()
    execute.save(kept, target(source))
    source.write_text("# %% [markdown]\n# New words.\n\n# %%\n1 + 1\n")
    cells = nbformat.read(renew_text(source), as_version=4).cells
    assert cells[0].source == "New words." and cells[1].outputs[0].text == "2\n"
    source.write_text("# %% [markdown]\n# New words.\n\n# %%\n1 + 2\n")
    with pytest.raises(LabError, match=r"code of 01_topic changed \(1 \+ 2\): run it"):
        renew_text(source)
