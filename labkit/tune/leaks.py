"""Test questions that slipped into the training set, and a split that lets none through. Introduced in 07_prepare."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from labkit.errors import LabError
from labkit.metrics import normalise

if TYPE_CHECKING:
    from labkit.rag.embed import Embedder
    from labkit.tune.prepare import Example

SHINGLE = 5
"""Characters of a shingle."""
BANDS, ROWS = 32, 4
"""Two texts are compared if all rows of any band agree: 99 of 100 at a similarity of 0.6, nearly all above."""


@dataclass(frozen=True)
class Leak:
    """A test question found among the training questions, both by number, and how alike they are (1: the same).

    `match` is "exact", "normalised" (the same once normalised), "near" (many words shared) or "similar" (in meaning).
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
        places.setdefault(normalise(question), []).append(j)
    same = [
        Leak(i, j, "exact" if question == test[j] else "normalised")
        for i, question in enumerate(train)
        for j in places.get(normalise(question), [])
    ]
    if near is None:
        return same
    pairs = {(leak.train, leak.test) for leak in same}
    return same + [leak for leak in near_leaks(train, test, near) if (leak.train, leak.test) not in pairs]


def duplicates(texts: Sequence[str], near: float | None = None) -> list[Leak]:
    """Every two texts of one list that are the same, or nearly; `train` is then the earlier one's number, `test` the later's.

    >>> duplicates(["Who?", "Why?", "who"])
    [Leak(train=0, test=2, match='normalised', similarity=1.0)]
    """
    return [leak for leak in leaks(texts, texts, near) if leak.train < leak.test]


def refuse_leaks(
    train: Sequence[str], test: Sequence[str], near: float | None = None, allow: bool = False
) -> list[Leak]:
    """Raise LabError if a training question is a test question; with `allow`, give the leaks instead.

    >>> refuse_leaks(["How heavy is it?"], ["How long is it?"])
    []
    """
    hits = leaks(train, test, near)
    if hits and not allow:
        count = len({leak.train for leak in hits})
        raise LabError(
            f"{count} training questions are test questions, the first '{train[hits[0].train]}' "
            f"(number {hits[0].train}, {hits[0].match}): take them out of the training set"
        )
    return hits


def near_leaks(train: Sequence[str], test: Sequence[str], threshold: float) -> list[Leak]:
    """Pairs of texts with a Jaccard similarity of their shingles of at least `threshold`, above 0 and up to 1.

    MinHash finds the candidates, so the time grows with the number of texts and not of pairs; each is then
    measured exactly. Raises LabError for another threshold.

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
    hits = []
    for i, parts in enumerate(left):
        rivals = {j for band, rows in enumerate(signature(parts)) for j in places.get((band, rows.tobytes()), [])}
        scores = [(j, jaccard(parts, right[j])) for j in sorted(rivals)]
        hits += [Leak(i, j, "near", score) for j, score in scores if score >= threshold]
    return hits


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


def signature(parts: frozenset[str]) -> np.ndarray:
    """MinHash (Broder, 1997): of each of BANDS x ROWS hash functions the least value; shape (BANDS, ROWS), uint64.

    Two sets agree in one place with a probability that is their Jaccard similarity.

    >>> (signature(shingles("How now?")) == signature(shingles("how now"))).all()
    True
    """
    factors, offsets = _hashes()
    codes = np.array([zlib.crc32(part.encode("utf-8", "replace")) for part in parts], np.uint64)
    return ((factors * codes + offsets) >> np.uint64(32)).min(axis=1).reshape(BANDS, ROWS)


@cache
def _hashes() -> tuple[np.ndarray, np.ndarray]:
    """Odd factors and offsets of the hash functions, each (BANDS * ROWS, 1) and always the same."""
    rng, size = np.random.default_rng(0), (BANDS * ROWS, 1)
    factors, offsets = (rng.integers(2**63, size=size, dtype=np.uint64) for _ in range(2))
    return factors * np.uint64(2) + np.uint64(1), offsets


def similar_leaks(train: Sequence[str], test: Sequence[str], embedder: Embedder, threshold: float) -> list[Leak]:
    """Pairs of texts whose embeddings have a cosine of at least `threshold`.

    >>> similar_leaks(["How heavy is the pump?"], ["What does the pump weigh?"], embedder, 0.8)[0].match
    'similar'
    """
    if not train or not test:
        return []
    against = embedder.encode(test).T
    hits = []
    for start in range(0, len(train), 1024):  # a block at a time, so that memory stays small
        cosines = embedder.encode(train[start : start + 1024]) @ against
        pairs = np.argwhere(cosines >= threshold)
        hits += [Leak(start + int(i), int(j), "similar", float(cosines[i, j])) for i, j in pairs]
    return hits


@dataclass(frozen=True)
class Split:
    """Numbers of the examples to train on, to test on, and those that belong to both sides and are used on neither.

    `leaks` are numbered within `train` and `test`; there are none unless they were allowed.
    """

    train: list[int]
    test: list[int]
    dropped: list[int]
    leaks: list[Leak]


def split(
    examples: Sequence[Example],
    by: str | None,
    share: float = 0.2,
    seed: int = 0,
    near: float | None = 0.8,
    allow_leaks: bool = False,
) -> Split:
    """Test on `share` of the values of a tag, and train on the others; without a tag, each example stands alone.

    A tag may hold several values, as a comparison has two entities. Then the questions of both sides are compared
    (`leaks`): raises LabError if one leaks, unless `allow_leaks`; also for an example without the tag,
    and for a share that leaves a side empty.

    >>> parts = split(examples, by="entity")
    >>> {examples[i].tags["entity"] for i in parts.train} & {examples[i].tags["entity"] for i in parts.test}
    set()
    """
    keys = [_keys(n, example, by) for n, example in enumerate(examples)]
    groups = sorted({key for own in keys for key in own})
    held = set(Random(seed).sample(groups, round(share * len(groups)) if 0 < share < 1 else 0))
    sides: dict[bool | None, list[int]] = {True: [], False: [], None: []}
    for n, own in enumerate(keys):
        sides[own <= held if own <= held or not own & held else None].append(n)
    train, test, dropped = sides[False], sides[True], sides[None]
    if not train or not test:
        raise LabError(
            f"a share of {share} of {len(groups)} groups leaves {len(train)} to train, {len(test)} to test on"
        )
    asked = [[examples[n].question for n in side] for side in (train, test)]
    return Split(train, test, dropped, refuse_leaks(*asked, near, allow_leaks))


def _keys(n: int, example: Example, by: str | None) -> frozenset[str]:
    """The groups that an example belongs to."""
    if by is None:
        return frozenset({f"{n:09d}"})
    tag = example.tags.get(by)
    keys = frozenset(map(str, tag)) if isinstance(tag, list | tuple) else frozenset({str(tag or "")})
    if not keys - {""}:
        raise LabError(f"example {n} has no tag '{by}': its tags are {sorted(example.tags)}")
    return keys
