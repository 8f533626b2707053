"""What every way of searching shares: hits, and being a LangChain retriever. Introduced in 05_retrieve."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from labkit.errors import LabError
from labkit.rag.chunk import Chunk, to_langchain


@dataclass(frozen=True)
class Hit:
    """A chunk found: `rank` counts from 1; a higher `score` is better, within one method."""

    chunk: Chunk
    score: float
    rank: int


class Search(Protocol):
    """Whatever finds passages for questions."""

    def search_batch(self, queries: Sequence[str], top_k: int) -> list[list[Hit]]:
        """The hits for each query, best first."""
        ...


class Retriever(BaseRetriever):
    """Finds chunks for a query; also a LangChain retriever, so that `invoke`, `batch` and `|` work.

    `top_k` is how many hits come back where a call does not say; fewer come where fewer chunks fit, or score
    `threshold`, if one is set. Raises `LabError` for a `top_k` below 1. Introduced in 05_retrieve.

    >>> retriever.search("How heavy is the pump?", top_k=1)[0].chunk.id
    'pump.html#1'
    >>> retriever.invoke("How heavy is the pump?")[0].metadata["score"]
    0.63
    """

    top_k: int = 5
    threshold: float | None = None

    def search(self, query: str, top_k: int | None = None) -> list[Hit]:
        """The hits for one query, best first."""
        return self.search_batch([query], top_k)[0]

    def search_batch(self, queries: Sequence[str], top_k: int | None = None) -> list[list[Hit]]:
        """The hits for each query, in the order of the queries."""
        wanted = self.top_k if top_k is None else top_k
        if wanted < 1:
            raise LabError(f"top_k is {wanted}: ask for 1 or more")
        found = self._find(list(queries), wanted) if queries else []
        return [self._numbered(pairs[:wanted]) for pairs in found]

    @abstractmethod
    def _find(self, queries: list[str], top_k: int) -> Iterable[list[tuple[Chunk, float]]]:
        """Chunks and scores for each query, best first; those beyond `top_k` are cut off."""

    def _numbered(self, pairs: Sequence[tuple[Chunk, float]]) -> list[Hit]:
        least = self.threshold
        kept = [(chunk, score) for chunk, score in pairs if least is None or score >= least]
        return [Hit(chunk, score, rank) for rank, (chunk, score) in enumerate(kept, start=1)]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, top_k: int | None = None, **kwargs: Any
    ) -> list[Document]:
        return [_document(hit) for hit in self.search(query, top_k)]


def _document(hit: Hit) -> Document:
    document = to_langchain(hit.chunk)
    document.metadata |= {"score": hit.score, "rank": hit.rank}
    return document
