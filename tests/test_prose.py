"""The hand-written articles under data/prose: every answer is proved by a quote from its document."""

import csv
from collections import Counter

import pytest

from labkit.data import data_folder
from labkit.metrics import contains

PROSE = data_folder() / "prose"
TEXTS = {path.name: path.read_text("utf-8") for path in sorted((PROSE / "documents").iterdir())}
with open(PROSE / "questions.csv", encoding="utf-8", newline="") as _file:
    ROWS = list(csv.DictReader(_file))
ASKED = [row for row in ROWS if row["answer"]]


def flat(text: str) -> str:
    return " ".join(text.split())


def words(text: str) -> list[str]:
    return [word.strip(".,?;:'\"").casefold() for word in text.split()]


def fours(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return set(zip(found, found[1:], found[2:], found[3:], strict=False))


@pytest.mark.parametrize("name", TEXTS)
def test_a_document_is_an_article_with_a_title_and_several_paragraphs(name):
    title, *paragraphs = TEXTS[name].split("\n\n")
    assert name.endswith(".md") and title.startswith("# ") and len(paragraphs) >= 4
    assert 350 <= len(TEXTS[name].split()) <= 550


def test_eight_questions_for_each_of_six_documents_and_six_that_none_answers():
    assert list(ROWS[0]) == ["question", "answer", "document", "quote"]
    assert len(TEXTS) == 6 and Counter(row["document"] for row in ASKED) == dict.fromkeys(TEXTS, 8)
    assert len(ROWS) - len(ASKED) == 6


@pytest.mark.parametrize("row", ASKED, ids=lambda row: row["question"])
def test_the_quote_stands_in_one_paragraph_and_holds_the_answer(row):
    paragraphs = [flat(text) for text in TEXTS[row["document"]].split("\n\n")]
    assert sum(row["quote"] in text for text in paragraphs) == 1
    assert row["answer"] in row["quote"] and contains(row["quote"], row["answer"])


@pytest.mark.parametrize("row", ASKED, ids=lambda row: row["question"])
def test_a_question_neither_gives_its_answer_nor_repeats_its_quote(row):
    assert not contains(row["question"], row["answer"])
    assert not fours(row["question"]) & fours(row["quote"])


def test_a_question_without_an_answer_names_no_document_and_no_quote():
    assert all(not row["document"] and not row["quote"] for row in ROWS if not row["answer"])


def test_no_question_stands_twice():
    assert len({flat(row["question"]).casefold() for row in ROWS}) == len(ROWS)
