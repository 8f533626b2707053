"""What our search costs beside sentence-transformers and faiss called by hand. Introduced in 05_retrieve."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.bench import Figure

if TYPE_CHECKING:
    from labkit.rag.embed import Embedder
    from labkit.rag.index import FaissStore

RIVAL = "model.encode(queries), then faiss index.search"
TOP_K = 5


def measure(quick: bool = False) -> list[Figure]:
    """Milliseconds per query, all queries in one call and one query a call: medians of alternating rounds.

    Both sides encode in float32 without a cache, and search the same flat index. Introduced in 05_retrieve.

    >>> [figure.ratio for figure in measure(quick=True)]
    """
    import labkit
    from labkit.rag.embed import load_embedder
    from labkit.rag.retrieve import Dense

    lab, embedder = labkit.open("pocket", progress=False), load_embedder("bundled", "float32")
    store = _store(lab.vectors, embedder)
    questions = [item.question for item in lab.questions][: 16 if quick else None]
    ways = {"ours": Dense(store).search_batch, "theirs": _by_hand(lab.vectors, embedder)}
    singles = questions[: 4 if quick else 60]
    rounds = 1 if quick else 5
    batch = _race(ways, [questions], rounds, len(questions))
    single = _race(ways, [[question] for question in singles], rounds, 1)
    return [
        Figure("search, all queries in one call", RIVAL, *batch, "ms per query", more_is_better=False),
        Figure("search, one query a call", RIVAL, *single, "ms per query", more_is_better=False),
    ]


def _store(known: FaissStore, embedder: Embedder) -> FaissStore:
    """The chunks of `known`, to be asked through an embedder without a cache; their vectors are not computed again."""
    from labkit.rag.index import FaissStore

    store = FaissStore(known.embedder)
    store.add_chunks(known.chunks)
    store.embedder = embedder
    return store


def _by_hand(known: FaissStore, embedder: Embedder) -> Callable[[Sequence[str], int], Any]:
    import faiss

    index = faiss.IndexFlatIP(embedder.dimensions)
    index.add(known.embedder.encode([chunk.embedding_text for chunk in known.chunks]))
    model = embedder.model
    return lambda queries, k: index.search(model.encode(list(queries), normalize_embeddings=True), k)


def _race(
    ways: dict[str, Callable[[Sequence[str], int], Any]], calls: list[list[str]], rounds: int, per_call: int
) -> tuple[float, float]:
    """Median milliseconds per query of each way; they take turns call by call, so that a busy moment hits both."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(calls[0][:8], TOP_K)  # the first call sets things up
    for _ in range(rounds):
        for call in calls:
            for name, way in ways.items():
                began = time.perf_counter()
                way(call, TOP_K)
                spent[name].append(1000 * (time.perf_counter() - began) / per_call)
    return float(np.median(spent["ours"])), float(np.median(spent["theirs"]))
