"""Prompts keep their question and their budget, citations are checked, and every wrong answer has one cause."""

import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

import labkit
from labkit import LabError, plot
from labkit.data import load_questions
from labkit.metrics import contains
from labkit.rag.augment import (
    ABSTAIN,
    CAUSES,
    SAID,
    attribute,
    build_messages,
    causes,
    check_citations,
    cited,
    fit,
    unsupported,
    values,
)

PASSAGES = [(f"Notes {n}", f"The KX-{n}00 pump weighs {n} kilograms. " * 4) for n in range(1, 6)]
QUESTION = "How heavy is the KX-300?"


def words(messages) -> int:
    return sum(len(re.findall(r"\S+", message["content"])) for message in messages)


@pytest.fixture(scope="module")
def lab(tmp_path_factory, with_vectors):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(with_vectors(tmp_path_factory.mktemp("runs"))))
        yield labkit.open("pocket", size="smoke", progress=False)


texts = st.lists(st.tuples(st.text("ab \n", max_size=6), st.text("abc .\n", max_size=60)), max_size=6)


@given(passages=texts, budget=st.integers(8, 80), cut=st.booleans())
def test_a_fitted_prompt_keeps_its_budget_and_as_many_passages_as_that_allows(passages, budget, cut):
    fitted = fit("Why so?", passages, budget, words, cut=cut)
    whole = len(fitted.passages) - (fitted.cut is not None)
    assert fitted.tokens == words(build_messages("Why so?", fitted.passages)) <= budget
    assert list(fitted.passages[:whole]) == passages[:whole]
    assert fitted.dropped == len(passages) - len(fitted.passages)
    if fitted.dropped and not cut:
        assert words(build_messages("Why so?", passages[: whole + 1])) > budget


@given(passages=texts, budget=st.integers(8, 80))
def test_a_cut_passage_is_the_longest_beginning_that_fits(passages, budget):
    fitted = fit("Why so?", passages, budget, words, cut=True)
    if fitted.cut is None:
        return
    (title, text), (whole_title, whole) = fitted.passages[-1], passages[fitted.cut - 1]
    assert title == whole_title and whole.startswith(text) and text != whole
    longer = whole[: re.match(r"\s*\S+", whole[len(text) :]).end() + len(text)]
    assert words(build_messages("Why so?", [*fitted.passages[:-1], (title, longer)])) > budget


def test_the_budget_counts_the_tokens_of_the_model_that_reads(lab):
    for budget in (60, 120, 240):
        fitted = fit(QUESTION, PASSAGES, budget, lab.model.count, cut=True)
        messages = build_messages(QUESTION, fitted.passages)
        assert budget - 12 < fitted.tokens == lab.model.count(messages) <= budget
        assert messages[-1]["content"].endswith(QUESTION)


def test_what_was_left_out_is_said_in_words():
    assert str(fit(QUESTION, PASSAGES, 1000, words)) == "150 tokens, 5 passages: nothing left out"
    assert "the last 3 dropped" in str(fit(QUESTION, PASSAGES, 90, words))
    assert "the end of passage 3 cut, the last 2 dropped" in str(fit(QUESTION, PASSAGES, 90, words, cut=True))


def test_a_question_that_is_too_long_alone_is_an_error_and_is_never_cut():
    with pytest.raises(LabError, match="question alone has 9 tokens, the budget is 8"):
        fit(QUESTION, PASSAGES, 8, words)
    assert fit(QUESTION, PASSAGES, 9, words).passages == ()


def test_citations_are_read_in_order_and_once():
    assert cited("It costs $10. [2][1] See [2], not [x] or (3).") == [2, 1]
    assert cited(ABSTAIN) == []


NOTES = [
    ("Price list", "The Amber Falcon costs $1,240. Pepper Hidden | 59 hours"),
    ("Sites", "Honey Canyon is managed by Rita Irwin since 8 May 2031."),
]


@pytest.mark.parametrize(
    ("text", "question", "found"),
    [
        ("The Amber Falcon costs $1,240.", "What does the Amber Falcon cost?", ["$1,240"]),
        ("It opened on 8 May 2031.", "When did it open?", ["8 May 2031"]),
        ("Rita Irwin runs the Honey Canyon site.", "Who runs the Honey Canyon site?", ["Rita Irwin"]),
        ("The low power code is DH-971, at 12.5 % or €3.", "", ["DH-971", "12.5", "€3"]),
        ("Sales rose. Profits fell by 3,000.", "", ["3,000"]),
        ("It comes in warm rust.", "In which colour does it come?", ["comes", "warm", "rust"]),
        ("", "Why?", []),
    ],
)
def test_values_are_the_names_and_numbers_that_the_question_did_not_bring(text, question, found):
    assert values(text, question) == found


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [
        ("The Amber Falcon costs $1,240. [1]", ["holds all"]),
        ("The Amber Falcon costs $1240. [1]", ["holds all"]),
        ("The Amber Falcon costs $1,240. [2]", ["holds nothing"]),
        ("The Amber Falcon costs $124. [1]", ["holds part"]),
        ("The Amber Falcon costs $1,240. [3]", ["no such passage"]),
        ("The Amber Falcon costs $1,240. [0]", ["no such passage"]),
        ("[1] The Amber Falcon costs $1,240.", ["holds all"]),
        ("[2] The Amber Falcon costs $1,240.", ["holds nothing"]),
        ("[2] Rita Irwin runs the Honey Canyon site. [1] The Pepper Hidden runs 59 hours.", ["holds all"] * 2),
        ("We looked. [1] The Amber Falcon costs $1,240. Write to us.", ["holds all"]),
        ("Rita Irwin runs the Honey Canyon site. [2] The Pepper Hidden runs 59 hours. [1]", ["holds all"] * 2),
        ("The Amber Falcon costs $1,240 says Rita Irwin. [1][2]", ["holds part", "holds part"]),
        ("Nothing is cited here.", []),
        (ABSTAIN, []),
    ],
)
def test_each_citation_has_its_verdict(text, verdicts):
    assert [citation.verdict for citation in check_citations(text, NOTES)] == verdicts


def test_a_claim_runs_from_one_group_of_citations_to_the_next():
    first, second, third = check_citations("Rita Irwin runs it. [2] It costs $1,240. [1] [2]", NOTES)
    assert (first.number, first.claim, first.held) == (2, "Rita Irwin runs it.", ("Rita Irwin",))
    assert (second.number, second.claim, second.held) == (1, "It costs $1,240.", ("$1,240",))
    assert (third.number, third.missing) == (2, ("$1,240",))


def test_cited_passages_support_an_answer_together():
    text = "The Amber Falcon costs $1,240 says Rita Irwin."
    assert unsupported(f"{text} [1][2]", NOTES) == []
    assert unsupported(f"{text} [1]", NOTES) == ["Rita Irwin"]
    assert unsupported(text, NOTES) == ["Amber Falcon", "$1,240", "Rita Irwin"]
    assert unsupported("The Amber Falcon costs $999. [1][9]", NOTES, "What is it?") == ["$999"]


def test_a_name_stands_for_its_longer_form_but_one_word_of_it_does_not():
    notes = [("Reports", "Panther Gorge | Honey Canyon"), ("Reports", "Anna Irwin")]
    assert unsupported("Project Panther Gorge is at Honey Canyon. [1]", notes) == []
    assert unsupported("It is led by Rita Irwin. [2]", notes) == ["Rita Irwin"]


def test_true_citations_of_the_company_pass_and_wrong_numbers_do_not():
    asked = [i for i in load_questions() if i.kind in ("single fact", "new wording", "changed fact", "two-hop")]
    sound = [item for item in asked if item.evidence[-1].attribute != "finish"]
    caught = 0
    for item, other in zip(sound, sound[1:] + sound[:1], strict=True):
        notes = [("", e.passage) for e in other.evidence] + [("", e.passage) for e in item.evidence]
        before, numbers = len(other.evidence), range(1, len(item.evidence) + 1)
        true = "".join(f"[{before + n}]" for n in numbers)
        assert unsupported(f"{item.answer} {true}", notes, item.question) == []
        missing = [v for v in values(item.answer, item.question) if not contains(notes[0][1], v)]
        assert unsupported(f"{item.answer} [1]", notes, item.question) == missing
        caught += bool(missing)
    assert caught > 0.95 * len(sound) > 100


def test_what_an_answer_computed_stands_in_no_passage():
    item = [i for i in load_questions() if i.kind == "growth"][0]
    notes = [("", e.passage) for e in item.evidence]
    assert unsupported(f"{item.answer} [1][2]", notes, item.question) == [item.gold]


def test_a_value_of_something_else_in_the_same_passage_is_not_noticed():
    assert unsupported("The Amber Falcon runs 59 hours. [1]", NOTES, "How long does the Amber Falcon run?") == []


ROWS = pd.DataFrame(
    [
        ("rag", True, 1, 1.0, 0, "right", "right"),
        ("rag", True, 0, 1.0, 0, "model misread", "wrong"),
        ("rag", True, 0, 1.0, 1, "model misread", "declined"),
        ("rag", True, 0, 0.5, 0, "retrieval missed", "wrong"),
        ("rag", True, 0, 0.0, 1, "retrieval missed", "declined"),
        ("rag", False, 0, 0.0, 0, "should have abstained", "wrong"),
        ("hybrid", False, 1, 0.0, 1, "right", "right"),
        ("hybrid", True, 1, 0.0, 0, "right", "right"),
    ],
    columns=["arm", "answerable", "correct", "retrieved", "abstained", "cause", "said"],
)


def test_each_answer_gets_its_cause_and_what_was_said():
    told = attribute(ROWS.drop(columns=["cause", "said"]))
    assert told.cause.tolist() == ROWS.cause.tolist()
    assert told.said.tolist() == ROWS.said.tolist()
    assert (tuple(told.cause.cat.categories), tuple(told.said.cat.categories)) == (CAUSES, SAID)


def test_shares_add_up_in_every_group_and_keep_their_order():
    table = causes(ROWS)
    assert list(table.index) == ["rag", "hybrid"] and tuple(table.columns) == CAUSES
    assert table.sum(axis=1).tolist() == pytest.approx([1, 1])
    assert table.loc["rag"].tolist() == pytest.approx([1 / 6, 2 / 6, 2 / 6, 1 / 6])
    assert causes(ROWS[ROWS.arm == "hybrid"]).loc["hybrid"].tolist() == [1, 0, 0, 0]


def test_answers_that_were_not_scored_are_an_error_that_names_what_lacks():
    with pytest.raises(LabError, match="without correct, retrieved"):
        attribute(ROWS.drop(columns=["correct", "retrieved"]))


def test_the_bars_are_the_shares():
    table = causes(ROWS)
    figure, text = plot.shares(table)
    for part, bars in zip(table, figure.axes[0].containers, strict=True):
        assert [bar.get_width() for bar in bars] == pytest.approx(table[part].tolist())
    last = figure.axes[0].containers[-1]
    assert [bar.get_x() + bar.get_width() for bar in last] == pytest.approx([1, 1])
    assert len({bars[0].get_hatch() for bars in figure.axes[0].containers}) == len(CAUSES)
    assert text.splitlines()[0].startswith("rag: right 0.17, model misread 0.33")
    plt.close("all")
    with pytest.raises(LabError, match="no shares"):
        plot.shares(table.iloc[:0])
