"""Every lesson runs headlessly at smoke size, and the comparison leaves what it promises."""

import json
import os
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from labkit import hub
from labkit.profile import EVERY_ARM
from labkit.store import ROOT
from tools import execute
from tools.notebooks import target

LESSONS = {path.stem[:2]: path for path in execute.sources()}
ARMS = list(EVERY_ARM)
TIMED = {"base", "rag", "long-context", "tuned", "hybrid"}
METRICS = {"accuracy", "style", "joint", "abstention", "recall_at_k", "citation", "latency_ms_p50", "latency_ms_p95",
           "prompt_tokens", "output_tokens"}  # fmt: skip


@pytest.fixture(scope="module")
def runs():
    """The folder of runs that all lessons share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", os.environ["LESSONS_RUNS"])
        yield Path(os.environ["LESSONS_RUNS"])


@pytest.fixture(scope="module")
def compared(runs):
    """The folder of a whole comparison at smoke size."""
    return execute.run_into(LESSONS["12"], runs / "compare", {"SIZE": "smoke"})


@pytest.mark.notebook
@pytest.mark.slow
def test_the_comparison_writes_its_result_in_the_promised_shape(compared):
    result = json.loads((compared / "result.json").read_text())
    assert (result["schema"], result["experiment"], result["profile"], result["size"]) == (
        1,
        "compare",
        "pocket",
        "smoke",
    )
    assert list(result["arms"]) == ARMS
    for name, metrics in result["arms"].items():
        lacks = {"recall_at_k", "citation"} if name in ("base", "tuned") else set()
        lacks |= set() if name in TIMED else {"latency_ms_p50", "latency_ms_p95"}
        assert metrics.keys() == METRICS - lacks
        for value in metrics.values():
            assert value["low"] <= value["mean"] <= value["high"]
    assert {"a", "b", "metric", "diff", "low", "high", "p"} <= result["paired"][0].keys()
    assert result["environment"]["python"] and result["seconds"]["total"] > 0 and result["peak_rss_mb"] > 0
    assert {a["name"] for a in result["artifacts"]} == {"tuned, seed 0", "hybrid, seed 0"}


@pytest.mark.notebook
@pytest.mark.slow
def test_the_comparison_leaves_report_notebook_and_answers(compared):
    page = (compared / "report.html").read_text()
    assert "not a measurement" in page and "http" not in page.split("<body")[1].replace("http://www.w3.org", "")
    answers = pd.read_csv(compared / "answers.csv")
    assert list(answers.arm.unique()) == ARMS
    assert answers.groupby("arm").id.nunique().eq(24).all()
    assert answers.kind.nunique() == 7
    assert (compared / "12_compare.ipynb").is_file()


@pytest.mark.notebook
@pytest.mark.slow
def test_base_finds_nothing_and_the_retrieving_arms_find_passages(compared):
    arms = json.loads((compared / "result.json").read_text())["arms"]
    assert arms["rag"]["recall_at_k"]["mean"] > 0.5
    assert arms["rag"]["accuracy"]["mean"] > arms["base"]["accuracy"]["mean"]
    assert arms["rag"]["prompt_tokens"]["mean"] > 3 * arms["base"]["prompt_tokens"]["mean"]


@pytest.mark.notebook
@pytest.mark.slow
def test_the_start_lesson_runs_after_it(compared, runs):
    made = execute.execute(LESSONS["00"], runs / "00_start.ipynb", {"SIZE": "smoke"})
    assert "style faults" in made.read_text()


OPENED = {"0a_rag": "the same 3 passages", "0b_lora": "largest difference of a logit"}
"""What the two lessons print that build RAG and LoRA by hand, behind the assertion that the library gives the same."""


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.skipif(hub.kept_wheel() is None, reason="the model is not here: make .venv fetches it")
@pytest.mark.parametrize("stem", OPENED)
def test_what_is_built_by_hand_is_what_the_library_gives(lesson, stem):
    assert OPENED[stem] in lesson(stem)


def test_the_opening_lessons_stand_between_the_first_two():
    assert list(LESSONS)[:4] == ["00", "0a", "0b", "01"]


SAYS = {
    "11": "Practice with passages repairs it",
    "13": "accuracy lost without the document: rag",
    "14": "twice the vectors",
    "15": "connections that left the machine while RAG answered: 0",
    "17": "advised the winner in",
    "18": "directions show in every part",
    "19": "all on the claimed side: {'supported'}",
    "20": "after: accuracy",
    "21": "Recommendation: ",
}
"""A phrase that each lesson of parts 3 and 4 prints once its experiments are done."""


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.parametrize("number", SAYS)
def test_a_lesson_of_part_three_runs_on_what_the_comparison_made(compared, runs, number):
    made = execute.execute(LESSONS[number], runs / f"{LESSONS[number].stem}.ipynb", {"SIZE": "smoke"})
    cells = json.loads(made.read_text())["cells"]
    said = "".join("".join(o.get("text", "")) for c in cells for o in c.get("outputs", []))
    assert SAYS[number] in said


def test_every_kept_notebook_has_outputs_and_a_source():
    apart = {".ipynb_checkpoints", "exercises"}
    kept = [path for path in (ROOT / "notebooks").rglob("*.ipynb") if not apart & set(path.parts)]
    assert {path.stem for path in kept} == {path.stem for path in LESSONS.values()}
    for path in kept:
        cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        assert any(c["outputs"] for c in cells)
        assert not any(o["output_type"] == "error" for c in cells for o in c["outputs"])


def test_every_kept_notebook_is_its_source_executed():
    for source in LESSONS.values():
        kept = nbformat.read(target(source), as_version=4)
        cells = [[(c.cell_type, c.id, c.source) for c in notebook.cells] for notebook in (execute.build(source), kept)]
        assert cells[0] == cells[1], f"{source.stem} changed: make notebooks"
