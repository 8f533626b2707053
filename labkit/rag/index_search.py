"""LangChain's ways to ask a vector store, with a filter on metadata. Introduced in 04_index."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from labkit.rag.embed import encode_with
from labkit.rag.index_vectors import VectorIndex

Filter = Mapping[str, Any] | Callable[[Document], bool]
"""What may be found: metadata with these values (in a list, tuple or set: one of them), or a test of a document."""


class Searched(VectorStore):
    """The searching half of `labkit.rag.index.FaissStore`: documents by the numbers of their vectors.

    A filtered search compares every document that passes, so that it misses none. Introduced in 04_index.
    """

    embedder: Embeddings
    index: VectorIndex
    _documents: list[Document | None]  # None where one was deleted
    _lock: threading.RLock  # FAISS cannot be read while it is written, which LangChain's async calls would do

    def search_vectors(
        self, queries: np.ndarray, k: int, filter: Filter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions nearest to `queries` (n, d), each (n, min(k, what may be found)); -1 is no hit."""
        with self._lock:
            return self.index.search(queries, k, None if filter is None else self._passing(filter))

    def _passing(self, filter: Filter) -> np.ndarray:
        passes = filter if callable(filter) else lambda document: _has(document.metadata, filter)
        return np.array([number for number, doc in enumerate(self._documents) if doc and passes(doc)], "int64")

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None) -> list[Document]:
        """The `k` nearest documents, best first."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None
    ) -> list[tuple[Document, float]]:
        """The `k` nearest documents with their cosine, best first."""
        return self._nearest(encode_with(self.embedder, [query], query=True), k, filter)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None
    ) -> list[Document]:
        """The `k` documents nearest to a vector, best first."""
        return [document for document, _ in self._nearest(np.array([embedding], "float32"), k, filter)]

    def _nearest(self, vectors: np.ndarray, k: int, filter: Filter | None) -> list[tuple[Document, float]]:
        with self._lock:
            scores, found = self.search_vectors(vectors, k, filter)
            pairs = zip(found[0], scores[0], strict=True)
            return [(own_copy(self._documents[number]), float(score)) for number, score in pairs if number >= 0]

    def _select_relevance_score_fn(self) -> Any:
        return lambda cosine: min(1.0, (cosine + 1) / 2)  # rounding takes a cosine a little above 1

    def max_marginal_relevance_search(self, query: str, k: int = 4, *args: Any, **kwargs: Any) -> list[Document]:
        """`max_marginal_relevance_search_by_vector` for a question."""
        vector = encode_with(self.embedder, [query], query=True)[0]
        return self.max_marginal_relevance_search_by_vector(vector, k, *args, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
    ) -> list[Document]:
        """`k` of the `fetch_k` nearest, near to the vector but unlike each other (Carbonell & Goldstein, SIGIR 1998)."""
        vector = np.array(embedding, "float32")
        with self._lock:
            (found,) = self.search_vectors(vector[None], fetch_k, filter)[1]
            found = found[found >= 0]
            if not len(found):
                return []
            chosen = maximal_marginal_relevance(vector, self.index.vectors_at(found), lambda_mult, k)
            return [own_copy(self._documents[found[rank]]) for rank in chosen]


def _has(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    groups = (list, tuple, set, frozenset)
    choices = {key: value if isinstance(value, groups) else (value,) for key, value in wanted.items()}
    return all(metadata.get(key) in values for key, values in choices.items())


def own_copy(document: Document, name: str | None = None) -> Document:
    """A document of our own, so that nobody else's changes reach the store.

    >>> own_copy(document) == document and own_copy(document) is not document
    True
    """
    return document.model_copy(update={"id": name or document.id}, deep=True)
