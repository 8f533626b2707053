"""Find chunks by meaning, by words, or by both. Introduced in 05_retrieve."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from labkit.errors import LabError
from labkit.rag.embed import encode_with

if TYPE_CHECKING:
    from labkit.rag.chunk import Chunk
    from labkit.rag.index import FaissStore

METHODS = ("dense", "bm25", "fusion")


@dataclass(frozen=True)
class Hit:
    """A chunk found: `rank` counts from 1; a higher `score` is better, within one method."""

    chunk: Chunk
    score: float
    rank: int


class Retriever(Protocol):
    """What every retriever can do; fewer than `top_k` hits come back where fewer chunks fit."""

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        """The hits for one query, best first."""
        ...

    def search_batch(self, queries: Sequence[str], top_k: int = 5) -> list[list[Hit]]:
        """The hits for each query, in the order of the queries."""
        ...


class _OneByBatch:
    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        """The hits for one query, best first; `LabError` if `top_k` is below 1."""
        return self.search_batch([query], top_k)[0]  # type: ignore[attr-defined]


class Dense(_OneByBatch):
    """Nearest embeddings by cosine. Introduced in 05_retrieve.

    >>> Dense(store).search("How heavy is the pump?", top_k=1)[0].chunk.id
    'pump.html#1'
    """

    def __init__(self, store: FaissStore) -> None:
        self.store = store

    def search_batch(self, queries: Sequence[str], top_k: int = 5) -> list[list[Hit]]:
        """The hits for each query; one pass of the embedder for all. Scores are cosines."""
        _check(top_k)
        vectors = encode_with(self.store.embedder, queries, query=True)
        scores, found = self.store.search_vectors(vectors, top_k)
        return [
            _hits([(self.store.chunk_at(i), score) for i, score in zip(row, line, strict=True) if i >= 0])
            for row, line in zip(found.tolist(), scores.tolist(), strict=True)
        ]


class BM25(_OneByBatch):
    """Shared words, weighted by rarity (Robertson & Zaragoza 2009; Lucene's form, by bm25s).

    Follows the store when it changes. A chunk sharing no word is no hit; ties keep the order of chunks.
    Introduced in 05_retrieve.

    >>> BM25(store).search("KX-200", top_k=3)
    """

    def __init__(self, store: FaissStore) -> None:
        self.store = store
        self._build()

    def _build(self) -> None:
        import bm25s

        self._version, self._chunks = self.store.version, self.store.chunks
        texts = [words(chunk.embedding_text) for chunk in self._chunks]
        self._index = bm25s.BM25() if any(texts) else None
        if self._index:
            self._index.index(texts, show_progress=False)

    def search_batch(self, queries: Sequence[str], top_k: int = 5) -> list[list[Hit]]:
        """The hits for each query, best first."""
        _check(top_k)
        if self._version != self.store.version:
            self._build()
        return [self._search(words(query), top_k) for query in queries]

    def _search(self, query: list[str], top_k: int) -> list[Hit]:
        if not query or not self._index:
            return []
        scores = self._index.get_scores(query)
        best = np.argsort(-scores, kind="stable")[:top_k]
        return _hits([(self._chunks[i], float(scores[i])) for i in best if scores[i] > 0])


class Fusion(_OneByBatch):
    """Reciprocal-rank fusion of retrievers, each asked for `depth` hits. Introduced in 05_retrieve.

    >>> Fusion([Dense(store), BM25(store)]).search("weight of the KX-200")
    """

    def __init__(self, retrievers: Sequence[Retriever], k: int = 60, depth: int = 50) -> None:
        self.retrievers, self.k, self.depth = retrievers, k, depth

    def search_batch(self, queries: Sequence[str], top_k: int = 5) -> list[list[Hit]]:
        """The hits for each query; the score is the sum of 1 / (k + rank)."""
        _check(top_k)
        depth = max(self.depth, top_k)
        answers = [retriever.search_batch(queries, depth) for retriever in self.retrievers]
        return [self._fuse(rankings, top_k) for rankings in zip(*answers, strict=True)]

    def _fuse(self, rankings: Sequence[list[Hit]], top_k: int) -> list[Hit]:
        chunks = {hit.chunk.id: hit.chunk for ranking in rankings for hit in ranking}
        scores = rank_scores([[hit.chunk.id for hit in ranking] for ranking in rankings], self.k)
        return _hits([(chunks[name], score) for name, score in list(scores.items())[:top_k]])


def reciprocal_rank_fusion(rankings: Sequence[Sequence[str]], k: int = 60) -> list[str]:
    """Merge rankings of ids, best first, by the sum of 1 / (k + rank).

    `k` damps the lead of the top ranks; 60 is from Cormack, Clarke & Büttcher (SIGIR 2009). Ties stay in the
    order in which the ids first appear. Introduced in 05_retrieve.

    >>> reciprocal_rank_fusion([["a", "b"], ["b", "c"]])
    ['b', 'a', 'c']
    """
    return list(rank_scores(rankings, k))


def rank_scores(rankings: Sequence[Sequence[str]], k: int = 60) -> dict[str, float]:
    """The score of each id in `reciprocal_rank_fusion`, best first.

    >>> rank_scores([["a"]], k=1)
    {'a': 0.5}
    """
    totals: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            totals[name] = totals.get(name, 0.0) + 1 / (k + rank)
    return dict(sorted(totals.items(), key=lambda pair: -pair[1]))


def words(text: str) -> list[str]:
    """Lower-case words and numbers, what BM25 counts.

    >>> words("The KX-200 weighs 12.5 kg")
    ['the', 'kx', '200', 'weighs', '12', '5', 'kg']
    """
    return re.findall(r"[^\W_]+", text.lower())


def retriever(method: str, store: FaissStore) -> Retriever:
    """The retriever of that name over a store: "dense", "bm25" or "fusion" of both.

    Raises `LabError` for any other name. Introduced in 05_retrieve.

    >>> retriever("fusion", store).search_batch(["How heavy is the pump?"], top_k=3)
    """
    makers = {"dense": Dense, "bm25": BM25, "fusion": lambda of: Fusion([Dense(of), BM25(of)])}
    if method not in makers:
        raise LabError(f"no retriever '{method}': choose one of {', '.join(METHODS)}")
    return makers[method](store)


def _check(top_k: int) -> None:
    if top_k < 1:
        raise LabError(f"top_k is {top_k}: ask for 1 or more")


def _hits(found: Sequence[tuple[Chunk, float]]) -> list[Hit]:
    return [Hit(chunk, score, rank) for rank, (chunk, score) in enumerate(found, start=1)]
