"""The halves share no document; what the log teaches is counted from its questions and their right passages."""

import pytest

from labkit.compare.claims import load_claims
from labkit.lab import Lab
from labkit.practice import log as lesson
from labkit.profile import POCKET
from labkit.world.data import load_questions
from labkit.world.facts import kinds


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(POCKET, "smoke", progress=False)


def test_every_attribute_has_three_wordings_that_name_the_entity():
    forms = dict(line.split(": ", 1) for line in lesson.WORDINGS.strip().splitlines())
    assert set(forms) == {attribute.key for group in kinds().values() for attribute in group.values()}
    for said in forms.values():
        assert len(said.split(" | ")) == 3 and all("{e}" in form or "{n}" in form for form in said.split(" | "))


def test_no_document_is_in_both_halves_and_every_question_for_one_fact_is_in_one():
    past, held_out = lesson.halves(Lab(POCKET, progress=False))
    documents = [{item.evidence[0].document for item in half} for half in (past, held_out)]
    assert not documents[0] & documents[1]
    assert len(past) + len(held_out) == sum(len(item.evidence) == 1 for item in load_questions())
    assert min(len(past), len(held_out)) > 60


def test_nobody_asks_in_words_that_hold_the_answer(lab):
    for item, question in lesson.own_words([*lesson.halves(lab)[0], *lesson.halves(lab)[1]]):
        assert item.gold not in question and item.evidence[0].entity in question


def test_a_word_is_mined_that_stands_beside_the_term_and_not_everywhere():
    asked = [
        ("How many bucks is A?", "Our list price for A"),
        ("Bucks for B?", "Price, our list: B"),
        ("Bucks: C?", "list"),
    ]
    asked += [("What does D weigh?", "Our list: weight of D"), ("Is E heavy?", "Weight, our list")]
    assert lesson.mine(asked, ["bucks", "heavy", "unseen"]) == {"bucks": ["price"]}


def test_a_question_grows_by_the_words_that_most_of_its_own_stand_for():
    synonyms = {"bucks": ["price", "fee"], "damage": ["price"], "price": ["cost"]}
    assert lesson.expand("Damage in bucks?", synonyms) == "Damage in bucks? price fee"
    assert lesson.expand("Damage in bucks?", synonyms, top=1) == "Damage in bucks? price"
    assert lesson.expand("What is the price?", {"bucks": ["price"]}) == "What is the price?"


def test_the_log_of_last_month_is_rated_by_the_truth_and_found_again(lab):
    rows, again = lesson.last_month(lab), lesson.last_month(lab)
    gold = {item.id: item.gold for item in lab.questions}
    assert rows.question.tolist() == again.question.tolist() == [q for _, q in lesson.own_words(lesson.halves(lab)[0])]
    assert set(rows.rating) <= {"up", "down"} and rows.sources.map(len).eq(lab.profile.top_k).all()
    for row in rows.itertuples():
        assert (row.rating == "up") == (gold[row.id] in row.answer)
        assert gold[row.id] not in row.right
    assert not {"the", lab.questions[0].evidence[0].entity.split()[0].lower()} & set(lesson.complaints(lab, rows))


def test_the_figure_has_the_name_that_the_rule_asks_for(lab):
    wanted = {need.figure for claim in load_claims() if claim.lesson == "20_log" for need in claim.needs}
    found = lesson.figures(lab)
    assert set(found) == wanted
    assert all(value.low <= value.mean <= value.high for value in found.values())


def test_synonyms_change_what_is_sent_and_nothing_else(lab):
    some = lesson.halves(lab)[1][:2]
    before, after = (
        lesson.reread(lab, some, {}),
        lesson.reread(lab, some, {some[0].evidence[0].entity.split()[0].lower(): ["zebra"]}),
    )
    assert before.sent.tolist() == [question for _, question in lesson.own_words(some)]
    assert after.sent[:3].tolist() == [f"{question} zebra" for question in before.sent[:3]]
    assert lesson.gain(before, before).mean == 0
