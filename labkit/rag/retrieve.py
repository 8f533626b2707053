"""Find chunks by meaning, by words, or by both. Introduced in 05_retrieve."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from pydantic import PrivateAttr

from labkit.errors import LabError
from labkit.rag.chunk import Chunk, from_langchain
from labkit.rag.embed import encode_with
from labkit.rag.index import FaissStore
from labkit.rag.rerank import Rerank, load_reranker
from labkit.rag.retrieve_base import Hit as Hit
from labkit.rag.retrieve_base import Retriever as Retriever
from labkit.rag.retrieve_base import Search as Search
from labkit.rag.retrieve_fusion import Fusion as Fusion
from labkit.rag.retrieve_fusion import MultiQuery as MultiQuery
from labkit.rag.retrieve_fusion import SecondSearch as SecondSearch
from labkit.rag.retrieve_fusion import rank_scores as rank_scores
from labkit.rag.retrieve_fusion import reciprocal_rank_fusion as reciprocal_rank_fusion

METHODS = ("dense", "bm25", "fusion", "mmr", "second", "rerank")


class OverStore(Retriever):
    """A retriever over a store, which may change: the next search sees it as it is then."""

    store: FaissStore

    def __init__(self, store: FaissStore, **settings: Any) -> None:
        super().__init__(store=store, **settings)


class Dense(OverStore):
    """Nearest embeddings; scores are cosines, from -1 to 1. Introduced in 05_retrieve.

    >>> Dense(store).search("How heavy is the pump?", top_k=1)[0].chunk.id
    'pump.html#1'
    """

    def _find(self, queries: list[str], top_k: int) -> Iterable[list[tuple[Chunk, float]]]:
        vectors = encode_with(self.store.embedder, queries, query=True)
        scores, found = self.store.search_vectors(vectors, top_k)
        for row, line in zip(found.tolist(), scores.tolist(), strict=True):
            yield [(self.store.chunk_at(i), score) for i, score in zip(row, line, strict=True) if i >= 0]


class MMR(OverStore):
    """Maximal marginal relevance: of the `depth` nearest, near the query and unlike each other.

    Each next hit has the greatest balance * cosine to the query - (1 - balance) * cosine to the likest hit
    above it (Carbonell & Goldstein, SIGIR 1998); `balance` 1 is the dense order. Scores are 1 / rank.
    Introduced in 05_retrieve.

    >>> MMR(store, balance=0.7).search("How heavy is the pump?")
    """

    balance: float = 0.7
    depth: int = 20

    def _find(self, queries: list[str], top_k: int) -> Iterable[list[tuple[Chunk, float]]]:
        depth, search = max(self.depth, top_k), self.store.max_marginal_relevance_search_by_vector
        for vector in encode_with(self.store.embedder, queries, query=True):
            found = search(vector, top_k, depth, self.balance)
            yield [(from_langchain(document), 1 / rank) for rank, document in enumerate(found, start=1)]


class BM25(OverStore):
    """Shared words, weighted by rarity (Robertson & Zaragoza 2009; Lucene's form, by bm25s).

    A chunk sharing no word is no hit; ties keep the order of chunks. Introduced in 05_retrieve.

    >>> BM25(store).search("KX-200", top_k=3)
    """

    _built: tuple[int, list[Chunk], Any] | None = PrivateAttr(None)

    def _index(self) -> tuple[list[Chunk], Any]:
        """The chunks and their word index, made anew when the store has changed."""
        import bm25s

        if self._built is None or self._built[0] != self.store.version:
            version, chunks = self.store.version, self.store.chunks
            texts = [words(chunk.embedding_text) for chunk in chunks]
            index = bm25s.BM25() if any(texts) else None
            if index:
                index.index(texts, show_progress=False)
            self._built = (version, chunks, index)
        return self._built[1:]

    def _find(self, queries: list[str], top_k: int) -> Iterable[list[tuple[Chunk, float]]]:
        chunks, index = self._index()
        for query in map(words, queries):
            scores = index.get_scores(query) if index and query else np.empty(0)
            best = np.argsort(-scores, kind="stable")[:top_k]
            yield [(chunks[i], float(scores[i])) for i in best if scores[i] > 0]


def words(text: str) -> list[str]:
    """Lower-case words and numbers, what BM25 counts.

    >>> words("The KX-200 weighs 12.5 kg")
    ['the', 'kx', '200', 'weighs', '12', '5', 'kg']
    """
    return re.findall(r"[^\W_]+", text.lower())


def retriever(method: str, store: FaissStore, reranker: str | None = None, **settings: Any) -> Retriever:
    """The retriever of that name over a store, with its settings.

    "dense", "bm25", "mmr" search once; "fusion" joins dense and bm25; "rerank" has the model `reranker` read
    what fusion found, "second" searches again with what fusion found. Raises `LabError` for any other name,
    and for "rerank" without a model. Introduced in 05_retrieve.

    >>> retriever("fusion", store, top_k=3).search("How heavy is the pump?")
    """
    check_method(method, reranker)
    if single := {"dense": Dense, "bm25": BM25, "mmr": MMR}.get(method):
        return single(store, **settings)
    if method == "fusion":
        return Fusion([Dense(store), BM25(store)], **settings)
    if method == "second":
        return SecondSearch(Fusion([Dense(store), BM25(store)]), **settings)
    return Rerank(Fusion([Dense(store), BM25(store)]), load_reranker(reranker), **settings)


def check_method(method: str, reranker: str | None = None) -> None:
    """`LabError` unless `method` is one of `METHODS`, and has the model that it needs."""
    if method not in METHODS:
        raise LabError(f"no retriever '{method}': choose one of {', '.join(METHODS)}")
    if method == "rerank" and not reranker:
        raise LabError("'rerank' needs a cross-encoder, and this profile names none: choose laptop or gpu")
