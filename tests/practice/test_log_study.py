"""The halves share no document; what the log teaches is counted from its questions and their right passages."""

import numpy as np
import pandas as pd
import pytest

from labkit.compare.claims import load_claims
from labkit.data import load_questions, wordings
from labkit.lab import Lab
from labkit.practice import log_study as study
from labkit.profile import POCKET


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(POCKET, "smoke", progress=False)


def test_every_attribute_has_three_wordings_that_name_the_entity():
    forms = dict(line.split(": ", 1) for line in study.WORDINGS.strip().splitlines())
    assert set(forms) == {f"{kind}.{attribute}" for kind, attribute in wordings()}
    for said in forms.values():
        assert len(said.split(" | ")) == 3 and all("{e}" in form or "{n}" in form for form in said.split(" | "))


def test_no_document_is_in_both_halves_and_every_question_for_one_fact_is_in_one():
    past, held_out = study.halves(Lab(POCKET, progress=False))
    documents = [{item.evidence[0].document for item in half} for half in (past, held_out)]
    assert not documents[0] & documents[1]
    assert len(past) + len(held_out) == sum(len(item.evidence) == 1 for item in load_questions())
    assert min(len(past), len(held_out)) > 60


def test_nobody_asks_in_words_that_hold_the_answer(lab):
    for item, question in study.own_words([*study.halves(lab)[0], *study.halves(lab)[1]]):
        assert item.gold not in question and item.evidence[0].entity in question


def test_a_word_is_mined_that_stands_beside_the_term_and_not_everywhere():
    asked = [
        ("How many bucks is A?", "Our list price for A"),
        ("Bucks for B?", "Price, our list: B"),
        ("Bucks: C?", "list"),
    ]
    asked += [("What does D weigh?", "Our list: weight of D"), ("Is E heavy?", "Weight, our list")]
    assert study.mine(asked, ["bucks", "heavy", "unseen"]) == {"bucks": ["price"]}


def test_a_question_grows_by_the_words_that_most_of_its_own_stand_for():
    synonyms = {"bucks": ["price", "fee"], "damage": ["price"], "price": ["cost"]}
    assert study.expand("Damage in bucks?", synonyms) == "Damage in bucks? price fee"
    assert study.expand("Damage in bucks?", synonyms, top=1) == "Damage in bucks? price"
    assert study.expand("What is the price?", {"bucks": ["price"]}) == "What is the price?"


def test_the_log_of_last_month_is_rated_by_the_truth_and_found_again(lab):
    rows, again = study.last_month(lab), study.last_month(lab)
    lacking, about = study.undocumented(lab)
    asked = study.own_words([*study.halves(lab)[0], *about])
    assert rows.question.tolist() == again.question.tolist() == [question for _, question in asked]
    assert set(rows.rating) <= {"up", "down"} and rows.sources.map(len).eq(lab.profile.top_k).all()
    assert not {source.partition("#")[0] for sources in rows.sources for source in sources} & lacking
    for (item, _), row in zip(asked, rows.itertuples(), strict=True):
        assert (row.rating == "up") == (item.gold in row.answer) == (row.cause == "")
        assert item.gold not in row.right and bool(row.right) == bool(row.stated) == (item not in about)
        assert row.rating == "up" or (row.cause == "no document says it") == (item in about)
    assert not {"the", lab.questions[0].evidence[0].entity.split()[0].lower()} & set(study.complaints(lab, rows))


@pytest.mark.parametrize("size", ["smoke", "full"])
def test_what_nobody_wrote_is_asked_for_and_the_held_out_questions_on_it_are_others(size):
    lab = Lab(POCKET, size, progress=False)
    lacking, about = study.undocumented(lab)
    past, held_out = study.halves(lab)
    facts = {(fact.entity, fact.attribute) for item in held_out for fact in item.evidence}
    assert lacking and {item.evidence[0].document for item in about} <= lacking
    assert not lacking & {item.evidence[0].document for item in past}
    assert not facts & {(item.evidence[0].entity, item.evidence[0].attribute) for item in about}


def test_a_document_that_is_added_is_found_and_one_that_is_missing_is_not(lab):
    lacking, _ = study.undocumented(lab)
    later = [i for i in study.halves(lab)[1] if i.evidence[0].document in lacking and not i.evidence[0].also]
    without, written = study.reread(study.variant(lab, lacking), later, {}), study.reread(lab, later, {})
    assert (without.retrieved == 0).all() and written.retrieved.mean() > 0.5
    gained = study.gain(without, written, "retrieved")
    assert gained.mean == pytest.approx(written.retrieved.mean()) and gained.low <= gained.mean <= gained.high


def test_a_confusion_is_a_question_its_passage_and_the_best_of_the_others(lab):
    rows, texts = study.last_month(lab), {chunk.id: chunk.embedding_text for chunk in lab.vectors.chunks}
    triplets, known = study.confusions(lab, rows), rows[rows.stated.map(bool)]
    assert triplets.anchor.tolist() == known.question.tolist()
    for made, row in zip(triplets.itertuples(), known.itertuples(), strict=True):
        others = [texts[source] for source in row.sources if source not in row.stated]
        assert made.negative == others[0] and made.positive in {texts[name] for name in row.stated}


@pytest.mark.slow
def test_an_embedder_learns_to_tell_what_it_confused(lab):
    some = study.confusions(lab, study.last_month(lab)).head(16)
    folder = study.train_embedder(lab, pd.concat([some] * 3), rate=2e-4)
    trained = study.variant(lab, embedder=str(folder)).embedder

    def margin(embedder):
        anchor, right, wrong = (embedder.encode(some[name].tolist()) for name in some)
        return float(np.mean(np.sum(anchor * (right - wrong), axis=1)))

    assert margin(trained) > margin(lab.embedder) and trained.fingerprint != lab.embedder.fingerprint


def test_the_figure_has_the_name_that_the_rule_asks_for(lab):
    wanted = {need.figure for claim in load_claims() if claim.lesson == "20_log" for need in claim.needs}
    found = study.figures(lab)
    assert set(found) == wanted
    assert all(value.low <= value.mean <= value.high for value in found.values())


def test_synonyms_change_what_is_sent_and_nothing_else(lab):
    some = study.halves(lab)[1][:2]
    before, after = (
        study.reread(lab, some, {}),
        study.reread(lab, some, {some[0].evidence[0].entity.split()[0].lower(): ["zebra"]}),
    )
    assert before.sent.tolist() == [question for _, question in study.own_words(some)]
    assert after.sent[:3].tolist() == [f"{question} zebra" for question in before.sent[:3]]
    assert study.gain(before, before).mean == 0
