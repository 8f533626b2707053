"""What a lesson's exercises consist of, read from their source. Introduced in 00_start."""

import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.profile import ROOT

SOURCES = ROOT / "notebooks" / "exercises" / "source"
LETTERS = "abcdefgh"
"""What a question's choices are called."""


@dataclass(frozen=True)
class Exercise:
    """A solution, the arguments it is compared on, a hint, and mistakes (old, new) that the cases must find."""

    solution: Callable[..., Any]
    cases: Sequence[tuple[Any, ...]]
    hint: str
    wrong: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Question:
    """A question to recall the lesson by: `right` is the letter of the right choice, a for the first."""

    text: str
    choices: Sequence[str]
    right: str
    why: str


@dataclass(frozen=True)
class Lesson:
    """The exercises of a lesson by name, and its questions."""

    path: Path
    exercises: dict[str, Exercise]
    questions: Sequence[Question]


def exercise(
    cases: Sequence[tuple[Any, ...]], hint: str, wrong: Sequence[tuple[str, str]]
) -> Callable[[Callable[..., Any]], Exercise]:
    """Make a solution an exercise; `wrong` lists slips: a part of the solution, and what it becomes.

    Introduced in 00_start.

    >>> @exercise(cases=[(2,), (3,)], hint="Times itself.", wrong=[("x * x", "x + x")])
    ... def square(x):
    ...     return x * x
    """
    return lambda solution: Exercise(solution, cases, hint, wrong)


def sources() -> list[Path]:
    """The exercises' sources in the order of the course."""
    return sorted(SOURCES.glob("[0-9][0-9]_*.py"))


@cache
def lesson(number: str) -> Lesson:
    """The exercises of a lesson, by its number; LabError if it has none. Introduced in 00_start.

    >>> list(lesson("02").exercises)[0]
    'spans'
    """
    paths = {path.stem[:2]: path for path in sources()}
    if number not in paths:
        raise LabError(f"lesson '{number}' has no exercises: choose {', '.join(paths)}")
    found = runpy.run_path(str(paths[number]))
    named = {name: value for name, value in found.items() if isinstance(value, Exercise)}
    return Lesson(paths[number], named, found["QUESTIONS"])
