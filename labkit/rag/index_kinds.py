"""The kinds of FAISS index, made by name and trained. Introduced in 04_index."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from labkit.errors import LabError


def new_index(dimensions: int, factory: str) -> Any:
    """An empty FAISS index of unit vectors, set to search 8 cells or a list of 64 on a graph.

    Raises `LabError` for a kind that FAISS does not know. Introduced in 04_index.

    >>> new_index(384, "IVF64,Flat").nprobe
    8
    """
    import torch  # noqa: F401  before faiss, or macOS crashes on two copies of OpenMP
    import faiss  # isort: skip

    if sys.platform == "darwin":
        faiss.omp_set_num_threads(1)
    try:
        index = faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise LabError(f"no '{factory}' index of {dimensions} dimensions ({reason(error)}): try 'Flat'") from error
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


def train(index: Any, vectors: np.ndarray) -> bool:
    """Train on vectors (n, d); False if they are too few. Warns where FAISS would advise more.

    Raises `LabError` where FAISS cannot train this kind. Introduced in 04_index.
    """
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
        raise LabError(f"the index cannot be trained on {len(vectors)} vectors ({reason(error)})") from error
    return True


def reason(error: RuntimeError) -> str:
    """What FAISS says went wrong, on one line."""
    return " ".join(str(error).split("Error: ")[-1].split())[-120:]
