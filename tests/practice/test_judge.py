"""Answers in other words are judged as people judged them, about as well as the method's page says."""

import csv
import re

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from labkit.data import data_folder
from labkit.practice.judge import Judge
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
