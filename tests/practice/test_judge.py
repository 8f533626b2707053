"""Answers in other words are judged as people judged them; a style is learned from replies, and says what a text breaks."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.inter_rater import cohens_kappa
from typer.testing import CliRunner

from labkit import LabError
from labkit.cli import app
from labkit.data import data_folder
from labkit.practice.judge import Judge, ModelJudge, Style, learn
from labkit.practice.own_data import compare_own, open_own
from labkit.rag.embed import load_embedder
from labkit.store import ROOT
from tests.practice.serving import Handler, listening

LABELLED = list(csv.DictReader((data_folder() / "judged.csv").read_text("utf-8").splitlines()))


@pytest.fixture(scope="module")
def judge():
    return Judge(load_embedder("bundled", "float32"), ["What is said of it is in the house and on the hill."])


def test_the_judge_agrees_with_people_as_the_method_says(judge):
    by_hand = np.array([int(row["right"]) for row in LABELLED])
    judged = np.array([judge(row["question"], row["answer"], row["reference"]) for row in LABELLED], int)
    table = [[int(((by_hand == a) & (judged == b)).sum()) for b in (0, 1)] for a in (0, 1)]
    agreement, kappa = np.mean(by_hand == judged), cohens_kappa(table, return_results=False)
    said = re.search(r"agrees on ([\d.]+) of the (\d+) pairs \(kappa ([\d.]+)\)", (ROOT / "docs/method.md").read_text())
    assert (f"{agreement:.2f}", str(len(LABELLED)), f"{kappa:.2f}") == said.groups() and kappa > 0.6


def test_another_number_or_a_refusal_says_something_else(judge):
    question, reference = "How heavy is the pump?", "The pump has a weight of 41 kg."
    assert judge(question, "It weighs 41 kg.", reference)
    assert not judge(question, "It weighs 14 kg.", reference) and not judge(question, "I do not know.", reference)


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


class Judging(Handler):
    """Judges as people labelled, but for every fifth pair, where it says no or, under /unsure, neither; under /yes all is right.

    Of other answers, one to a question of a pump is right, of a valve none is judged, and of an engine it is unsure.
    Under /arms it answers questions itself.
    """

    asked: list[tuple[str | None, dict]] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "/arms/" in self.path:
            return self.complete("That one is of some colour or other.")
        self.asked.append((self.headers["Authorization"], body))
        told = json.loads(body["messages"][-1]["content"])
        question, answer = told["question"], told["given answer"]
        labels = {(row["question"], row["answer"]): (n, row["right"] == "1") for n, row in enumerate(LABELLED)}
        number, right = labels.get((question, answer), (1, "pump" in question))
        word = "Yes." if right else "No."
        if number % 5 == 0:
            word = "Hard to say." if "unsure" in self.path else "No."
        word = "Yes" if "/yes" in self.path else "Perhaps." if "engine" in question else word
        self.complete(word, status=400 if "valve" in question else 200)


@pytest.fixture(scope="module")
def server():
    with listening(Judging) as url:
        yield url


def kappa_of(human, judged):
    """Cohen's kappa as his paper of 1960 has it."""
    same = np.mean([a == b for a, b in zip(human, judged, strict=True)])
    chance = sum(np.mean([a == c for a in human]) * np.mean([b == c for b in judged]) for c in {*human, *judged})
    return (same - chance) / (1 - chance)


@pytest.mark.parametrize("way, instead", [("no", 0), ("unsure", 2)])
def test_a_served_judge_is_measured_against_people_before_it_judges(server, monkeypatch, way, instead):
    monkeypatch.setenv("JUDGE_API_KEY", "a secret")
    monkeypatch.setenv("OPENAI_API_KEY", "of another server")
    Judging.asked.clear()
    judge = ModelJudge(f"{server}/{way}", "m")
    human = [int(row["right"]) for row in LABELLED]
    judged = [instead if n % 5 == 0 else right for n, right in enumerate(human)]
    share = np.mean([a == b for a, b in zip(human, judged, strict=True)])
    assert judge.agreement == {"pairs": len(human), "agreement": share, "kappa": pytest.approx(kappa_of(human, judged))}
    assert {key for key, _ in Judging.asked} == {"Bearer a secret"} and len(Judging.asked) == len(human)
    assert all((body["temperature"], body["model"]) == (0, "m") for _, body in Judging.asked)
    assert judge("Which pump is it?", "It is so.", ["So."]) is judge("Which pump is it?", "It is so.", ["So."]) is True
    assert judge("Which lamp is it?", "It is so.", ["So.", "Thus."]) is False and len(Judging.asked) == len(human) + 2
    assert judge("Which engine?", "It.", ["So."]) == "its reply is neither yes nor no: Perhaps."
    assert "refuses" in judge("Which valve?", "It.", ["So."])


def test_a_judge_that_agrees_with_nobody_or_would_be_asked_in_the_clear_is_refused(server):
    with pytest.raises(LabError, match=r"^m at 127.0.0.1 agrees with people too little to judge \(kappa 0.00\)"):
        ModelJudge(f"{server}/yes#m")
    with pytest.raises(LabError, match="would get your answers in the clear: give an address with https"):
        ModelJudge("http://judge.example.org/v1", "m")
    for words in (("--judge", server), ("--judge-model", "m")):
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["compare", *words], prog_name="labkit")
        assert (
            done.exit_code == 1 and done.stderr.startswith("error: --judge is the URL") and "\n" not in done.stderr[:-1]
        )


@pytest.fixture
def judged_lab(server, tmp_path, monkeypatch):
    """A lab on three documents and 18 questions, all of whose answers are sentences that no document holds."""
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    (tmp_path / "docs").mkdir()
    rows = []
    for thing in ("pump", "valve", "engine"):
        (tmp_path / "docs" / f"{thing}.md").write_text(f"The {thing} is red. It weighs 41 kg. It came in May.")
        for n, part in enumerate(("lid", "foot", "arm", "belt", "neck", "hand")):
            answer = f"According to the list, the {part} of that {thing} has a bright red hue and number {n}."
            rows.append({"question": f"Which colour has the {part} of the {thing}?", "answer": answer})
    pd.DataFrame(rows).to_csv(tmp_path / "q.csv", index=False)
    served = {"generator": f"{server}/arms#m", "judge": f"{server}/no", "judge_model": "m"}
    lab = open_own("pocket", tmp_path / "docs", tmp_path / "q.csv", progress=False, **served)
    lab.profile = replace(lab.profile, arms=("base", "rag"))
    return lab


def test_the_report_says_who_judged_and_names_every_answer_without_a_verdict(judged_lab):
    lab = judged_lab
    item = next(item for item in lab.questions if "pump" in item.question)
    assert lab.decide(item, f"So: {item.gold}")[1:] == ("value", "")
    assert lab.decide(item, "I do not know.") == (False, "value", "")
    result = compare_own(lab)
    answers, told = result.answers.set_index("id"), result.result["judge"]
    for thing, by in {"pump": "m at 127.0.0.1", "valve": "F1 and cosine", "engine": "F1 and cosine"}.items():
        some = answers[answers.question.str.contains(thing)]
        assert len(some) and set(some.decided_by) == {by}
        assert some.correct.all() if thing == "pump" else (some.no_verdict != "").all() and not some.correct.any()
    assert {row["id"] for row in told["failed"]} == set(answers[answers.no_verdict != ""].index)
    assert told["model"] == "m at 127.0.0.1" and told["pairs"] == len(LABELLED)
    (line,) = [line for line in result.result["recommendation"] if "agrees with people" in line]
    assert (
        f"(kappa {told['kappa']:.2f})" in line
        and f"on {len(told['failed'])} answers, which F1 and cosine judged: " in line
    )
    assert all(f"{row['arm']}, {row['id']}: " in line for row in told["failed"][:20]) and "neither yes nor no" in line
