"""Slides of the lessons: chosen by the rule, whole in one file, and nothing overflows a projector's screen."""

import re
import shutil
import subprocess
from html import unescape

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.execute import sources
from tools.notebooks import target
from tools.slides import LINES, WORDS, page, slides

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
LONG = "First it is said briefly. " + "Then it goes on and on, for a whole paragraph. " * 10


def result(source: str, **data: str):
    return new_code_cell(source, outputs=[new_output("display_data", data)])


def made(*cells):
    opening = [
        new_markdown_cell("# 99 · Rule\n\nYou will see.\n\n*Before this: nothing.*"),
        result("lab", text="table"),
    ]
    return slides(new_notebook(cells=[*opening, *cells]))


def test_title_and_headings_open_slides_while_setup_and_silent_cells_are_left_out():
    found = made(new_markdown_cell("Going on.\n\n## 1. Find\n\nShort."), new_code_cell("x = 1"))
    assert [slide.title for slide in found] == ["99 · Rule", "99 · Rule", "1. Find"]
    assert "You will see" in found[0].parts[0] and len(found[0].parts) == 1
    assert "x = 1" not in str(found)


def test_a_long_paragraph_gives_its_first_sentences_and_a_long_item_its_first():
    (_, found) = made(new_markdown_cell(f"## 1. Say\n\n{LONG}\n\n- {LONG}\n- brief"))
    prose, items = (re.sub("<[^>]+>", "", part).split() for part in found.parts)
    assert "First it is said briefly." in " ".join(prose) and len(prose) <= WORDS
    assert " ".join(items).startswith("First it is said briefly.") and items[-1] == "brief" and len(items) < WORDS


def test_results_show_their_first_rows_with_the_code_folded_and_figures_stand_for_their_text():
    many = "\n".join(f"row {n} <b>" for n in range(LINES + 5)) + "\n100%|███| 3/3"
    figure = result("draw()", **{"image/png": "AAAA\n"})
    figure.outputs.append(new_output("stream", text="it's rising"))
    _, first, second = made(new_markdown_cell("## 1. See\n\nLook."), result("many()", **{"text/plain": many}), figure)
    assert first.parts[1].count("row") == LINES and "&lt;b&gt;" in first.parts[1] and "%|" not in first.parts[1]
    assert first.parts[1].endswith("…</pre>") and first.parts[2].startswith("<details><summary>")
    assert second.parts[0] == "<img src='data:image/png;base64,AAAA' alt='it&#x27;s rising'>"


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)
def test_every_lesson_gives_one_file_that_loads_nothing_and_holds_all_its_headings(source):
    notebook = nbformat.read(target(source), as_version=4)
    text = page(notebook)
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=(?!'data:)", text)
    assert "<details open" not in text
    shown = unescape(re.sub(r"<[^>]+>", "", text))
    wanted = [line for cell in notebook.cells for line in cell.source.splitlines() if cell.cell_type == "markdown"]
    headings = [re.sub(r"[`*]", "", line.lstrip("# ")) for line in wanted if re.match(r"#{1,2} ", line)]
    assert len(headings) > 3 and not [heading for heading in headings if heading not in shown]


@pytest.mark.slow
@pytest.mark.parametrize("screen", ["1024,768", "1280,720"])
def test_nothing_overflows_a_projector(screen, tmp_path):
    """All lessons one after the other: measured where a browser is, elsewhere by how much stands on a slide."""
    lessons = [nbformat.read(target(source), as_version=4) for source in sources()]
    notebook = new_notebook(cells=[cell for lesson in lessons for cell in lesson.cells])
    text = [
        re.sub(r"(?s)<details>.*|<table.*?</table>|<[^>]+>", "", "".join(slide.parts)) for slide in slides(notebook)
    ]
    assert max(len(words.split()) for words in text) < 400
    if CHROMIUM:
        (tmp_path / "slides.html").write_text(page(notebook), "utf-8")
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
        words = [CHROMIUM, *flags, f"--window-size={screen}", f"--user-data-dir={tmp_path}", tmp_path / "slides.html"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        assert re.search(r'data-overflow="(.*?)"', done.stdout)[1] == ""
        assert float(re.search(r'data-smallest="([\d.]+)"', done.stdout)[1]) >= 0.6
