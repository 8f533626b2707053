"""Experiments choose exactly what is read, falsify what they say they do, and ask nothing twice."""

import pytest

import labkit
from labkit.compare.arms import Rag, passages
from labkit.compare.reading import among, falsify, gold_hits, lie_for, read
from labkit.data import load_questions
from labkit.metrics import contains
from labkit.rag.augment import build_messages
from labkit.rag.chunk import Chunk
from labkit.rag.retrieve import Hit

PASSAGES = [(f"Notes {n}", f"The KX-{n}00 pump weighs {n} kilograms. " * 4) for n in range(1, 6)]
QUESTION = "How heavy is the KX-300?"


def hit(name: str, text: str, rank: int = 1) -> Hit:
    return Hit(Chunk(f"{name}#0", name, name.title(), text, 0, len(text)), 1.0, rank)


@pytest.fixture(scope="module")
def lab(tmp_path_factory, with_vectors):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(with_vectors(tmp_path_factory.mktemp("runs"))))
        yield labkit.open("pocket", size="smoke", progress=False)


@pytest.fixture(scope="module")
def hits():
    return [hit(title, text, n) for n, (title, text) in enumerate(PASSAGES, start=1)]


def test_gold_passages_stand_among_others_each_once(lab, hits):
    asked = next(item for item in lab.questions if len(item.evidence) == 1)
    gold = gold_hits(lab, asked)
    assert len(gold) == 1 and gold[0].chunk.document_id == asked.evidence[0].document
    placed = among(gold, [*gold, *hits])
    assert len(placed) == 5 and placed.count(gold[0]) == 1
    assert [h.chunk.id for h in placed] == sorted(h.chunk.id for h in placed)
    assert len(among(gold, hits, 2)) == 2 and gold[0] in among(gold, hits, 2)


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
        lab.model, "_answer", lambda prompts, limit, start: asked.append(len(prompts)) or answer(prompts, limit, start)
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


def test_a_lie_replaces_the_fact_where_it_is_stated_and_is_of_the_same_kind():
    questions = load_questions()
    singles = [i for i in questions if i.kind == "single fact"]
    lies = {item.id: lie_for(item, questions) for item in singles}
    assert sum(map(bool, lies.values())) > 0.9 * len(singles)
    for item in singles:
        fact, lie = item.evidence[0], lies[item.id]
        if not lie:
            continue
        hits = [hit(fact.document, fact.passage), hit("elsewhere", fact.passage)]
        told = falsify(hits, fact, lie)
        assert lie != fact.value and contains(told[0].chunk.text, lie)
        assert not contains(told[0].chunk.text, fact.value) and told[1] == hits[1]
    assert lie_for(item, [item]) is None
