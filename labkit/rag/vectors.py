"""Unit vectors in any FAISS index, which all of them can add to, delete from and filter; and how well a kind does.

A kind of index is measured by how much it finds, how fast, and in how many bytes.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from labkit.errors import LabError

BLOCK = 16_384
"""Vectors decoded at once by a search among some of them: 25 MB at 384 dimensions."""


class VectorIndex:
    """Vectors numbered in the order they came; scores are inner products, of unit vectors: cosines.

    `factory` names the kind as FAISS does: "Flat" is exact, "SQ8" and "PQ48" store 1 byte a number and 48 bytes
    a vector, "IVF64,Flat" searches a few of 64 cells, "HNSW32" walks a graph of 32 neighbours; "IVF64,PQ48"
    combines. `effort` is a FAISS search parameter, "nprobe=16" (cells) or "efSearch=128" (graph).
    A kind that must be trained holds its vectors exactly until there are enough of them (`waiting`).
    Raises `LabError` for a kind or an effort that FAISS does not know. Introduced in 04_index.

    >>> index = VectorIndex("HNSW32")
    >>> index.add(vectors); scores, numbers = index.search(queries, k=10)
    """

    def __init__(self, factory: str = "Flat", effort: str = "") -> None:
        self.factory, self.effort = factory, effort
        self.waiting = self.mapped = False
        self._index: Any = None
        self._alive = np.zeros(0, bool)

    def __len__(self) -> int:
        return int(self._alive.sum())

    def add(self, vectors: np.ndarray) -> None:
        """Add vectors (n, d) of length 1; the first batch trains a kind that is trained, so let it be large."""
        self._check_writable()
        vectors = np.ascontiguousarray(vectors, "float32")
        if self._index is None or self.waiting:
            self._begin(vectors)
        self._index.add(vectors)
        self._alive = np.append(self._alive, np.ones(len(vectors), bool))

    def _begin(self, vectors: np.ndarray) -> None:
        held = self.vectors_at(np.arange(len(self))) if self.waiting else vectors[:0]
        index = _new_index(vectors.shape[1], self.factory)
        self.waiting = not _train(index, np.concatenate([held, vectors]))
        if not self.waiting:
            index.add(held)
            self._index = index
            self.tune(self.effort)
        elif self._index is None:
            self._index = _new_index(vectors.shape[1], "Flat")

    def tune(self, effort: str) -> None:
        """Search with another effort from now on; "" leaves it as it is."""
        import faiss

        self.effort = effort
        if effort and self._index is not None and not self.waiting:
            try:
                faiss.ParameterSpace().set_index_parameters(self._index, effort)
            except RuntimeError as error:
                raise LabError(f"a '{self.factory}' index has no '{effort}': {_reason(error)}") from error

    def delete(self, numbers: np.ndarray) -> np.ndarray | None:
        """Forget these vectors; None if the others keep their numbers, else the old number of each that stays.

        FAISS cannot take a vector out of a graph: IVF and HNSW pass over the deleted until they are the majority.
        """
        import faiss

        self._check_writable()
        self._alive[numbers] = False
        if self._passes_over() and 2 * len(self) > len(self._alive):
            return None
        kept = np.flatnonzero(self._alive)
        if isinstance(self._index, faiss.IndexFlatCodes):
            self._index.remove_ids(np.flatnonzero(~self._alive))
            self._alive = self._alive[kept]
            return kept
        return self.compact()

    def compact(self) -> np.ndarray:
        """Build again from the vectors that stay, so that nothing deleted is left; their old numbers."""
        kept = np.flatnonzero(self._alive)
        vectors = self.vectors_at(kept)
        self._index.reset()  # what was trained stays, and a decoded vector has the code it came from
        self._index.add(vectors)
        self._alive = np.ones(len(kept), bool)
        return kept

    def search(self, queries: np.ndarray, k: int, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers nearest to `queries` (n, d), each (n, min(k, what there is)); number -1 is no hit.

        `among` are the numbers that may be found; they are compared one by one, so none is missed.
        """
        queries = np.ascontiguousarray(queries, "float32")
        k = min(k, len(self) if among is None else len(among))
        if not k:
            return np.empty((len(queries), 0), "float32"), np.empty((len(queries), 0), "int64")
        if among is not None:
            return self._search_among(queries, k, np.asarray(among))
        whole = len(self) == len(self._alive)
        return self._index.search(queries, k, params=None if whole else self._living())

    def _search_among(self, queries: np.ndarray, k: int, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        heap = faiss.ResultHeap(len(queries), k, keep_max=True)
        for start in range(0, len(among), BLOCK):
            block = among[start : start + BLOCK]
            scores = queries @ self.vectors_at(block).T
            heap.add_result(scores, np.tile(block.astype("int64"), (len(queries), 1)))
        heap.finalize()
        return heap.D, heap.I

    def vectors_at(self, numbers: np.ndarray) -> np.ndarray:
        """The vectors with these numbers, as this kind of index remembers them."""
        import faiss

        cells = faiss.try_extract_index_ivf(self._index)
        if cells is not None and cells.direct_map.no():
            cells.make_direct_map()
        return self._index.reconstruct_batch(np.ascontiguousarray(numbers, "int64"))

    def _passes_over(self) -> bool:
        import faiss

        return isinstance(self._index, faiss.IndexIVF | faiss.IndexHNSW)

    def _living(self) -> Any:
        import faiss

        chosen = faiss.IDSelectorBitmap(np.packbits(self._alive, bitorder="little"))
        if isinstance(self._index, faiss.IndexIVF):
            return faiss.SearchParametersIVF(sel=chosen, nprobe=self._index.nprobe)
        return faiss.SearchParametersHNSW(sel=chosen, efSearch=self._index.hnsw.efSearch)

    def _check_writable(self) -> None:
        if self.mapped:
            raise LabError("a memory-mapped index cannot change: load it without mapped=True")

    @property
    def nbytes(self) -> int:
        """Bytes of the index as it is saved."""
        import faiss

        sizes: list[int] = []
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(lambda block: sizes.append(len(block))))
        return sum(sizes)

    def to_bytes(self) -> memoryview:
        """The index in FAISS's own format; `LabError` while it is empty."""
        import faiss

        if self._index is None:
            raise LabError("an empty index has no bytes: add vectors first")
        return memoryview(faiss.serialize_index(self._index))

    @classmethod
    def from_bytes(cls, data: Any, factory: str, effort: str, waiting: bool, mapped: bool = False) -> VectorIndex:
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
        index._alive, index.waiting, index.mapped = np.ones(index._index.ntotal, bool), waiting, mapped
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
    inner, codes = _parts(index)
    if isinstance(inner, faiss.IndexIVF):
        inner.nprobe, inner.cp.min_points_per_centroid = min(8, inner.nlist), 1
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efSearch = 64
    if hasattr(codes, "pq"):
        codes.pq.cp.min_points_per_centroid = 1
        codes.do_polysemous_training = False  # minutes of work for a search that is not used here
    return index


def _parts(index: Any) -> tuple[Any, Any]:
    """The index behind a rotation or projection, and what holds its vectors: a graph's storage or itself."""
    import faiss

    inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    return inner, faiss.downcast_index(inner.storage) if isinstance(inner, faiss.IndexHNSW) else inner


def _train(index: Any, vectors: np.ndarray) -> bool:
    """Train on vectors (n, d); False if they are too few. Warns where FAISS would advise more."""
    inner, codes = _parts(index)
    centroids = max(getattr(inner, "nlist", 0), codes.pq.ksub if hasattr(codes, "pq") else 0)
    if len(vectors) < centroids:
        return False
    if len(vectors) < 39 * centroids:
        advice = f"an index trained on {len(vectors)} vectors, where FAISS advises {39 * centroids} or more"
        warnings.warn(f"{advice}: add a larger first batch, or rebuild() when there are more", stacklevel=6)
    try:
        index.train(vectors)
    except RuntimeError as error:
        raise LabError(f"the index cannot be trained on {len(vectors)} vectors ({_reason(error)})") from error
    return True


def _reason(error: RuntimeError) -> str:
    """What FAISS says went wrong, on one line, without the place in its code."""
    return " ".join(str(error).split("Error: ")[-1].split())[-120:]


def more_vectors(real: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """`count` unit vectors (count, d) like the real ones, which come first.

    Each new one is a real vector moved by 0.45 of the difference of two others: it varies in the directions
    in which real vectors vary, and has neighbours about as near as theirs. Introduced in 04_index.

    >>> more_vectors(real, 10_000).shape
    (10000, 384)
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
    """Median time of a search for one query, given as a slice of `queries`, after one call to warm up.

    >>> milliseconds(lambda one: index.search(one, 10), queries)
    """
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
        hits = index.search(queries, k)[1]
        pace = milliseconds(lambda query: index.search(query, k), queries)
        yield {"effort": effort, "recall": recall(hits, wanted), "ms": pace}
