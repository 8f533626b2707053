"""The teaching pages: complete, their agendas add up, and every run time comes from a measurement."""

import re

import pytest

from labkit.store import ROOT
from tools.execute import sources

PAGES = ROOT / "docs" / "teaching"
TRACKS = {"ninety-minutes": [90], "half-day": [210], "two-days": [390, 390]}
ROW = re.compile(r"^\| (\d+):(\d\d) \| (\d+) \| (.+?) \| (.*?) ?\|$", re.M)


def agendas(name: str) -> list[list[tuple[int, int, str, str]]]:
    """Start and length in minutes, what is done, and the run time, for each day of a track."""
    tables = re.split(r"^\|---", (PAGES / f"{name}.md").read_text("utf-8"), flags=re.M)[1:]
    rows = [[(60 * int(h) + int(m), int(n), what, time) for h, m, n, what, time in ROW.findall(t)] for t in tables]
    return [day for day in rows if day]


@pytest.mark.parametrize("name", TRACKS)
def test_a_track_says_what_is_learned_left_out_seen_done_wrong_and_asked(name):
    text = (PAGES / f"{name}.md").read_text("utf-8")
    assert "**Afterwards they can**" in text and "**Leave out first:**" in text
    parts = dict(
        re.findall(
            r"^## (What they will see|What goes wrong|Questions people ask)\n(.*?)(?=^## |\Z)", text, re.M | re.S
        )
    )
    assert len(parts) == 3
    assert parts["What they will see"].count("\n- ") >= 4 and parts["What goes wrong"].count("\n- *") >= 4
    assert len(re.findall(r"^\*\*.+\?\*\* \w", parts["Questions people ask"], re.M)) >= 5


@pytest.mark.parametrize("name, lengths", TRACKS.items())
def test_an_agenda_runs_without_overlap_to_its_stated_end(name, lengths):
    days = agendas(name)
    assert [day[-1][0] + day[-1][1] for day in days] == lengths
    for day in days:
        assert day[0][0] == 0
        assert all(0 <= after[0] - before[0] - before[1] <= 20 for before, after in zip(day, day[1:], strict=False))


@pytest.mark.parametrize("name", TRACKS)
def test_run_times_are_filled_in_for_the_lessons_that_a_row_names_and_never_typed(name):
    titles = {source.stem[:2] for source in sources()}
    for _, _, what, time in (row for day in agendas(name) for row in day):
        named = set(re.findall(r"\*\*(\d\w) ", what)) & titles
        filled = re.findall(r"\{\{ s(\d\w) \}\}", time)
        assert re.sub(r"\{\{ s\d\w \}\}|, ", "", time) == ""
        assert set(filled) == named or not filled and "do not run" in what


def test_the_first_page_lists_every_lesson_with_its_run_time_and_the_ways_in():
    text = (PAGES / "index.md").read_text("utf-8")
    for source in sources():
        assert re.search(rf"^\| {source.stem[:2]} .+ \| \{{\{{ s{source.stem[:2]} \}}\}} \|$", text, re.M)
    assert all(word in text for word in ("make workshop", "make bundle", "make slides", "tools.colab"))
