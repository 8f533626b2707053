"""The arms behind one interface: weights tuned or not, context or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from labkit.errors import LabError
from labkit.model import Message, Model
from labkit.rag.augment import build_messages, cited, most_that_fit
from labkit.rag.chunk import Chunk
from labkit.rag.ingest import Document
from labkit.rag.retrieve import Hit, Search
from labkit.store import Cache

ARMS = ("base", "rag", "tuned", "hybrid")
"""The arms of the course. The others of `labkit.profile.EVERY_ARM` are rivals that ask less: the form asked for in the prompt,
shown by examples, whole documents pasted, and weights tuned without context that are then given some."""


@dataclass(frozen=True)
class Answer:
    """What an arm said: the text, the passages it was given, tokens, seconds (its share of the batch), and if it was cut off."""

    question: str
    text: str
    hits: tuple[Hit, ...]
    prompt_tokens: int
    output_tokens: int
    retrieval_seconds: float
    generation_seconds: float
    cut: bool = False

    @property
    def cited_hits(self) -> list[Hit]:
        """The passages that the answer cites by number."""
        return [self.hits[n - 1] for n in cited(self.text) if 1 <= n <= len(self.hits)]

    @property
    def sources(self) -> list[str]:
        """Ids of the documents that the answer cites, each once."""
        return list(dict.fromkeys(hit.chunk.document_id for hit in self.cited_hits))


@dataclass(frozen=True)
class Arm:
    """A model that answers questions, over passages from a retriever if it has one.

    `system` asks for more in words; `examples` are turns of user and assistant that show an answer, before the question.
    With a `cache` no prompt is answered twice; without one every answer takes its time.
    """

    model: Model
    retriever: Search | None = None
    top_k: int = 5
    max_new_tokens: int = 64
    cache: Cache | None = None
    batch_tokens: int = 16_384
    system: str | None = None
    examples: Sequence[Message] = ()
    name: ClassVar[str] = "arm"
    reads: ClassVar[bool] = True
    weights: ClassVar[str | None] = None
    """The arm whose adapter it carries; None for the model as it came."""

    def messages(self, question: str, hits: Sequence[Hit]) -> list[Message]:
        """What the model is given for a question over these passages."""
        system, user = build_messages(question, passages(hits), system=self.system)
        return [system, *self.examples, user]

    def fitting(self, question: str, hits: list[Hit]) -> list[Hit]:
        """As many passages, best first, as the model's context holds beside the answer; LabError for too long a question."""
        budget = self.model.context - self.max_new_tokens
        return hits[: most_that_fit(len(hits), lambda n: self.model.count(self.messages(question, hits[:n])), budget)]

    def answer(self, questions: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Answer]:
        """Answer questions in one batch, in their order; `progress` is called with the number just finished."""
        began = time.perf_counter()
        context: list[list[Hit]] = [[] for _ in questions]
        if self.retriever:
            rankings = self.retriever.search_batch(list(questions), self.top_k)
            context = [self.fitting(q, hits) for q, hits in zip(questions, rankings, strict=True)]
        retrieval = (time.perf_counter() - began) / max(1, len(questions))
        prompts = [self.messages(q, hits) for q, hits in zip(questions, context, strict=True)]
        replies = self.model.generate(prompts, self.max_new_tokens, self.batch_tokens, progress, self.cache)
        return [
            Answer(q, g.text, tuple(hits), g.prompt_tokens, g.output_tokens, retrieval, g.seconds, g.cut)
            for q, hits, g in zip(questions, context, replies, strict=True)
        ]


class Base(Arm):
    """The model as it came, without context."""

    name = "base"
    reads = False


class Rag(Arm):
    """The model as it came, over retrieved passages."""

    name = "rag"


class FineTuned(Arm):
    """The model tuned on question and answer pairs, without context."""

    name = weights = "tuned"
    reads = False


class Hybrid(Arm):
    """The model tuned with retrieved passages in its prompts, over retrieved passages."""

    name = weights = "hybrid"


class Prompted(Rag):
    """The model as it came, over retrieved passages, told in the prompt what form the answer has."""

    name = "prompted"


class FewShot(Prompted):
    """Prompted, and shown by examples: questions over passages with the answers that the hybrid trains on."""

    name = "few-shot"


class LongContext(Rag):
    """The model as it came, over whole documents: all of them where they fit, else those that search ranks first."""

    name = "long-context"


class Naive(Hybrid):
    """The model tuned without context, over retrieved passages that its training never showed it."""

    name, weights = "naive", "tuned"


CLASSES = {arm.name: arm for arm in (Base, Rag, Prompted, FewShot, LongContext, FineTuned, Naive, Hybrid)}


def arm_class(name: str) -> type[Arm]:
    """The class of an arm; "hybrid-2" is a hybrid trained with two distractors. LabError for an unknown name."""
    stem, _, distractors = name.partition("-")
    arm = CLASSES.get("hybrid" if stem == "hybrid" and distractors.isdecimal() else name)
    if arm is None:
        raise LabError(f"unknown arm '{name}': choose {', '.join(CLASSES)}, or hybrid-N for N distractors in training")
    return arm


def weights_of(name: str) -> str | None:
    """Which adapter an arm's weights carry: its own, another arm's, or None for the model as it came.

    >>> weights_of("naive"), weights_of("hybrid"), weights_of("rag")
    ('tuned', 'hybrid', None)
    """
    arm = arm_class(name)
    return name if arm is Hybrid else arm.weights


def passages(hits: Sequence[Hit]) -> list[tuple[str, str]]:
    """Title and text of each hit, as the prompt takes them."""
    return [(hit.chunk.title, hit.chunk.text) for hit in hits]


class WholeDocuments:
    """Finds whole documents for a question: all of them in their order where `budget` tokens hold them, else the nearest first.

    A document's rank is that of its best chunk in `search`. `count` gives the tokens of a text. Where all fit, every
    prompt begins with the same text, which `Model.generate` reads once (cache-augmented generation, Chan et al., 2024).
    """

    DEPTH = 50

    def __init__(self, search: Search, documents: Sequence[Document], budget: int, count: Callable[[str], int]) -> None:
        self.search, self.budget = search, budget
        self.chunks = {d.id: Chunk(f"{d.id}#0", d.id, d.title, d.text, 0, len(d.text)) for d in documents}
        self.sizes = {name: count(chunk.embedding_text) for name, chunk in self.chunks.items()}
        self.share = min(1.0, budget / max(1, sum(self.sizes.values())))

    def search_batch(self, queries: Sequence[str], top_k: int) -> list[list[Hit]]:
        """The documents for each query as one hit each, however many `top_k` says."""
        if self.share == 1:
            return [self._hits(self.chunks) for _ in queries]
        rankings = self.search.search_batch(queries, self.DEPTH)
        return [self._hits(dict.fromkeys(hit.chunk.document_id for hit in hits)) for hits in rankings]

    def _hits(self, names: Iterable[str]) -> list[Hit]:
        chosen, left = [], self.budget
        for name in names:
            if self.sizes[name] <= left:
                chosen.append(self.chunks[name])
                left -= self.sizes[name]
        return [Hit(chunk, 1 / rank, rank) for rank, chunk in enumerate(chosen, start=1)]
