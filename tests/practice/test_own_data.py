"""The same comparison on a user's documents and questions, in the user's style or in none, with a recommendation."""

import csv
import json
import re
import string
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from labkit import LabError
from labkit.cli import app
from labkit.compare import report, tables
from labkit.compare.arms import ARMS
from labkit.compare.decide import Needs, diagnose, failures, recommend
from labkit.compare.experiment import ask_arms
from labkit.compare.training import conversations
from labkit.data import CLOSING, OPENING, Evidence, Item, data_folder, documents_folder, load_pairs
from labkit.practice.judge import NEAREST
from labkit.practice.own_data import compare_own, em_f1, open_own, open_squad, prediction, read_squad
from labkit.stats import sign_flip

PROSE = data_folder() / "prose"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, with_vectors):
    """A folder of runs for this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(with_vectors(tmp_path_factory.mktemp("runs"))))
        yield


@pytest.fixture(scope="module")
def plain(runs):
    """A lab on the prose as it stands: without examples of a style."""
    return open_own("pocket", PROSE / "documents", PROSE / "questions.csv", "smoke", progress=False)


@pytest.fixture(scope="module")
def styled(runs, tmp_path_factory):
    """The same questions with replies that show a style."""
    path = tmp_path_factory.mktemp("asked") / "questions.csv"
    with open(PROSE / "questions.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["answer"]]
    for row in rows:
        row["answer"] = row["answer"].partition("|")[0]
        row["reply"] = f"Good question. We read {row['answer']} there. Yours, the library."
    lost = {"question": "Why is it so? " * 2000, "answer": "1869", "document": "", "reply": "None.", "split": "test"}
    pd.DataFrame([*rows, lost]).to_csv(path, index=False)
    lab = open_own("pocket", PROSE / "documents", path, "smoke", progress=False)
    lab.profile = replace(lab.profile, arms=ARMS)
    return lab


def test_a_question_beyond_the_context_is_left_out_and_an_answer_in_other_words_is_judged(styled):
    assert any(re.match(r"left out: row \d+, longer than the model's context", note) for note in styled.asked.notes)
    proof = Evidence("pump.md", "", "The pump: 41 kg.", NEAREST, "", "")
    item = Item("x", "k", "How heavy is the pump?", "The pump has a weight of 41 kg.", "", (), (proof,))
    assert styled.right(item, "It weighs 41 kg.") and not styled.right(item, "It weighs 14 kg.")


@pytest.mark.parametrize(
    "text, noted",
    [("The pump is on the table and it weighs 41 kg.", None), ("Die Pumpe steht auf dem Tisch und wiegt viel.", "German"),
     ("这台泵重41公斤。电池可用八十九小时。", "not in Latin letters"), ("Насос весит 41 кг и стоит на столе.", "not in Latin letters")],
)  # fmt: skip
def test_documents_that_the_embedder_cannot_read_well_are_noted(runs, tmp_path, text, noted):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text(text * 40, "utf-8")
    lab = open_own("pocket", tmp_path / "docs", "none.csv", progress=False)
    notes = [*lab._foreign()]
    assert [note.partition("documents are ")[2].partition(",")[0] for note in notes] == ([noted] if noted else [])
    lab.profile = replace(lab.profile, embedder="multilingual")
    assert not [*lab._foreign()]


def test_without_replies_no_house_style_is_taught(plain):
    for name in ("tuned", "hybrid"):
        told = [row[-1]["content"] for row in conversations(plain, name)]
        assert len(told) == len(plain.pairs if name == "tuned" else plain.hybrid_pairs)
        assert not any(OPENING in text or CLOSING in text for text in told)
    golds = [item.gold or "The documents do not say." for item in plain.pairs]
    assert [row[-1]["content"] for row in conversations(plain, "tuned")] == golds


def test_with_replies_their_style_is_taught(styled):
    style = styled.asked.style
    assert (style.opening, style.closing) == ("Good question.", "Yours, the library.")
    for name in ("tuned", "hybrid"):
        assert not any(style.faults(row[-1]["content"]) for row in conversations(styled, name))
    assert any("[1]" in row[-1]["content"] for row in conversations(styled, "hybrid"))


@pytest.mark.slow
def test_style_is_judged_by_the_replies_and_reported(styled, tmp_path):
    made = compare_own(styled)
    assert {"style", "joint"} <= made.result["arms"]["tuned"].keys()
    assert "abstention" not in made.result["arms"]["rag"]  # every question has an answer
    assert not made.answers[made.answers.arm.isin(["base", "rag"])]["style"].any()
    shown = made.answers.assign(text="Good question. We read 1869 there. Yours, the library.")
    assert styled.judged(shown)["style"].all() and (styled.judged(shown).joint == shown.correct).all()
    left_out = r"Of your questions \d+ were left out, the first row \d+"
    assert any(re.match(left_out, line) for line in made.result["recommendation"])
    assert made.result["recommendation"][0].startswith(("Search", "The model cannot read"))
    page = (report.write_report(made, tmp_path / "report") / "report.html").read_text()
    assert made.result["recommendation"][0].split(".")[0] in page and "the answer keeps every rule" in page
    assert tables.verdict(made.result)[-len(made.result["recommendation"]) :] == made.result["recommendation"]
    assert {a["name"] for a in made.artifacts} == {"tuned, seed 0", "hybrid, seed 0"}


@pytest.mark.slow
def test_on_documents_that_the_model_can_read_reading_is_recommended(runs, tmp_path):
    known = [i for i in load_pairs() if i.kind in ("single fact", "not in the documents")][:80]
    asked = pd.DataFrame({"question": [item.question for item in known], "answer": [item.gold for item in known]})
    asked.to_csv(tmp_path / "company.csv", index=False)
    lab = open_own("pocket", documents_folder(), tmp_path / "company.csv", "smoke", progress=False)
    answers = ask_arms(lab, ["base", "rag"])
    found = answers[answers.answerable].groupby("arm")[["correct", "retrieved"]].mean()
    assert found.loc["rag", "retrieved"] > 0.8 and found.loc["rag", "correct"] > found.loc["base", "correct"] + 0.3
    needs = Needs(changed=0, unknown=1 - answers.answerable.mean())
    assert recommend(answers, needs)[0].startswith("Recommendation: rag")


def answers_of(right: dict[str, list[int]]) -> pd.DataFrame:
    rows = [
        {
            "arm": arm,
            "id": n,
            "correct": c,
            "style": 0,
            "cited": 0,
            "abstained": 0,
            "answerable": True,
            "kind": "plain",
            "retrieved": 0.0,
        }
        for arm, scores in right.items()
        for n, c in enumerate(scores)
    ]
    return pd.DataFrame(rows)


def test_the_simplest_of_the_arms_in_front_is_recommended():
    found = recommend(
        answers_of({"base": [0] * 40, "rag": [1] * 30 + [0] * 10, "tuned": [0] * 40, "hybrid": [1] * 32 + [0] * 8}),
        Needs(changed=0, unknown=0),
    )
    front = "Recommendation: rag, the simplest of the arms that these 40 questions do not tell apart from the best: worth 0.75 ["
    assert found[0].startswith(front) and found[0].endswith("more than the model alone.")
    assert "Highest is hybrid: ahead of base, tuned; not told apart from rag." in found
    (more,) = [line for line in found if line.startswith("To tell hybrid from rag takes about ")]
    assert int(more.split()[7]) > 40


def test_four_wins_are_luck_and_one_asks_for_hundreds_of_questions():
    few = answers_of({"base": [0] * 30, "rag": [1] * 4 + [0] * 26})
    assert recommend(few, Needs(changed=0, unknown=0))[0].startswith("Recommendation: none.")
    one = answers_of({"base": [1] * 8 + [0] * 22, "rag": [1] * 9 + [0] * 21})
    (more,) = [line for line in recommend(one, Needs(changed=0, unknown=0)) if line.startswith("To tell rag from base")]
    asked = int(more.split()[7])  # a power of 0.8, of the exact test
    wins = np.random.default_rng(0).binomial(asked, 1 / 30, size=400)
    assert 0.7 < np.mean([sign_flip(np.ones(max(count, 1))) < 0.05 for count in wins]) < 0.9, asked


def test_an_arm_that_is_clearly_ahead_is_recommended_alone():
    found = recommend(answers_of({"base": [0] * 40, "hybrid": [1] * 40, "rag": [0] * 40}), Needs(changed=0, unknown=0))
    assert found[0].startswith("Recommendation: hybrid,") and len(found) == 3


def test_where_nothing_beats_the_model_alone_nothing_is_recommended():
    found = recommend(answers_of({"base": [1, 0] * 5, "rag": [1, 1] + [1, 0] * 4}), Needs(changed=0, unknown=0))
    assert (
        found[0] == "Recommendation: none. No arm is better than the model alone, as far as these questions can tell."
    )


def test_a_diagnosis_names_what_limits_the_arms_that_read():
    answers = answers_of({"rag": [0] * 8, "hybrid": [1] * 4 + [0] * 4}).assign(retrieved=1.0)
    assert diagnose(answers) == [
        "Search found 100% of the facts needed; where it found them all, hybrid is right in 50%."
    ]
    (blind,) = diagnose(answers.assign(correct=0))
    assert blind.startswith("The model cannot read these documents") and "--profile" in blind and "--generator" in blind
    (lost,) = diagnose(answers.assign(retrieved=[1.0, 0.0, 0.0, 0.0] * 4))
    assert lost.startswith("Search is the limit: it found 25%")
    assert not [
        line for line in recommend(answers.assign(correct=0), Needs(changed=0, unknown=0)) if "takes about" in line
    ]


def test_failures_are_counted_by_their_reason_and_named():
    answers = answers_of({"rag": [1, 0, 0, 0]}).assign(
        retrieved=[1.0, 1.0, 0.0, 0.0], question=["a?", "b?", "c?", "d?"]
    )
    answers.loc[3, "answerable"] = False
    assert failures(answers, "rag") == [
        'rag fails on 1 of 4 questions because the passage was not found: 2, "c?".',
        'rag fails on 1 of 4 questions because the passage was there and was misread: 1, "b?".',
        'rag fails on 1 of 4 questions because the documents do not say, and it answered: 3, "d?".',
    ]


@pytest.mark.parametrize(
    "words, said",
    [
        (("--questions", "q.csv"), "no folder of documents: name one with --docs"),
        (("--docs", "nowhere", "--questions", "q.csv"), "no folder of documents at nowhere"),
        (("--squad", "dev.json", "--docs", "nowhere"), "--squad brings its own documents and questions"),
        (("--squad", "dev.json", "--profile", "pocket"), "cannot read dev.json"),
        (("--password", "x"), "--password, --seconds and --megabytes are for reading your documents"),
        (("--squad", "dev.json", "--seconds", "9"), "--password, --seconds and --megabytes are for reading"),
        (("--megabytes", "400"), "--password, --seconds and --megabytes are for reading your documents"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_runs(words, said):
    environment = {"COLUMNS": "200", "LABKIT_PASSWORD": "set for every command"}
    done = CliRunner(env=environment).invoke(app, ["compare", *words], prog_name="labkit")
    assert done.exit_code == 1 and done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1


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
