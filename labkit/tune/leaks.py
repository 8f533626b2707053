"""Test questions that slipped into the training set. Lesson 07 plants some, and splits so that none slips through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from labkit.errors import LabError
from labkit.text import plain, words

if TYPE_CHECKING:
    from scipy.sparse import csr_array


SHINGLE = 5
"""Characters of a shingle."""
BLOCK = 1024
"""Training texts that are compared at a time, so that memory stays small."""


@dataclass(frozen=True)
class Leak:
    """A test question found among the training questions, both by number, and how alike they are (1: the same).

    `match` is "exact", "normalised" (the same once normalised) or "near" (many shingles shared).
    """

    train: int
    test: int
    match: str
    similarity: float = 1.0


def leaks(train: Sequence[str], test: Sequence[str], near: float | None = None) -> list[Leak]:
    """Every training question that is also a test question: the same text, or the same once normalised.

    With `near`, also those whose shingles overlap at least so much, from 0 to 1 (`near_leaks`).

    >>> leaks(["What is it?"], ["what is it"])
    [Leak(train=0, test=0, match='normalised', similarity=1.0)]
    """
    places: dict[str, list[int]] = {}
    for j, question in enumerate(test):
        places.setdefault(_key(question), []).append(j)
    same = [
        Leak(i, j, "exact" if question == test[j] else "normalised")
        for i, question in enumerate(train)
        for j in places.get(_key(question), [])
    ]
    if near is None:
        return same
    pairs = {(leak.train, leak.test) for leak in same}
    return same + [leak for leak in near_leaks(train, test, near) if (leak.train, leak.test) not in pairs]


def _key(text: str) -> str:
    """What a question says, without articles and punctuation; numbers keep their sign and decimal mark."""
    return " ".join(word for word in words(text, 1) if word not in ("a", "an", "the")) or plain(text)


def duplicates(texts: Sequence[str], near: float | None = None) -> list[Leak]:
    """Every two texts of one list that are the same, or nearly; `train` is the earlier's number, `test` the later's."""
    return [leak for leak in leaks(texts, texts, near) if leak.train < leak.test]


def refuse_leaks(train: Sequence[str], test: Sequence[str]) -> None:
    """Raise LabError if a training question is a test question, the same text or the same once normalised."""
    if hits := leaks(train, test):
        count = len({leak.train for leak in hits})
        raise LabError(
            f"{count} training questions are test questions, the first '{train[hits[0].train]}' "
            f"(number {hits[0].train}, {hits[0].match}): take them out of the training set"
        )


def near_leaks(train: Sequence[str], test: Sequence[str], threshold: float) -> list[Leak]:
    """Pairs of texts with a Jaccard similarity of their shingles of at least `threshold`, above 0 and up to 1.

    Shingles are the runs of five characters of what the texts say (`_key`); a shorter text is one. Raises LabError for another
    threshold.
    """
    if not 0 < threshold <= 1:
        raise LabError(f"a similarity of {threshold} cannot be asked for: give a threshold above 0, up to 1")
    grid = _shingles([*train, *test])
    left, right = grid[: len(train)], grid[len(train) :]
    sizes, hits = right.sum(axis=1), []
    for start in range(0, len(train), BLOCK):
        block = left[start : start + BLOCK]
        shared = (block @ right.T).tocoo()
        alike = shared.data / (block.sum(axis=1)[shared.row] + sizes[shared.col] - shared.data)
        close = alike >= threshold
        triples = zip(shared.row[close] + start, shared.col[close], alike[close], strict=True)
        hits += sorted((int(i), int(j), float(score)) for i, j, score in triples)
    return [Leak(i, j, "near", score) for i, j, score in hits]


def _shingles(texts: Sequence[str]) -> csr_array:
    """A row for each text, with a 1 in the column of each of its shingles."""
    from scipy.sparse import csr_array

    rows, columns = [], {}
    for text in map(_key, texts):
        own = {text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1))}
        rows.append([columns.setdefault(shingle, len(columns)) for shingle in own])
    ends = np.cumsum([0, *map(len, rows)])
    return csr_array((np.ones(ends[-1]), np.fromiter(chain(*rows), int), ends), (len(rows), len(columns)))
