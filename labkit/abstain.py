"""See whether an answer declines, and how well declining matches what could not be answered.

Introduced in 12_compare.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SOURCE = r"(?:documents?|context|passages?|texts?|sources?|excerpts?|(?:provided|given|available) information)"
_SAY = r"(?:say|state|mention|specify|include|contain|provide|give|list|answer|tell|indicate|have)"
_SAID = r"(?:said|stated|mentioned|specified|included|contained|provided|given|listed|found|available|known)"
_DECLINES = re.compile(
    rf"\b{_SOURCE}\b[^.?!]{{0,40}} (?:do|does|did) not (?:\w+ly )?{_SAY}\b"
    rf"|\bnot (?:\w+ly )?{_SAID} (?:in|by|from) (?:\w+ ){{0,3}}{_SOURCE}\b"
    r"|\b(?:(?:no|not enough|insufficient) (?:\w+ )?information|no (?:mention|answer|details))\b"
    r"|\b(?:i|we) (?:do|could|can) not (?:\w+ly )?(?:know|find|answer|determine|tell|say|have)\b"
    r"|\b(?:i am|i'm|we are) (?:unsure|not (?:sure|certain|aware))\b|\bun(?:able to|clear|answerable)\b"
    r"|\b(?:can|could) not be (?:answered|determined|found|established)\b"
    rf"|^\W*(?:(?:it|this|that) is )?(?:unknown|n/a|not {_SAID})\W*$"
)


def abstained(text: str) -> bool:
    """Whether the answer declines, as small and large models word it; an empty answer declines too.

    Introduced in 12_compare.

    >>> abstained("The documents do not say."), abstained("It does not include VAT: $42.")
    (True, False)
    """
    light = " ".join(text.casefold().replace("’", "'").split())
    light = light.replace("can't", "can not").replace("cannot", "can not").replace("n't", " not")
    return not light or _DECLINES.search(light) is not None


class Abstention(NamedTuple):
    """How well declining matches what could not be answered, each from 0 to 1."""

    precision: float
    recall: float
    f1: float


def abstention(declined: Sequence[bool], unanswerable: Sequence[bool]) -> Abstention:
    """Precision, recall and F1 of declining over one pair per question; what is undefined is 0.

    Introduced in 12_compare.

    >>> abstention([True, True, False], [True, False, False])
    Abstention(precision=0.5, recall=1.0, f1=0.6666666666666666)
    """
    said, true = np.asarray(declined, bool), np.asarray(unanswerable, bool)
    right = int((said & true).sum())
    precision, recall = right / max(int(said.sum()), 1), right / max(int(true.sum()), 1)
    return Abstention(precision, recall, float(f1_abstention(said, true)))


def f1_abstention(declined: ArrayLike, unanswerable: ArrayLike) -> NDArray[np.float64]:
    """F1 of declining along the last axis: it scores many resamples at once. Introduced in 12_compare.

    >>> float(f1_abstention([True, False], [True, False]))
    1.0
    """
    said, true = np.asarray(declined, bool), np.asarray(unanswerable, bool)
    total = said.sum(-1) + true.sum(-1)
    return 2 * (said & true).sum(-1) / np.maximum(total, 1)
