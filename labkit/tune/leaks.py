"""Test questions that slipped into the training set. Introduced in 07_prepare."""

from collections.abc import Sequence
from dataclasses import dataclass

from labkit.errors import LabError
from labkit.metrics import normalise


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

    With `near`, also those whose shingles overlap at least so much, from 0 to 1 (`labkit.tune.leaks_near`).

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
    from labkit.tune.leaks_near import near_leaks

    known = {(leak.train, leak.test) for leak in same}
    return same + [leak for leak in near_leaks(train, test, near) if (leak.train, leak.test) not in known]


def duplicates(texts: Sequence[str], near: float | None = None) -> list[Leak]:
    """Every two texts of one list that are the same, or nearly; `train` is then the earlier one's number, `test` the later's.

    >>> duplicates(["Who?", "Why?", "who"])
    [Leak(train=0, test=2, match='normalised', similarity=1.0)]
    """
    return [leak for leak in leaks(texts, texts, near) if leak.train < leak.test]


def refuse_leaks(
    train: Sequence[str], test: Sequence[str], near: float | None = None, allow: bool = False
) -> list[Leak]:
    """Raise LabError if a training question is a test question; told to `allow` it, give the leaks instead.

    >>> refuse_leaks(["How heavy is it?"], ["How long is it?"])
    []
    """
    found = leaks(train, test, near)
    if found and not allow:
        count = len({leak.train for leak in found})
        raise LabError(
            f"{count} training questions are test questions, the first '{train[found[0].train]}' "
            f"(number {found[0].train}, {found[0].match}): take them out of the training set"
        )
    return found
