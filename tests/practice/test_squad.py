"""A SQuAD file is documents and questions in one, and is scored as its official scripts score it."""

import json
import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import LabError
from labkit.practice.squad import em_f1, open_squad, prediction, read_squad


def squad(paragraphs: int = 10) -> dict:
    """Two articles with a lamp in each paragraph, and for every third a question that it does not answer."""
    articles = []
    for title in ("Lamps_of_Norway", "Lampen"):
        texts = [f"Lamp {title[0]}{n} burns {n + 20} hours. It hangs in room {n}." for n in range(paragraphs)]
        asked = [
            [
                {"id": f"{title}-{n}", "question": f"How long does lamp {title[0]}{n} burn?", "is_impossible": False,
                 "answers": [{"text": f"{n + 20} hours", "answer_start": 0}, {"text": f"{n + 20}", "answer_start": 0}]},
                *([{"id": f"{title}-{n}-no", "question": f"Who made lamp {title[0]}{n}?", "is_impossible": True,
                    "answers": []}] if n % 3 == 0 else []),
            ]
            for n in range(paragraphs)
        ]  # fmt: skip
        articles.append(
            {"title": title, "paragraphs": [{"context": t, "qas": q} for t, q in zip(texts, asked, strict=True)]}
        )
    return {"version": "v2.0", "data": articles}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(squad()))
    return path


def test_articles_are_documents_and_the_impossible_is_to_be_declined(file):
    documents, items = read_squad(file)
    assert [document.title for document in documents] == ["Lamps of Norway", "Lampen"] and len(items) == 28
    first = items[0]
    assert (first.gold, first.accepted, first.evidence[0].document) == ("20 hours", ("20",), "Lamps of Norway")
    assert [item.gold for item in items if item.id.endswith("-no")] == [None] * 8


def test_half_is_trained_on_and_so_many_are_asked(file):
    lab = open_squad("pocket", file, "full", progress=False, most=8)
    assert len(lab.asked.train) == 14 and len(lab.questions) == 8
    assert not {item.id for item in lab.asked.train} & {item.id for item in lab.questions}
    assert {item.id for item in open_squad("pocket", file, progress=False, most=8).questions} == {
        i.id for i in lab.questions
    }


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda d: d.pop("data"), "is not of SQuAD's form, 'data' is missing"),
        (lambda d: d["data"][0]["paragraphs"][1].pop("context"), "'context' is missing"),
        (lambda d: d["data"][0]["paragraphs"][0]["qas"][0].pop("question"), "'question' is missing"),
        (lambda d: d.update(data=[]), "holds no question"),
        (
            lambda d: d["data"][0]["paragraphs"][0]["qas"][0].update(answers=[{"text": "never"}]),
            "question Lamps_of_Norway-0",
        ),
    ],
)
def test_a_file_of_another_form_is_one_line_that_names_what_is_missing(tmp_path, change, said):
    data = squad(2)
    change(data)
    (tmp_path / "dev.json").write_text(json.dumps(data))
    with pytest.raises(LabError, match=re.escape(said)):
        read_squad(tmp_path / "dev.json")
    with pytest.raises(LabError, match="cannot read none.json"):
        read_squad(tmp_path / "none.json")


def test_a_prediction_is_bare_and_empty_where_it_declines():
    assert prediction("[2] 20 hours") == "20 hours" and prediction("The documents do not say.") == ""


# The rules of the official scripts, written down anew from their description: lower case, no punctuation, no articles, single
# spaces; the best of the gold answers; no answer against no answer is right.
def reference(text: str, golds: list[str]) -> tuple[float, float]:
    def plain(words: str) -> list[str]:
        kept = "".join(c for c in words.lower() if c not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", kept).split()

    def overlap(gold: str) -> float:
        a, b = plain(text), plain(gold)
        if not a or not b:
            return float(a == b)
        same = sum((Counter(a) & Counter(b)).values())
        return 0.0 if not same else 2 * (same / len(a)) * (same / len(b)) / (same / len(a) + same / len(b))

    golds = [gold for gold in golds if plain(gold)] or [""]
    return max(float(plain(text) == plain(gold)) for gold in golds), max(map(overlap, golds))


WORDS = st.lists(
    st.sampled_from(["the", "Normans", "a", "red", "lamp", "20", "hours,", "An", "!", "“x”", "été"]), max_size=6
)


@pytest.mark.reference
@given(WORDS, st.lists(WORDS, max_size=3))
def test_exact_match_and_f1_are_the_official_ones(text, golds):
    said, golds = " ".join(text), [" ".join(gold) for gold in golds]
    assert em_f1(said, golds) == pytest.approx(reference(said, golds), abs=1e-9)
