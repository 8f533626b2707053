"""Run a learner's function on hidden cases beside the solution, and ask questions. Introduced in 00_start."""

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import FunctionType
from typing import Any

from labkit.errors import LabError
from labkit.exercises.lesson import LETTERS, Exercise, lesson
from labkit.exercises.progress import count
from labkit.profile import ROOT

PATIENCE = 3
"""From this failure on, `check` says where the solution is."""


def fault(asked: Exercise, function: Callable[..., Any]) -> str | None:
    """The first case in which a function does not give what the solution does, as expected against got; None if all agree.

    Numbers may differ by rounding, and a tuple or an array counts as the list of the same values.
    """
    for case in asked.cases:
        expected = _plain(asked.solution(*deepcopy(case)))
        try:
            with _limited():
                got = _plain(function(*deepcopy(case)))
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        else:
            if _same(expected, got):
                continue
            told = repr(got)
        call = f"{asked.solution.__name__}({', '.join(map(repr, case))})"
        return f"{call}\n  expected: {expected!r}\n  got:      {told[:500]}"
    return None


@contextmanager
def _limited(seconds: float = 2) -> Iterator[None]:
    """TimeoutError for a loop without end, where the system can interrupt (not on Windows, nor beside the main thread)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"not done after {seconds:g} seconds of computing: does every loop end?")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _plain(value: Any) -> Any:
    """The value with arrays and tuples as lists, at any depth."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return {key: _plain(part) for key, part in value.items()} if isinstance(value, dict) else value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return bool(a == b)


def _stub() -> None:
    """What a function compiles to that nobody filled in."""
    ...


def check(number: str, function: FunctionType) -> None:
    """Compare the learner's function with the solution on hidden cases, print what was found, and count it.

    The hint comes with the first failure, the solution's place with the third; a stub is no try. LabError for a function that is no
    exercise of this lesson. Introduced in 00_start.

    >>> check("02", spans)
    """
    known, name = lesson(number), function.__name__
    if name not in known.exercises:
        raise LabError(f"lesson {number} has no exercise '{name}': choose {', '.join(known.exercises)}")
    asked = known.exercises[name]
    if function.__code__.co_code == _stub.__code__.co_code:
        print(f"{name}: fill it in, then run this again")
        return
    found = fault(asked, function)
    failures = count(known.path.stem, name, found is None)
    if found is None:
        print(f"{name}: right in all {len(asked.cases)} cases")
        return
    print(f"{found}\nHint: {asked.hint}")
    if failures >= PATIENCE:
        print(f"The solution: {known.path.relative_to(ROOT)}, {name}")


def quiz(number: str, which: int, answer: str) -> None:
    """Say whether a question's answer, given as its letter, is right, and why. Introduced in 00_start.

    Raises LabError for a question or a letter that is not there.

    >>> quiz("02", 1, "a")
    """
    known = lesson(number)
    if not 1 <= which <= len(known.questions):
        raise LabError(f"lesson {number} has no question {which}: choose 1 to {len(known.questions)}")
    asked = known.questions[which - 1]
    letters = list(LETTERS[: len(asked.choices)])
    if not answer:
        print(f"Your answer, {', '.join(letters[:-1])} or {letters[-1]}, goes between the quotation marks.")
        return
    if answer not in letters:
        raise LabError(f"question {which} has no answer '{answer}': choose {', '.join(letters)}")
    right = answer == asked.right
    count(known.path.stem, f"question {which}", right)
    print(f"Right. {asked.why}" if right else "No: think again.")
