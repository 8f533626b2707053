"""The arms behind one interface: weights tuned or not, context or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labkit.data import ASKED
from labkit.errors import LabError
from labkit.rag.augment import build_messages, cited, fit

if TYPE_CHECKING:
    from labkit.model import Model
    from labkit.rag.retrieve import Hit, Retriever
    from labkit.store import Cache

ARMS = ("base", "rag", "tuned", "hybrid")
RIVALS = ("prompted", "naive")
"""Two that ask less: the style only asked for in the prompt, and weights tuned without context that are then given some."""


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
    """A model that answers questions, over passages from a retriever if it has one; `system` asks for more in words.

    With a `cache` no prompt is answered twice; without one every answer takes its time.
    """

    model: Model
    retriever: Retriever | None = None
    top_k: int = 5
    max_new_tokens: int = 64
    cache: Cache | None = None
    batch_tokens: int = 16_384
    name: ClassVar[str] = "arm"
    system: ClassVar[str | None] = None
    reads: ClassVar[bool] = True

    def answer(self, questions: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Answer]:
        """Answer questions in one batch, in their order; `progress` is called with the number just finished."""
        began = time.perf_counter()
        found: list[list[Hit]] = [[] for _ in questions]
        if self.retriever:
            found = self.retriever.search_batch(list(questions), self.top_k)
        retrieval = (time.perf_counter() - began) / max(1, len(questions))
        prompts = [
            build_messages(q, passages(hits), system=self.system) for q, hits in zip(questions, found, strict=True)
        ]
        made = self.model.generate(prompts, self.max_new_tokens, self.batch_tokens, progress, self.cache)
        return [
            Answer(q, g.text, tuple(hits), g.prompt_tokens, g.output_tokens, retrieval, g.seconds, g.cut)
            for q, hits, g in zip(questions, found, made, strict=True)
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

    name = "tuned"
    reads = False


class Hybrid(Arm):
    """The model tuned with retrieved passages in its prompts, over retrieved passages."""

    name = "hybrid"


class Prompted(Rag):
    """The model as it came, over retrieved passages, told in the prompt how to sound."""

    name = "prompted"
    system = ASKED


class Naive(Hybrid):
    """The model tuned without context, over retrieved passages that its training never showed it."""

    name = "naive"


def arm_class(name: str) -> type[Arm]:
    """The class of an arm; "hybrid-2" is a hybrid trained with two distractors. LabError for an unknown name."""
    stem, dash, distractors = name.partition("-")
    classes = {arm.name: arm for arm in (Base, Rag, FineTuned, Hybrid, Prompted, Naive)}
    if stem not in classes or (dash and (stem != "hybrid" or not distractors.isdecimal())):
        raise LabError(f"unknown arm '{name}': choose {', '.join(classes)}, or hybrid-N for N distractors in training")
    return classes[stem]


def weights_of(name: str) -> str | None:
    """Which adapter an arm's weights carry: its own, another arm's, or None for the model as it came.

    >>> weights_of("naive"), weights_of("hybrid"), weights_of("rag")
    ('tuned', 'hybrid', None)
    """
    arm = arm_class(name)
    return None if arm in (Base, Rag, Prompted) else "tuned" if arm is Naive else name


def passages(hits: Sequence[Hit]) -> list[tuple[str, str]]:
    """Title and text of each hit, as the prompt takes them."""
    return [(hit.chunk.title, hit.chunk.text) for hit in hits]


class Fitting:
    """A retriever that hands on, best first, as many passages as the model's context holds beside `room` new tokens."""

    def __init__(self, retriever: Retriever, model: Model, room: int) -> None:
        self.retriever, self.model, self.budget = retriever, model, model.context - room

    def search_batch(self, questions: Sequence[str], top_k: int) -> list[list[Hit]]:
        """The hits for each question that fit; LabError for a question that is too long by itself."""
        rankings = self.retriever.search_batch(questions, top_k)
        return [self._fitting(question, hits) for question, hits in zip(questions, rankings, strict=True)]

    def _fitting(self, question: str, hits: list[Hit]) -> list[Hit]:
        whole = passages(hits)
        if self.model.count(build_messages(question, whole)) <= self.budget:
            return hits
        return hits[: len(fit(question, whole, self.budget, self.model.count).passages)]
