"""How much a kind of index finds, how fast and in how many bytes. Introduced in 04_index."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from labkit.rag.index_vectors import VectorIndex


def more_vectors(real: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """`count` unit vectors (count, d) like the real ones, which come first.

    Each new one is a real vector moved by 0.45 of the difference of two others: it varies in the directions
    in which real vectors vary, and has neighbours about as near as theirs. Introduced in 04_index.

    >>> more_vectors(real, 10_000).shape
    (10000, 384)
    """
    rng, made = np.random.default_rng(seed), max(0, count - len(real))
    some, plus, minus = (real[rng.integers(len(real), size=made)] for _ in range(3))
    moved = some + np.float32(0.45) * (plus - minus)
    return np.concatenate([real[:count], moved / np.linalg.norm(moved, axis=1, keepdims=True)])


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the wanted numbers (n, k) that were found, row by row.

    >>> recall(np.array([[1, 2]]), np.array([[2, 3]]))
    0.5
    """
    return float(np.mean([np.isin(right, row).mean() for row, right in zip(found, wanted, strict=True)]))


def milliseconds(search: Callable[[Any], Any], queries: Sequence[Any]) -> float:
    """Median time of a search for one query, given as a slice of `queries`, after one call to warm up.

    >>> milliseconds(lambda one: index.search(one, 10), queries)
    """
    search(queries[:1])
    spent = []
    for place in range(len(queries)):
        began = time.perf_counter()
        search(queries[place : place + 1])
        spent.append(time.perf_counter() - began)
    return 1000 * float(np.median(spent))


def trial(
    factory: str, efforts: Iterable[str], batches: Iterable[np.ndarray], queries: np.ndarray, wanted: np.ndarray
) -> list[dict[str, Any]]:
    """Build one index from batches of vectors (the first trains it), then search it with each effort, on one thread.

    Gives for each effort recall against the `wanted` numbers (n, k), milliseconds for a query, bytes for a vector and
    seconds of building. Introduced in 04_index.

    >>> trial("HNSW32", ["efSearch=16", "efSearch=64"], [vectors], queries, wanted)[0]["recall"]
    """
    import faiss

    index, began = VectorIndex(factory), time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "an index trained on")
        for batch in batches:
            index.add(batch)
    built = {"factory": factory, "vectors": len(index), "seconds": time.perf_counter() - began}
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return [
            {**built, "bytes": index.nbytes / len(index), **row} for row in _searched(index, efforts, queries, wanted)
        ]
    finally:
        faiss.omp_set_num_threads(threads)


def _searched(
    index: VectorIndex, efforts: Iterable[str], queries: np.ndarray, wanted: np.ndarray
) -> Iterator[dict[str, Any]]:
    k = wanted.shape[1]
    for effort in efforts:
        index.tune(effort)
        found = index.search(queries, k)[1]
        spent = milliseconds(lambda query: index.search(query, k), queries)
        yield {"effort": effort, "recall": recall(found, wanted), "ms": spent}
