"""Which class, which weights and which prompt belong to an arm's name."""

from dataclasses import replace

import pytest

from labkit.compare.arms import (
    ARMS,
    CLASSES,
    FineTuned,
    Hybrid,
    LongContext,
    Naive,
    Prompted,
    WholeDocuments,
    arm_class,
    weights_of,
)
from labkit.compare.lab import Lab
from labkit.data import CLOSING, OPENING
from labkit.errors import LabError
from labkit.metrics import abstained
from labkit.profile import EVERY_ARM, POCKET, choose_arms
from labkit.rag.augment import CLOSED_BOOK, build_messages
from labkit.rag.ingest import Document

QUESTION = "What does the Amber Falcon cost?"


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(POCKET, "smoke", progress=False)


def test_every_arm_has_a_class_of_its_name_and_the_weights_it_says():
    assert {*ARMS} < set(EVERY_ARM) == set(CLASSES)
    assert [arm_class(name).name for name in EVERY_ARM] == list(EVERY_ARM)
    weights = [None, None, None, None, None, "tuned", "tuned", "hybrid"]
    assert [weights_of(name) for name in EVERY_ARM] == weights
    assert arm_class("hybrid-2") is Hybrid and weights_of("hybrid-2") == "hybrid-2"


@pytest.mark.parametrize("name", ["", "ragg", "hybrid-", "hybrid-two", "rag-2", "arm", "few", "long-2"])
def test_an_unknown_arm_is_refused_with_the_choices(name):
    with pytest.raises(LabError, match="choose base, rag"):
        arm_class(name)


def test_arms_are_chosen_by_name_in_the_order_of_the_tables():
    assert choose_arms("hybrid, base") == ("base", "hybrid") and choose_arms("all") == EVERY_ARM
    with pytest.raises(LabError, match="did you mean tuned"):
        choose_arms("base,tunde")


def test_the_naive_hybrid_is_a_hybrid_on_the_tuned_arms_weights():
    assert issubclass(Naive, Hybrid) and weights_of("naive") == weights_of("tuned")


def test_the_prompted_arm_asks_the_model_for_the_house_style(lab):
    arm = lab.arm("prompted")
    assert isinstance(arm, Prompted) and OPENING in arm.system and CLOSING in arm.system
    told, plain = arm.answer([QUESTION])[0], lab.arm("rag").answer([QUESTION])[0]
    assert told.hits and told.prompt_tokens > plain.prompt_tokens


def test_examples_stand_before_the_question_are_answered_and_take_a_third_of_the_prompt(lab):
    arm = lab.arm("few-shot")
    replies = [turn["content"] for turn in arm.examples if turn["role"] == "assistant"]
    assert 1 <= len(replies) <= 3 and all(reply.startswith(OPENING) and not abstained(reply) for reply in replies)
    assert 3 * lab.model.count(arm.examples) <= lab.model.context
    turns = arm.messages(QUESTION, arm.answer([QUESTION])[0].hits)
    assert [turn["role"] for turn in turns] == ["system", *len(replies) * ["user", "assistant"], "user"]
    asked = {item.question for item in lab.questions}
    assert not any(question in turn["content"] for turn in arm.examples for question in asked)


def document(number: int, words: int) -> Document:
    return Document(f"{number}.md", f"Sheet {number}", f"word{number} " * words, "markdown", "")


class Search:
    """Ranks documents from last to first."""

    def __init__(self, documents):
        from labkit.rag.chunk import Chunk
        from labkit.rag.retrieve import Hit

        self.hits = [Hit(Chunk(f"{d.id}#0", d.id, d.title, "", 0, 0), 1.0, 1) for d in reversed(documents)]

    def search_batch(self, queries, top_k):
        return [self.hits[:top_k] for _ in queries]


def test_whole_documents_are_all_pasted_in_their_order_where_they_fit():
    documents = [document(n, 10) for n in range(4)]
    whole = WholeDocuments(Search(documents), documents, 1000, lambda text: len(text.split()))
    one, two = whole.search_batch(["a", "b"], 1)
    assert whole.share == 1 and [hit.chunk.document_id for hit in one] == [d.id for d in documents] and one == two


def test_where_they_do_not_fit_the_nearest_are_pasted_whole_and_the_share_is_known():
    documents = [document(0, 10), document(1, 200), document(2, 10), document(3, 30)]
    whole = WholeDocuments(Search(documents), documents, 70, lambda text: len(text.split()))
    (hits,) = whole.search_batch(["a"], 1)
    assert [hit.chunk.document_id for hit in hits] == ["3.md", "2.md", "0.md"]  # the second does not fit, later ones do
    assert all(hit.chunk.text == documents[int(hit.chunk.document_id[0])].text for hit in hits)
    assert whole.share == 70 / sum(whole.sizes.values()) < 1


def test_the_long_context_arm_fills_its_context_and_no_more(lab):
    arm = lab.arm("long-context")
    answer = arm.answer([QUESTION])[0]
    assert isinstance(arm, LongContext) and answer.hits
    assert 0.5 * lab.profile.long_context < answer.prompt_tokens <= lab.profile.long_context
    assert lab.whole_documents.share < 1


def test_in_the_square_prompts_differ_by_the_passages_alone(lab):
    """Token by token: tuned weights are asked what base is asked, naive what rag is asked."""
    arms = {name: replace(lab.arm(name), system=CLOSED_BOOK) for name in ("base", "rag")}
    hits = lab.retriever().search(QUESTION)
    bare, full = (
        arms[name].model.encode(arms[name].messages(QUESTION, found)) for name, found in (("base", []), ("rag", hits))
    )
    tuned, naive = FineTuned(lab.model, system=CLOSED_BOOK), Naive(lab.model, system=CLOSED_BOOK)
    assert lab.model.encode(tuned.messages(QUESTION, [])) == bare == lab.model.encode(build_messages(QUESTION))
    assert lab.model.encode(naive.messages(QUESTION, hits)) == full
    shared = next(n for n, (a, b) in enumerate(zip(bare, full, strict=False)) if a != b)
    assert lab.model.tokenizer.decode(bare[:shared]).count(CLOSED_BOOK) == 1
