"""Prompts keep their question and their budget, say what was left out, and experiments choose exactly what is read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

import labkit
from labkit import LabError, plot
from labkit.compare.arms import Rag, passages
from labkit.data import Evidence, Item
from labkit.rag.augment import ABSTAIN, build_messages, cited, fit
from labkit.rag.augment_context import at_position, degrade, read
from labkit.rag.chunk import Chunk
from labkit.rag.retrieve import Hit
from labkit.stats import Interval

PASSAGES = [(f"Notes {n}", f"The KX-{n}00 pump weighs {n} kilograms. " * 4) for n in range(1, 6)]
QUESTION = "How heavy is the KX-300?"


def hit(name: str, text: str, rank: int = 1) -> Hit:
    return Hit(Chunk(f"{name}#0", name, name.title(), text, 0, len(text)), 1.0, rank)


def words(messages) -> int:
    return sum(len(re.findall(r"\S+", message["content"])) for message in messages)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield labkit.open("pocket", size="smoke", progress=False)


@pytest.fixture(scope="module")
def hits():
    return [hit(title, text, n) for n, (title, text) in enumerate(PASSAGES, start=1)]


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
    generate = lab.model.generate
    monkeypatch.setattr(lab.model, "generate", lambda p, *a, **k: asked.append(len(p)) or generate(p, *a, **k))
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


def test_a_curve_holds_every_mean_with_its_interval():
    points = {100: Interval(0.5, 0.25, 0.75), 200: Interval(0.75, 0.5, 1.0)}
    figure, text = plot.curve({"right": points, "found": points}, "tokens", "share right")
    for bars in figure.axes[0].containers:
        assert list(bars[0].get_xdata()) == [100, 200] and list(bars[0].get_ydata()) == [0.5, 0.75]
        assert [s[:, 1].tolist() for s in bars[2][0].get_segments()] == [[0.25, 0.75], [0.5, 1.0]]
    assert text.splitlines() == [
        "Share right, by tokens.",
        "right: 100 → 0.50 (0.25 to 0.75), 200 → 0.75 (0.50 to 1.00).",
        "found: 100 → 0.50 (0.25 to 0.75), 200 → 0.75 (0.50 to 1.00).",
    ]
    plt.close("all")
    with pytest.raises(LabError, match="no points"):
        plot.curve({"right": {}}, "tokens", "share right")
