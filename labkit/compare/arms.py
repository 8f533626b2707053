"""The four arms behind one interface: weights tuned or not, context or not. Introduced in 00_start."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labkit.rag.augment import build_messages, cited

if TYPE_CHECKING:
    from labkit.model import Model
    from labkit.rag.retrieve import Hit, Retriever

ARMS = ("base", "rag", "tuned", "hybrid")


@dataclass(frozen=True)
class Answer:
    """What an arm said: the text, the passages it was given, tokens, and seconds (its share of the batch)."""

    question: str
    text: str
    hits: tuple[Hit, ...]
    prompt_tokens: int
    output_tokens: int
    retrieval_seconds: float
    generation_seconds: float

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
    """A model that answers questions, over passages from a retriever if it has one."""

    model: Model
    retriever: Retriever | None = None
    top_k: int = 5
    max_new_tokens: int = 64
    name: ClassVar[str] = "arm"

    def answer(self, questions: Sequence[str], progress: Callable[[int], None] | None = None) -> list[Answer]:
        """Answer questions in one batch, in their order; `progress` is called with the number just finished."""
        began = time.perf_counter()
        found: list[list[Hit]] = [[] for _ in questions]
        if self.retriever:
            found = self.retriever.search_batch(list(questions), self.top_k)
        retrieval = (time.perf_counter() - began) / max(1, len(questions))
        prompts = [build_messages(q, passages(hits)) for q, hits in zip(questions, found, strict=True)]
        made = self.model.generate(prompts, max_new_tokens=self.max_new_tokens, progress=progress)
        return [
            Answer(q, g.text, tuple(hits), g.prompt_tokens, g.output_tokens, retrieval, g.seconds)
            for q, hits, g in zip(questions, found, made, strict=True)
        ]


class Base(Arm):
    """The model as it came, without context."""

    name = "base"


class Rag(Arm):
    """The model as it came, over retrieved passages."""

    name = "rag"


class FineTuned(Arm):
    """The model tuned on question and answer pairs, without context."""

    name = "tuned"


class Hybrid(Arm):
    """The model tuned with retrieved passages in its prompts, over retrieved passages."""

    name = "hybrid"


def passages(hits: Sequence[Hit]) -> list[tuple[str, str]]:
    """Title and text of each hit, as the prompt takes them."""
    return [(hit.chunk.title, hit.chunk.text) for hit in hits]
