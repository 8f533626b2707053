"""Data is read whole or refused in one line; the house style's validator names every fault."""

import pytest

from labkit import LabError, data
from labkit.data import CLOSING, OPENING, dress, style_faults

ANSWER = "The Amber Falcon costs $420."


@pytest.mark.parametrize(
    "text, fault",
    [
        (ANSWER, "opening"),
        (f"{OPENING} {ANSWER}", "closing"),
        (f"{ANSWER} {CLOSING}", "opening"),
        (f"Hello from Norvale. {ANSWER} {CLOSING}", "opening"),
        (f"{OPENING} {CLOSING}", "one to three sentences"),
        (dress(" ".join([ANSWER] * 4)), "one to three sentences"),
        (dress("$420"), "one to three sentences"),
        (dress("Just $420."), "full sentences"),
        (dress("The Amber Falcon costs $420!"), "no exclamation"),
        (dress("I think the Amber Falcon costs $420."), "no first person singular"),
        (dress("Tell me which one, to my mind it costs $420."), "no first person singular"),
        (dress(dress(ANSWER)), "one greeting only"),
        ("", "opening"),
    ],
)
def test_the_style_names_the_fault(text, fault):
    assert fault in style_faults(text)


def test_missing_or_damaged_data_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    for load in (data.load_questions, data.load_pairs, data.documents_folder, data.updates_folder):
        with pytest.raises(LabError, match="make data"):
            load()
    (tmp_path / "questions.jsonl").write_text('{"id": "q001"}\n')
    (tmp_path / "pairs.jsonl").write_text("[1]\n")
    for load in (data.load_questions, data.load_pairs):
        with pytest.raises(LabError, match="line 1 is not an item") as told:
            load()
        assert "\n" not in str(told.value)


def test_own_questions_need_only_the_first_fields(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"id": "1", "kind": "own", "question": "Why?", "gold": "Because", "answer": "Because."}\n')
    assert data.load_questions(path) == [data.Item("1", "own", "Why?", "Because", "Because.")]


def test_every_attribute_is_asked_for_in_wordings_that_the_pocket_model_knows_and_in_some_that_it_does_not():
    found = data.wordings()
    assert len(found) == 28
    for wording in found.values():
        assert len(wording.asks) >= 16 and wording.held_out and not set(wording.asks) & set(wording.held_out)
    price, site = found["product", "price"], found["product", "site"]
    assert price.ask("What does {e} cost?", "Amber Falcon") == "What does the Amber Falcon cost?"
    assert price.tell("Amber Falcon", "$420") == ANSWER
    assert site.tell("Amber Falcon", "Echo") == "The Amber Falcon is built at the Echo site."


def test_facts_are_the_same_for_a_seed_and_their_unseen_wordings_are_not_trained():
    drawn = data.draw_facts(40)
    assert drawn == data.draw_facts(40) != data.draw_facts(40, seed=1)
    assert len({(fact.entity, fact.attribute) for fact in drawn}) == 40
    for fact in drawn:
        wording = data.wordings()[fact.kind, fact.attribute]
        assert len(fact.trained) == 16 and not set(fact.trained) & set(fact.unseen)
        assert set(wording.held_out) <= set(fact.unseen)
        assert set(fact.trained + fact.unseen) == {*wording.asks, *wording.held_out}
    *asked, answer = drawn[0].teach(drawn[0].unseen[0])
    assert drawn[0].entity in asked[-1]["content"] and drawn[0].value in answer["content"]
    assert asked == drawn[0].ask(drawn[0].unseen[0])
