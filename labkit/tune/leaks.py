"""Test questions that slipped into the training set. Introduced in 07_prepare."""

from collections.abc import Sequence
from dataclasses import dataclass

from labkit.errors import LabError
from labkit.metrics import normalise


@dataclass(frozen=True)
class Leak:
    """A test question found among the training questions: "exact" or, after normalisation, "normalised"."""

    train: int
    test: int
    match: str


def leaks(train: Sequence[str], test: Sequence[str]) -> list[Leak]:
    """Every training question that is also a test question: the same text, or the same once normalised.

    >>> leaks(["What is it?"], ["what is it"])
    [Leak(train=0, test=0, match='normalised')]
    """
    places: dict[str, list[int]] = {}
    for j, question in enumerate(test):
        places.setdefault(normalise(question), []).append(j)
    return [
        Leak(i, j, "exact" if question == test[j] else "normalised")
        for i, question in enumerate(train)
        for j in places.get(normalise(question), [])
    ]


def refuse_leaks(train: Sequence[str], test: Sequence[str]) -> None:
    """Raise LabError if a training question is a test question.

    >>> refuse_leaks(["How heavy is it?"], ["How long is it?"])
    """
    found = leaks(train, test)
    if found:
        raise LabError(
            f"{len(found)} training questions are test questions, the first '{train[found[0].train]}' "
            f"(number {found[0].train}): take them out of the training set"
        )
