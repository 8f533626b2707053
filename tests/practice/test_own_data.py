"""The same comparison on a user's documents and questions, in the user's style or in none, with a recommendation."""

import csv
import re

import pandas as pd
import pytest
from typer.testing import CliRunner

from labkit import LabError
from labkit.cli import app
from labkit.compare import report, tables
from labkit.compare.decide import Needs, diagnose, failures, recommend
from labkit.compare.experiment import ask_arms
from labkit.compare.training import conversations
from labkit.data import CLOSING, OPENING, data_folder, documents_folder, load_pairs, of_kind
from labkit.practice.own_data import compare_own, open_own
from labkit.practice.own_data_style import Style, learn

PROSE = data_folder() / "prose"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs for this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
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
    lost = {"question": "Why?", "answer": "for no reason", "document": "", "reply": "None.", "split": "test"}
    pd.DataFrame([*rows, lost]).to_csv(path, index=False)
    return open_own("pocket", PROSE / "documents", path, "smoke", progress=False)


def test_a_style_is_what_all_replies_open_and_close_with():
    replies = {"a": "Dear guest, it is red. Bye now.", "b": "Dear guest, two do. They rest. Bye now.", "c": ""}
    style = learn(replies, ["a", "b"])
    assert style == Style("Dear guest,", "Bye now.", 2, 3, False)
    assert not style.faults("Dear guest, it is blue [1]. Bye now.")
    assert style.faults("It is blue! Bye now.") == ["opening", "no exclamation"]
    assert style.faults("Dear guest, bye. So. Well. Hm. Bye now.") == ["2 to 3 sentences"]
    assert learn({"a": "", "b": ""}, ["a"]) is None
    with pytest.raises(LabError, match="c and 0 more to train on have no reply"):
        learn(replies, ["a", "b", "c"])


def test_replies_that_share_nothing_still_have_a_length():
    style = learn({"a": "It is red.", "b": "Two do. They rest."}, ["a", "b"])
    assert (style.opening, style.closing, style.least, style.most) == ("", "", 1, 2)
    same = learn({"a": "Yes. So.", "b": "Yes. So."}, ["a", "b"])
    assert same.opening == "Yes. So." and same.closing == ""


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
    known = of_kind(load_pairs(), "single fact", "not in the documents")[:80]
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
        {"arm": arm, "id": n, "correct": c, "style": 0, "cited": 0, "abstained": 0, "answerable": True, "kind": "plain"}
        for arm, scores in right.items()
        for n, c in enumerate(scores)
    ]
    return pd.DataFrame(rows)


def test_the_simplest_of_the_arms_in_front_is_recommended():
    found = recommend(
        answers_of({"base": [0] * 40, "rag": [1] * 30 + [0] * 10, "tuned": [0] * 40, "hybrid": [1] * 32 + [0] * 8}),
        Needs(changed=0, unknown=0),
    )
    front = "Recommendation: rag, the simplest arm that these 40 questions leave in front: worth 0.75 ["
    assert found[0].startswith(front) and found[0].endswith("more than the model alone.")
    assert "Highest is hybrid: ahead of base, tuned; not told apart from rag." in found
    (more,) = [line for line in found if line.startswith("To tell hybrid from rag takes about ")]
    assert int(more.split()[7]) > 40


def test_an_arm_that_is_clearly_ahead_is_recommended_alone():
    found = recommend(answers_of({"base": [0] * 40, "hybrid": [1] * 40, "rag": [0] * 40}), Needs(changed=0, unknown=0))
    assert found[0].startswith("Recommendation: hybrid,") and len(found) == 3


def test_where_nothing_beats_the_model_alone_nothing_is_recommended():
    found = recommend(answers_of({"base": [1, 0] * 5, "rag": [1, 1] + [1, 0] * 4}), Needs(changed=0, unknown=0))
    assert found[0] == "Recommendation: none. No arm is told apart, as better, from the model alone."


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
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_runs(words, said):
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["compare", *words], prog_name="labkit")
    assert done.exit_code == 1 and done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1
