"""A million vectors compressed against compared one by one, and the store against bare FAISS. Introduced in 04_index."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.bench import Figure
from labkit.rag.index_trial import more_vectors, trial

if TYPE_CHECKING:
    from labkit.lab import Lab

BATCH = 50_000
EXHAUSTIVE = "FAISS SQfp16, every vector compared"


def measure(quick: bool = False) -> list[Figure]:
    """Time, bytes and recall@10 among a million vectors (3,000 if `quick`), and what the store adds to FAISS.

    The vectors are made from the company's, 50,000 at a time, so that 3 GB of memory are enough. One thread.
    Introduced in 04_index.

    >>> [figure.ratio for figure in measure(quick=True)]
    """
    import labkit

    lab, count = labkit.open("pocket", progress=False), 3_000 if quick else 1_000_000
    texts = [item.question for item in lab.questions][: 40 if quick else 100]
    asked = lab.embedder.encode(texts, query=True)
    real = lab.vectors.index.vectors_at(np.arange(len(lab.vectors)))
    wanted = nearest(real, count, asked, 10)
    cells = 64 if quick else 1024

    def tried(factory: str, effort: str = "") -> dict[str, Any]:
        return trial(factory, [effort], batches(real, count), asked, wanted)[0]

    plain = tried("SQfp16")
    figures = []
    for factory in (f"IVF{cells},SQ8", f"IVF{cells},PQ48"):
        row, name = tried(factory, "nprobe=16"), f"{count:,} vectors, {factory}, nprobe=16"
        figures += [
            Figure(f"{name}: one search", EXHAUSTIVE, row["ms"], plain["ms"], "ms", more_is_better=False),
            Figure(f"{name}: size", EXHAUSTIVE, row["bytes"], plain["bytes"], "bytes a vector", more_is_better=False),
            Figure(f"{name}: recall@10", EXHAUSTIVE, row["recall"], plain["recall"], "recall@10"),
        ]
    return figures + overhead(lab, real, texts)


def batches(real: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """`count` vectors like the real ones, a batch at a time; the same ones each time. Introduced in 04_index."""
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        yield more_vectors(real, len(real) + size, seed=start)[len(real) :]


def nearest(real: np.ndarray, count: int, queries: np.ndarray, k: int) -> np.ndarray:
    """Numbers (n, k) of the vectors in `batches` that are nearest to the queries, exactly. Introduced in 04_index."""
    import torch  # noqa: F401  before faiss, or macOS crashes on two copies of OpenMP
    import faiss  # isort: skip

    heap = faiss.ResultHeap(len(queries), k, keep_max=True)
    for number, batch in enumerate(batches(real, count)):
        scores, found = faiss.knn(queries, batch, k, metric=faiss.METRIC_INNER_PRODUCT)
        heap.add_result(scores, found + number * BATCH)
    heap.finalize()
    return heap.I


def overhead(lab: Lab, real: np.ndarray, texts: list[str]) -> list[Figure]:
    """One question a call through the store and by hand: from the text, and from its vector. Introduced in 04_index."""
    import faiss

    from labkit.rag.embed import load_embedder
    from labkit.rag.index import FaissStore

    cached, embedder = lab.embedder, load_embedder("bundled", "float32")  # which keeps nothing
    store, bare = FaissStore.from_chunks(lab.vectors.chunks, cached), faiss.IndexFlatIP(real.shape[1])
    store.embedder = embedder
    bare.add(real)
    rival = f"by hand with faiss.IndexFlatIP, {len(real)} vectors"

    def by_hand(text: str) -> Any:
        return bare.search(embedder.model.encode([text], normalize_embeddings=True), 10)

    whole = _race(lambda text: store.similarity_search(text, 10), by_hand, texts)
    vectors = list(cached.encode(texts, query=True)[:, None])
    alone = _race(lambda one: store.search_vectors(one, 10), lambda one: bare.search(one, 10), vectors)
    return [
        Figure("FaissStore.similarity_search, encoding included", rival, *whole, "ms per query", more_is_better=False),
        Figure("FaissStore.search_vectors", rival, *alone, "ms per query", more_is_better=False),
    ]


def _race(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], asked: Sequence[Any]) -> tuple[float, float]:
    """Median milliseconds of each; they take turns, so that a busy moment hits both."""
    spent = np.empty((len(asked), 2))
    for row, one in zip(spent, asked, strict=True):
        for column, way in enumerate((ours, theirs)):
            began = time.perf_counter()
            way(one)
            row[column] = 1000 * (time.perf_counter() - began)
    return tuple(np.median(spent[1:], axis=0).tolist())  # the first call sets things up
