"""The articles under data/prose: every answer is proved by a quote, no question gives its answer away, parts never meet."""

import json
from collections import Counter

import pytest

from data.make import prose
from labkit.data import data_folder
from labkit.metrics import contains
from labkit.practice.questions import check, read_rows
from labkit.rag.ingest import ingest

SOURCES = {path.stem: path.read_text("utf-8") for path in sorted(prose.SOURCE.glob("*.md"))}
FACTS = {name: json.loads((prose.SOURCE / f"{name}.json").read_text("utf-8")) for name in SOURCES}
ROWS = read_rows(data_folder() / "prose" / "questions.csv")
TESTS = [row for row in ROWS if row["split"] != "train"]


def flat(text: str) -> str:
    """One line, and a table's rows without their outer bars."""
    return " ".join(text.replace("\n|", "\n").split())


@pytest.mark.parametrize("name", SOURCES)
def test_an_article_has_a_title_paragraphs_and_a_length(name):
    title, *paragraphs = SOURCES[name].split("\n\n")
    assert title.startswith("# ") and len(paragraphs) >= 4 and 320 <= len(SOURCES[name].split()) <= 800


@pytest.mark.parametrize("name", SOURCES)
def test_every_fact_is_quoted_and_asked_for_in_five_other_wordings(name):
    text = flat(SOURCES[name])
    for fact in FACTS[name]["facts"]:
        forms, asked = fact["answer"].split("|"), [fact["question"], *fact["train"]]
        assert flat(fact["quote"]) in text and contains(fact["quote"], forms[0]), fact["question"]
        assert len({question.casefold() for question in asked}) == 6 and all(q.endswith("?") for q in asked)
        assert not any(contains(fact["question"], form) for form in forms), fact["question"]


def test_there_are_enough_of_each_kind_and_most_are_for_the_test():
    kinds, splits = Counter(row["kind"] for row in TESTS), Counter(row["split"] for row in ROWS)
    assert set(kinds) == {"single fact", "new wording", "two documents", "comparison", "not in the documents"}
    assert (
        min(kinds.values()) >= 30 and splits["dev"] >= 60 and splits["test"] + splits["dev"] >= 240 and splits["held"]
    )


def test_no_question_stands_twice_and_none_is_both_taught_and_asked():
    assert len({flat(row["question"]).casefold() for row in ROWS}) == len(ROWS)


def test_the_files_are_those_that_are_made_from_the_sources(tmp_path, monkeypatch):
    folder = data_folder() / "prose"
    monkeypatch.setattr(prose, "TARGET", tmp_path)
    prose.main()
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    kept = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.name != "README.md"}
    assert made == kept and {path.suffix for path in made} == {".md", ".html", ".pdf", ".docx", ".csv"}


def test_every_answer_is_found_in_the_files_as_they_are_read():
    found = ingest(data_folder() / "prose" / "documents", progress=False)
    items, notes = check(ROWS, found.documents)
    assert not found.rejected and not notes and len(items) == len(ROWS)
    two = [item for item in items if item.kind == "two documents"]
    assert all(len(item.evidence) == 2 and not item.evidence[0].value for item in two)
