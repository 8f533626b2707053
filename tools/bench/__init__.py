"""What the project claims about its speed: the same work, done in turn by labkit and by named rivals, in one run."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import TypeVar

Result = TypeVar("Result")
Way = Callable[[], dict[str, float]]
"""Does the work once and gives what was measured, by unit."""
LESS = {"s", "ms", "MB", "bytes", "loss"}
"""What the units begin with of which less is better."""


@dataclass(frozen=True)
class Size:
    """How much a topic measures: little if `quick`, with these of the two models."""

    quick: bool = False
    models: tuple[str, ...] = ("smol", "pocket")


@dataclass(frozen=True)
class Contest:
    """One piece of work, our way and the rivals'. In place of a rival that is not installed stands what installs it.

    `rounds` is the most that are worth their time where one takes minutes.
    """

    work: str
    ours: Way
    rivals: Mapping[str, Way | str] = field(default_factory=dict)
    rounds: int | None = None


@dataclass(frozen=True)
class Figure:
    """Medians of the rounds. A ratio above 1 means that we did better; `lowest` and `highest` are those of single rounds."""

    work: str
    rival: str
    unit: str = ""
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None
    lowest: float | None = None
    highest: float | None = None
    install: str = ""


def measure(contest: Contest, rounds: int) -> list[Figure]:
    """Do the work some rounds long, and compare each unit with each rival's.

    All ways take turns within a round, so that a busy moment hits them alike. The first round also warms up: of five, the
    median leaves it out.

    >>> measure(Contest("sleep", timed(lambda: time.sleep(0.01), "s"), {"longer": timed(lambda: time.sleep(0.02), "s")}), 5)
    """
    ways = {"": contest.ours} | {rival: way for rival, way in contest.rivals.items() if not isinstance(way, str)}
    values: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(min(rounds, contest.rounds or rounds)):
        for name, way in ways.items():
            values[name].append(way())
    ours, figures = values.pop(""), []
    for rival, way in contest.rivals.items():
        if isinstance(way, str):
            figures.append(Figure(contest.work, rival, install=way))
        else:
            figures += [_compared(contest.work, rival, unit, ours, values[rival]) for unit in values[rival][0]]
    alone = [unit for unit in ours[0] if not any(figure.unit == unit for figure in figures)]
    return figures + [Figure(contest.work, "", unit, median(value[unit] for value in ours)) for unit in alone]


def _compared(work: str, rival: str, unit: str, ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> Figure:
    pairs = [(one[unit], other[unit]) for one, other in zip(ours, theirs, strict=True)]
    middle = [median(values) for values in zip(*pairs, strict=True)]
    ratios = [ratio for pair in pairs if (ratio := better(*pair, unit)) is not None]
    span = (min(ratios), max(ratios)) if ratios else (None, None)
    return Figure(work, rival, unit, *middle, better(*middle, unit), *span)


def better(ours: float, theirs: float, unit: str) -> float | None:
    """How many times better ours is, by the unit; None where a value of zero gives no ratio.

    >>> better(2.0, 3.0, "ms a query"), better(2.0, 3.0, "questions/s")
    (1.5, 0.6666666666666666)
    """
    if not ours or not theirs:
        return None
    return theirs / ours if unit.split()[0] in LESS else ours / theirs


def timed(
    work: Callable[[], Result],
    unit: str,
    amount: float = 1,
    checks: Mapping[str, Callable[[Result], float]] | None = None,
) -> Way:
    """A way that does the work once: "s" or "ms" for each of the `amount`, or else so many a second.

    `checks` say, by unit, how good the result is; they are not timed.

    >>> timed(lambda: sorted(range(1000)), "ms a number", 1000, {"share found": len})()["share found"]
    1000
    """

    def way() -> dict[str, float]:
        spent, result = clocked(work)
        value = {"s": spent, "ms": 1000 * spent}.get(unit.split()[0])
        measured = {unit: amount / spent if value is None else value / amount}
        return measured | {name: float(check(result)) for name, check in (checks or {}).items()}

    return way


def clocked(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that some work took, and what it gave."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def missing(*packages: str) -> bool:
    """Whether one of some packages cannot be imported; none of them is."""
    return any(find_spec(package) is None for package in packages)
