"""Citations that are true pass, planted false ones are caught, and the limits are those that the text admits."""

import pytest

from labkit.data import load_questions, of_kind
from labkit.metrics import contains
from labkit.rag.augment import ABSTAIN
from labkit.rag.augment_citations import check_citations, unsupported, values

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
    asked = of_kind(load_questions(), "single fact", "new wording", "changed fact", "two-hop")
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
    item = of_kind(load_questions(), "growth")[0]
    notes = [("", e.passage) for e in item.evidence]
    assert unsupported(f"{item.answer} [1][2]", notes, item.question) == [item.gold]


def test_a_value_of_something_else_in_the_same_passage_is_not_noticed():
    assert unsupported("The Amber Falcon runs 59 hours. [1]", NOTES, "How long does the Amber Falcon run?") == []
