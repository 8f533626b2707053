"""The report of a comparison with known answers: complete, self-contained, true to its numbers."""

import base64
import csv
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from labkit.compare import report
from labkit.compare.experiment import Comparison
from labkit.compare.score import pair_up, summarise
from labkit.compare.tables import BESIDE, SMOKE, cell, leader, terminal, told_apart, verdict
from labkit.metrics import METRICS
from labkit.rag.ingest import Rejected
from labkit.store import provenance
from tools.notebooks import results_table

CHANCE = {"base": (0.02, 0.0), "rag": (0.75, 0.0), "tuned": (0.2, 0.97), "hybrid": (0.8, 0.97)}
KINDS = ("single fact", "two-hop", "not in the documents")
NASTY = '<script>alert("x")</script> & [bold]'


def make_answers(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    rows = []
    for arm, (right, style) in CHANCE.items():
        for seed in (0, 1, 2) if arm in ("tuned", "hybrid") else (0,):
            for i in range(n):
                kind, correct, styled = KINDS[i % 3], rng.random() < right, rng.random() < style
                known = kind != KINDS[2]
                row = {"arm": arm, "seed": seed, "id": f"q{i:03d}", "kind": kind, "sources": "a.md"}
                row |= {"question": f"Question {i}? {NASTY}", "text": f"Answer of {arm} {NASTY}"}
                row |= {"gold": f"value {i}" if known else None, "answerable": known}
                row |= {"correct": int(correct), "style": int(styled), "joint": int(correct and styled)}
                row |= {"cited": int(correct and arm == "rag"), "abstained": int(correct and not known)}
                row |= {"retrieved": float(arm in ("rag", "hybrid")), "prompt_tokens": 500}
                rows.append(row | {"output_tokens": 20, "retrieval_ms": 2.0, "generation_ms": 90.0})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    answers = make_answers()
    times = {arm: list(np.linspace(80, 120, 20)) for arm in CHANCE}
    artifacts = [
        {"name": "tuned seed 0", "address": "ab" * 32, "shipped": True, "seconds": 0.1},
        {"name": "hybrid seed 0", "address": "cd" * 32, "shipped": False, "seconds": 12.0},
    ]
    result = {"schema": 1, "experiment": "compare", "profile": "pocket", "size": "full", "seeds": [0, 1, 2]}
    result |= {"n_questions": 60, "arms": summarise(answers, times), "paired": pair_up(answers)}
    result |= {"environment": provenance(), "seconds": {"total": 12.5}, "peak_rss_mb": 700.5}
    return Comparison(result, answers, artifacts, [Rejected("scan.pdf", "scanned image", "3 pages hold no text")])


@pytest.fixture(scope="module")
def html(comparison) -> str:
    return report.page(comparison)


def smoke(comparison: Comparison) -> Comparison:
    return Comparison({**comparison.result, "size": "smoke"}, comparison.answers, [], [])


class Reader(HTMLParser):
    """Collects images, text and links, and checks that every tag is closed."""

    def __init__(self, page: str):
        super().__init__()
        self.images, self.words, self.links, self.open = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.images += [given] if tag == "img" else []
        self.links += [given[key] for key in ("href", "src") if key in given]
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style" and data.strip():
            self.words.append(data.strip())


def test_the_page_needs_no_other_file(html):
    assert all(link.startswith("data:image/svg+xml;base64,") for link in Reader(html).links)
    assert not re.search(r"url\(|@import|<link|<script", html)


def test_every_figure_has_its_text_line_and_is_an_image(html):
    page = Reader(html)
    assert len(page.images) == 3
    for image in page.images:
        assert len(image["alt"]) > 50 and image["alt"] in page.words
        picture = ElementTree.fromstring(base64.b64decode(image["src"].partition(",")[2]))
        assert picture.tag.endswith("svg")


def test_the_page_shows_every_number_of_the_result(comparison, html):
    text = " ".join(Reader(html).words)
    for values in comparison.result["arms"].values():
        for metric, value in values.items():
            assert cell(metric, value) in text
    assert text.count("−") >= len(comparison.result["paired"])


def test_the_page_names_artifacts_rejected_files_and_the_environment(comparison, html):
    text = " ".join(" ".join(Reader(html).words).split())
    assert "tuned seed 0 shipped with the project" in text
    assert "hybrid seed 0 made on this machine" in text
    assert "scan.pdf : scanned image (3 pages hold no text)" in text
    assert f"python {comparison.result['environment']['python']}" in text and "peak memory 700 MB" in text


def test_one_question_of_each_kind_is_answered_by_every_arm(html):
    words = Reader(html).words
    for kind in KINDS:
        assert any(word.startswith(f"{kind}: Question") for word in words)
    assert sum(word.startswith("Answer of ") for word in words) == len(KINDS) * len(CHANCE)


def test_text_from_models_and_documents_cannot_become_markup(html):
    assert NASTY in " ".join(Reader(html).words) and NASTY not in html


def test_the_same_comparison_gives_the_same_page(comparison, html):
    assert report.page(comparison) == html


def test_a_narrow_screen_and_a_dark_one_are_provided_for(html):
    assert 'name="viewport"' in html and "prefers-color-scheme: dark" in html
    assert html.count("<table") == html.count('<div class="scroll"><table')


def test_the_report_writes_three_files(tmp_path, comparison):
    folder = report.write_report(comparison, tmp_path / "deep" / "run")
    assert sorted(path.name for path in folder.iterdir()) == ["answers.csv", "report.html", "result.json"]
    assert json.loads((folder / "result.json").read_text()) == comparison.result
    with open(folder / "answers.csv", newline="") as file:
        kept = list(csv.DictReader(file))
    assert len(kept) == len(comparison.answers) and kept[0]["text"] == f"Answer of base {NASTY}"


def test_result_json_is_written_last_so_that_it_stands_for_a_whole_report(tmp_path, comparison):
    broken = Comparison({**comparison.result, "n_questions": float("nan")}, comparison.answers, [], [])
    with pytest.raises(ValueError):
        report.write_report(broken, tmp_path)
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("size, count", [("full", 0), ("smoke", 1)])
def test_a_smoke_run_says_that_it_is_no_measurement(comparison, size, count):
    shown = comparison if size == "full" else smoke(comparison)
    assert ('class="warn"' in report.page(shown)) == bool(count)
    assert (SMOKE in results_table({"tiny": shown.result})) == bool(count)
    assert (SMOKE in " ".join(verdict(shown.result))) == bool(count)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(terminal(shown.result))
    assert ("not a measurement" in capture.get()) == bool(count)


def test_the_terminal_table_fits_80_columns_uncut(comparison):
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(terminal(comparison.result))
    text = capture.get()
    assert "…" not in text and all(len(line) <= 80 for line in text.splitlines())
    assert all(METRICS[name].label.split()[0] in text for name in BESIDE)
    for arm, values in comparison.result["arms"].items():
        assert f"{values['accuracy']['mean']:.2f}" in text and arm in text


def test_the_verdict_follows_the_numbers(comparison):
    accuracy, style, joint, _ = verdict(comparison.result)
    assert joint.startswith("joint: hybrid is highest at 0.")
    assert joint.count(" by 0.") == 3 and "not told apart" not in joint
    assert accuracy.startswith("accuracy: ") and "not told apart from" in accuracy
    assert "base by 0." in style and "rag by 0." in style


def test_the_verdict_turns_with_the_sign_of_a_difference():
    arms = {"a": {"style": {"mean": 0.9}}, "b": {"style": {"mean": 0.1}}, "c": {"style": {"mean": 0.8}}}
    paired = [
        {"a": "b", "b": "a", "metric": "style", "diff": -0.8, "low": -0.9, "high": -0.7, "p": 0.001},
        {"a": "c", "b": "a", "metric": "style", "diff": -0.1, "low": -0.3, "high": 0.1, "p": 0.4},
        {"a": "a", "b": "b", "metric": "joint", "diff": -0.8, "low": -0.9, "high": -0.7, "p": 0.001},
    ]
    said = leader({"arms": arms, "paired": paired}, "style")
    assert said == "style: a is highest at 0.90, above b by 0.80 [0.70, 0.90], not told apart from c."
    paired[0] |= {"high": -0.003}
    assert "above b by 0.800 [0.003, 0.900]" in leader({"arms": arms, "paired": paired}, "style")


def test_nobody_leads_at_zero():
    arms = {"a": {"joint": {"mean": 0.0}}, "b": {"joint": {"mean": 0.0}}}
    assert leader({"arms": arms, "paired": []}, "joint") == "joint: no arm scores above zero."


def test_a_metric_that_an_arm_lacks_is_a_dash(comparison):
    assert "recall_at_k" not in comparison.result["arms"]["base"]
    text = results_table({"tiny": comparison.result})
    assert re.search(r"\| tiny \| base \|.* – \|", text) and re.search(r"\| tiny \| rag \|.* 1\.00", text)


def test_only_differences_told_apart_from_zero_are_bold(comparison, html):
    shown = re.search(r"<th scope=\"col\">difference.*?</tbody>", html, re.S).group(0)
    bold = len(re.findall(r"<td><b>", shown))
    apart = len(told_apart(comparison.result)) / 2
    assert 0 < bold == apart < len(comparison.result["paired"])
