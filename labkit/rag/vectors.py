"""Unit vectors in any FAISS index, which all of them can add to, delete from and filter; and how well a kind does.

A kind of index is measured by how much it finds, how fast, and in how many bytes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from labkit.errors import LabError


class VectorIndex:
    """Vectors numbered in the order they came; scores are inner products, of unit vectors: cosines.

    `factory` names the kind as FAISS does: "Flat" is exact, "SQ8" and "PQ48" store 1 byte a number and 48 bytes
    a vector, "IVF64,Flat" searches a few of 64 cells, "HNSW32" walks a graph of 32 neighbours; "IVF64,PQ48"
    combines. `effort` is a FAISS search parameter, "nprobe=16" (cells) or "efSearch=128" (graph).
    Raises `LabError` for a kind or an effort that FAISS does not know.

    >>> index = VectorIndex("HNSW32")
    >>> index.add(vectors); scores, numbers = index.search(queries, k=10)
    """

    def __init__(self, factory: str = "Flat", effort: str = "") -> None:
        self.factory, self.effort, self.mapped = factory, effort, False
        self._index: Any = None

    def __len__(self) -> int:
        return self._index.ntotal if self._index else 0

    def add(self, vectors: np.ndarray) -> None:
        """Add vectors (n, d) of length 1; the first batch trains a kind that is trained, so let it be large.

        Raises `LabError` for a first batch that is too small: FAISS needs a vector for each cell, and 256 for PQ.
        """
        self._check_writable()
        vectors = np.ascontiguousarray(vectors, "float32")
        if self._index is None:
            index = _new_index(vectors.shape[1], self.factory)
            try:
                index.train(vectors)
            except RuntimeError as error:
                problem = f"'{self.factory}' cannot be trained on {len(vectors)} vectors ({_reason(error)})"
                raise LabError(f"{problem}: begin with more, or begin with 'Flat' and rebuild later") from error
            self._index = index
            self.tune(self.effort)
        self._index.add(vectors)

    def tune(self, effort: str) -> None:
        """Search with another effort from now on; "" leaves it as it is."""
        import faiss

        self.effort = effort
        if effort and self._index is not None:
            try:
                faiss.ParameterSpace().set_index_parameters(self._index, effort)
            except RuntimeError as error:
                raise LabError(f"a '{self.factory}' index has no '{effort}': {_reason(error)}") from error

    def delete(self, numbers: np.ndarray) -> np.ndarray:
        """Forget these vectors; the old numbers of those that stay, in their new order.

        FAISS cannot take a vector out of a graph. So every kind is filled again with the vectors that stay: what was
        trained is kept, and a decoded vector has the code that it came from.
        """
        self._check_writable()
        kept = np.setdiff1d(np.arange(len(self)), numbers)
        vectors = self.vectors_at(kept)
        self._index.reset()
        self._index.add(vectors)
        return kept

    def search(self, queries: np.ndarray, k: int, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers nearest to `queries` (n, d), each (n, min(k, what there is)); number -1 is no hit.

        `among` are the numbers that may be found; they are compared one by one, so none is missed.
        """
        queries = np.ascontiguousarray(queries, "float32")
        k = min(k, len(self) if among is None else len(among))
        if not k:
            return np.empty((len(queries), 0), "float32"), np.empty((len(queries), 0), "int64")
        if among is None:
            return self._index.search(queries, k)
        among = np.asarray(among)
        scores = queries @ self.vectors_at(among).T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, axis=1), among[best]

    def vectors_at(self, numbers: np.ndarray) -> np.ndarray:
        """The vectors with these numbers, as this kind of index remembers them."""
        import faiss

        cells = faiss.try_extract_index_ivf(self._index)
        if cells is not None and cells.direct_map.no():
            cells.make_direct_map()
        return self._index.reconstruct_batch(np.ascontiguousarray(numbers, "int64"))

    def _check_writable(self) -> None:
        if self.mapped:
            raise LabError("a memory-mapped index cannot change: load it without mapped=True")

    def to_bytes(self) -> memoryview:
        """The index in FAISS's own format; `LabError` while it is empty."""
        import faiss

        if self._index is None:
            raise LabError("an empty index has no bytes: add vectors first")
        return memoryview(faiss.serialize_index(self._index))

    @classmethod
    def from_bytes(cls, data: Any, factory: str = "Flat", effort: str = "", mapped: bool = False) -> VectorIndex:
        """The index in `data`, any buffer; `mapped` reads vectors where they lie and refuses every change.

        Give it only bytes that were checked: FAISS trusts what it reads. Raises `LabError` if it cannot be read.
        """
        import faiss

        index, data = cls(factory, effort), np.frombuffer(data, "uint8")
        try:
            source = faiss.ZeroCopyIOReader(faiss.swig_ptr(data), data.nbytes)
            index._index = faiss.read_index(source) if mapped else faiss.deserialize_index(data)
        except RuntimeError as error:
            raise LabError(f"FAISS cannot read this index ({_reason(error)}): build it anew") from error
        index._mapping = data if mapped else None  # open as long as the index is there
        index.mapped = mapped
        return index


def _new_index(dimensions: int, factory: str) -> Any:
    """An empty FAISS index of unit vectors, set to search 8 cells or a list of 64 on a graph."""
    import torch  # noqa: F401  before faiss, or macOS crashes on two copies of OpenMP
    import faiss  # isort: skip

    if sys.platform == "darwin":
        faiss.omp_set_num_threads(1)
    try:
        index = faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise LabError(f"no '{factory}' index of {dimensions} dimensions ({_reason(error)}): try 'Flat'") from error
    inner = codes = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    if isinstance(inner, faiss.IndexIVF):
        inner.nprobe, inner.cp.min_points_per_centroid = min(8, inner.nlist), 1  # else FAISS prints advice
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efSearch, codes = 64, faiss.downcast_index(inner.storage)
    if hasattr(codes, "pq"):
        codes.pq.cp.min_points_per_centroid = 1
        codes.do_polysemous_training = False  # minutes of work for a search that is not used here
    return index


def _reason(error: RuntimeError) -> str:
    """What FAISS says went wrong, on one line, without the place in its code."""
    return " ".join(str(error).split("Error: ")[-1].split())[-120:]


def more_vectors(real: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """`count` unit vectors (count, d) like the real ones, which come first.

    Each new one is a real vector moved by 0.45 of the difference of two others: it varies in the directions
    in which real vectors vary, and has neighbours about as near as theirs.
    """
    rng, missing = np.random.default_rng(seed), max(0, count - len(real))
    some, plus, minus = (real[rng.integers(len(real), size=missing)] for _ in range(3))
    moved = some + np.float32(0.45) * (plus - minus)
    return np.concatenate([real[:count], moved / np.linalg.norm(moved, axis=1, keepdims=True)])


def recall(hits: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the wanted numbers (n, k) among the hits, row by row.

    >>> recall(np.array([[1, 2]]), np.array([[2, 3]]))
    0.5
    """
    return float(np.mean([np.isin(right, row).mean() for row, right in zip(hits, wanted, strict=True)]))


def milliseconds(search: Callable[[Any], Any], queries: Sequence[Any]) -> float:
    """Median time of a search for one query, given as a slice of `queries`, after one call to warm up."""
    search(queries[:1])
    seconds = []
    for place in range(len(queries)):
        began = time.perf_counter()
        search(queries[place : place + 1])
        seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds))


def trial(
    factory: str, efforts: Iterable[str], batches: Iterable[np.ndarray], queries: np.ndarray, wanted: np.ndarray
) -> list[dict[str, Any]]:
    """Build one index from batches of vectors (the first trains it), then search it with each effort, on one thread.

    Gives for each effort recall against the `wanted` numbers (n, k), milliseconds for a query, bytes for a vector and
    seconds of building.

    >>> trial("HNSW32", ["efSearch=16", "efSearch=64"], [vectors], queries, wanted)[0]["recall"]
    """
    import faiss

    index, began = VectorIndex(factory), time.perf_counter()
    for batch in batches:
        index.add(batch)
    seconds, threads = time.perf_counter() - began, faiss.omp_get_max_threads()
    row = {"factory": factory, "vectors": len(index), "seconds": seconds, "bytes": index.to_bytes().nbytes / len(index)}
    faiss.omp_set_num_threads(1)
    try:
        rows = []
        for effort in efforts:
            index.tune(effort)
            share = recall(index.search(queries, wanted.shape[1])[1], wanted)
            pace = milliseconds(lambda query: index.search(query, wanted.shape[1]), queries)
            rows.append(row | {"effort": effort, "recall": share, "ms": pace})
        return rows
    finally:
        faiss.omp_set_num_threads(threads)
