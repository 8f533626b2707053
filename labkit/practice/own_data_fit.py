"""What a small context holds: a model reads fewer passages where its own length asks for it. Introduced in 21_own_data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.compare.arms import passages
from labkit.rag.augment import build_messages, fit

if TYPE_CHECKING:
    from labkit.model import Model
    from labkit.rag.retrieve import Hit, Retriever


class Fitting:
    """A retriever that hands on, best first, as many passages as the model's context holds beside `room` new tokens.

    Introduced in 21_own_data.
    """

    def __init__(self, retriever: Retriever, model: Model, room: int) -> None:
        self.retriever, self.model, self.budget = retriever, model, model.context - room

    def search_batch(self, questions: Sequence[str], top_k: int) -> list[list[Hit]]:
        """The hits for each question that fit; LabError for a question that is too long by itself."""
        return [
            self._fitting(q, h) for q, h in zip(questions, self.retriever.search_batch(questions, top_k), strict=True)
        ]

    def search(self, question: str, top_k: int) -> list[Hit]:
        """The hits for one question that fit."""
        return self.search_batch([question], top_k)[0]

    def _fitting(self, question: str, hits: list[Hit]) -> list[Hit]:
        shown = passages(hits)
        if self.model.count(build_messages(question, shown)) <= self.budget:
            return hits
        return hits[: len(fit(question, shown, self.budget, self.model.count).passages)]
