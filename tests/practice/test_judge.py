"""Answers in other words are judged as people judged them; a style is learned from replies, and says what a text breaks."""

import csv
import re

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from labkit.data import data_folder
from labkit.errors import LabError
from labkit.practice.judge import Judge, Style, learn
from labkit.rag.embed import load_embedder
from labkit.store import ROOT


@pytest.fixture(scope="module")
def judge():
    return Judge(load_embedder("bundled", "float32"), ["What is said of it is in the house and on the hill."])


def test_the_judge_agrees_with_people_as_the_method_says(judge):
    rows = list(csv.DictReader((data_folder() / "judged.csv").read_text("utf-8").splitlines()))
    by_hand = np.array([int(row["right"]) for row in rows])
    judged = np.array([judge(row["question"], row["answer"], row["reference"]) for row in rows], int)
    table = [[int(((by_hand == a) & (judged == b)).sum()) for b in (0, 1)] for a in (0, 1)]
    agreement, kappa = np.mean(by_hand == judged), cohens_kappa(table, return_results=False)
    said = re.search(r"agrees on ([\d.]+) of the (\d+) pairs \(kappa ([\d.]+)\)", (ROOT / "docs/method.md").read_text())
    assert (f"{agreement:.2f}", str(len(rows)), f"{kappa:.2f}") == said.groups() and kappa > 0.6


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
