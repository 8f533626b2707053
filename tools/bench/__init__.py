"""What the project claims about its speed, each a ratio against a named rival on the same work in the same run."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured claim: `ours` and `theirs` in `unit`; `ratio` above 1 means that we did better."""

    name: str
    rival: str
    ours: float
    theirs: float
    unit: str
    more_is_better: bool = True

    @property
    def ratio(self) -> float:
        """How many times better than the rival."""
        return self.ours / self.theirs if self.more_is_better else self.theirs / self.ours


def milliseconds(
    ours: Callable[[Any], Any], theirs: Callable[[Any], Any], asked: Sequence[Any], rounds: int = 1
) -> tuple[float, float]:
    """Median milliseconds a call of each, the first left out; they take turns, so that a busy moment hits both."""
    spent: tuple[list[float], list[float]] = [], []
    for one in [asked[0], *list(asked) * rounds]:
        for way, times in zip((ours, theirs), spent, strict=True):
            began = time.perf_counter()
            way(one)
            times.append(1000 * (time.perf_counter() - began))
    return median(spent[0][1:]), median(spent[1][1:])
