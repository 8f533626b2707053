"""Training questions that are nearly test questions: in their letters (MinHash), or in their meaning (embeddings).

Introduced in 07_prepare.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from labkit.errors import LabError
from labkit.metrics import normalise
from labkit.tune.leaks import Leak

if TYPE_CHECKING:
    from labkit.rag.embed import Embedder

SHINGLE = 5
"""Characters of a shingle."""
BANDS, ROWS = 32, 4
"""Two texts are compared if all rows of any band agree: 99 of 100 at a similarity of 0.6, nearly all above."""


def shingles(text: str) -> frozenset[str]:
    """Every run of five characters of the normalised text; a shorter text is one shingle.

    >>> sorted(shingles("How now?"))
    ['how n', 'ow no', 'w now']
    """
    text = normalise(text)
    return frozenset(text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Share of all the members of two sets that both have.

    >>> jaccard(frozenset("ab"), frozenset("b"))
    0.5
    """
    return len(a & b) / len(a | b)


@cache
def _hashes() -> tuple[np.ndarray, np.ndarray]:
    """Odd factors and offsets of the hash functions, each (BANDS * ROWS, 1) and always the same."""
    rng, size = np.random.default_rng(0), (BANDS * ROWS, 1)
    factors, offsets = (rng.integers(2**63, size=size, dtype=np.uint64) for _ in range(2))
    return factors * np.uint64(2) + np.uint64(1), offsets


def signature(parts: frozenset[str]) -> np.ndarray:
    """MinHash (Broder, 1997): of each of BANDS x ROWS hash functions the least value; shape (BANDS, ROWS), uint64.

    Two sets agree in one place with a probability that is their Jaccard similarity.

    >>> (signature(shingles("How now?")) == signature(shingles("how now"))).all()
    True
    """
    factors, offsets = _hashes()
    codes = np.array([zlib.crc32(part.encode("utf-8", "replace")) for part in parts], np.uint64)
    return ((factors * codes + offsets) >> np.uint64(32)).min(axis=1).reshape(BANDS, ROWS)


def near_leaks(train: Sequence[str], test: Sequence[str], threshold: float) -> list[Leak]:
    """Pairs of texts with a Jaccard similarity of their shingles of at least `threshold`, above 0 and up to 1.

    MinHash finds the candidates, so the time grows with the number of texts and not of pairs; each is then
    measured exactly. Raises LabError for another threshold. Introduced in 07_prepare.

    >>> near_leaks(["Quickly: how heavy is the pump?"], ["How heavy is the pump?"], 0.6)[0].match
    'near'
    """
    if not 0 < threshold <= 1:
        raise LabError(f"a similarity of {threshold} cannot be asked for: give a threshold above 0, up to 1")
    left, right = ([shingles(text) for text in texts] for texts in (train, test))
    places: dict[tuple[int, bytes], list[int]] = {}
    for j, parts in enumerate(right):
        for band, rows in enumerate(signature(parts)):
            places.setdefault((band, rows.tobytes()), []).append(j)
    found = []
    for i, parts in enumerate(left):
        rivals = {j for band, rows in enumerate(signature(parts)) for j in places.get((band, rows.tobytes()), [])}
        scores = [(j, jaccard(parts, right[j])) for j in sorted(rivals)]
        found += [Leak(i, j, "near", score) for j, score in scores if score >= threshold]
    return found


def similar_leaks(train: Sequence[str], test: Sequence[str], embedder: Embedder, threshold: float) -> list[Leak]:
    """Pairs of texts whose embeddings have a cosine of at least `threshold`. Introduced in 07_prepare.

    >>> similar_leaks(["How heavy is the pump?"], ["What does the pump weigh?"], embedder, 0.8)[0].match
    'similar'
    """
    if not train or not test:
        return []
    against = embedder.encode(test).T
    found = []
    for start in range(0, len(train), 1024):  # a block at a time, so that memory stays small
        cosines = embedder.encode(train[start : start + 1024]) @ against
        pairs = np.argwhere(cosines >= threshold)
        found += [Leak(start + int(i), int(j), "similar", float(cosines[i, j])) for i, j in pairs]
    return found
