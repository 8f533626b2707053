"""Experiments choose exactly what is read, and ask nothing twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import labkit
from labkit.compare.arms import Rag, passages
from labkit.compare.reading import at_position, degrade, read
from labkit.data import Evidence, Item
from labkit.rag.augment import build_messages
from labkit.rag.chunk import Chunk
from labkit.rag.retrieve import Hit

PASSAGES = [(f"Notes {n}", f"The KX-{n}00 pump weighs {n} kilograms. " * 4) for n in range(1, 6)]
QUESTION = "How heavy is the KX-300?"


def hit(name: str, text: str, rank: int = 1) -> Hit:
    return Hit(Chunk(f"{name}#0", name, name.title(), text, 0, len(text)), 1.0, rank)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield labkit.open("pocket", size="smoke", progress=False)


@pytest.fixture(scope="module")
def hits():
    return [hit(title, text, n) for n, (title, text) in enumerate(PASSAGES, start=1)]


@given(position=st.integers(1, 5), others=st.integers(0, 9))
def test_the_gold_passage_stands_where_it_is_put(position, others):
    gold, rest = hit("gold", "x"), [hit(f"d{n}", "y") for n in range(others)]
    placed = at_position(gold, rest, position)
    assert len(placed) == min(5, others + 1)
    assert placed[min(position, len(placed)) - 1] is gold
    assert [h for h in placed if h is not gold] == rest[:4]


def item(*facts: Evidence) -> Item:
    return Item("q", "two-hop", QUESTION, facts[-1].value, "", (), facts)


def test_only_the_passages_of_lost_facts_give_way():
    first = Evidence("a", "red", "", "product", "Pump", "finish")
    second = Evidence("b", "blue", "", "product", "Valve", "finish")
    given = [hit("a", "It is red."), hit("c", "It is red."), hit("b", "It is blue."), hit("a", "Still red.")]
    spare = [hit(f"s{n}", "Nothing.") for n in range(3)]
    asked = item(first, second)
    assert degrade(given, asked, [False, False], spare) == given
    assert degrade(given, asked, [True, False], spare) == [spare[0], given[1], given[2], spare[1]]
    assert degrade(given, asked, [True, True], spare) == [spare[0], given[1], spare[1], spare[2]]


class Given:
    """A retriever that finds what it was given."""

    def __init__(self, found):
        self.found = found

    def search_batch(self, queries, top_k=5):
        return [self.found[query][:top_k] for query in queries]


def test_reading_given_passages_equals_the_arm_over_a_retriever_that_finds_them(lab, hits):
    found = {QUESTION: hits, "How heavy is the KX-100?": hits[:2]}
    answers = read(lab, list(found), list(found.values()))
    wanted = Rag(lab.model, Given(found), 5, lab.profile.max_new_tokens).answer(list(found))
    assert [a.text for a in answers] == [a.text for a in wanted]
    assert [(a.prompt_tokens, a.output_tokens) for a in answers] == [(a.prompt_tokens, a.output_tokens) for a in wanted]
    assert [a.hits for a in answers] == [tuple(h) for h in found.values()]


def test_equal_prompts_are_answered_once_and_remembered(lab, hits, monkeypatch):
    asked = []
    answer = lab.model._answer
    monkeypatch.setattr(
        lab.model, "_answer", lambda prompts, limit: asked.append(len(prompts)) or answer(prompts, limit)
    )
    questions, found = [QUESTION, "How heavy is the KX-200?", QUESTION], [hits[:1]] * 3
    once, again = read(lab, questions, found), read(lab, questions, found)
    assert asked == [2] and once == again
    assert once[0].text == once[2].text and once[0].question == once[2].question
    read(lab, questions, found, lambda q, _: build_messages(q))
    assert asked == [2, 2]


def test_what_is_composed_is_what_is_read(lab, hits):
    closed = read(lab, [QUESTION], [hits], lambda question, _: build_messages(question))[0]
    assert closed.prompt_tokens == lab.model.count(build_messages(QUESTION))
    assert closed.prompt_tokens < lab.model.count(build_messages(QUESTION, passages(hits)))
