"""Exercises that check themselves: the learner fills in a function, hidden cases say what is wrong with it.

The notebooks beside this file import it. A lesson's exercises are read from their source; tries and passes are kept in `progress.json` beside the runs.
"""

import json
import math
import runpy
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError
from labkit.store import ROOT, runs_folder, write_json

if TYPE_CHECKING:
    from labkit.compare.lab import Lab

SOURCES = Path(__file__).with_name("source")
LETTERS = "abcdefgh"  # what a question's choices are called
PATIENCE = 3  # from this failure on, `check` says where the solution is


@dataclass(frozen=True)
class Exercise:
    """A solution, the arguments it is compared on, a hint, and mistakes (old, new) that the cases must find.

    A call may compute for `seconds`.
    """

    solution: Callable[..., Any]
    cases: Sequence[tuple[Any, ...]]
    hint: str
    wrong: Sequence[tuple[str, str]]
    seconds: float = 2

    def __call__(self, *arguments: Any) -> Any:
        """What the solution gives, so that a later solution can use it."""
        return self.solution(*arguments)

    @cached_property
    def expected(self) -> list[Any]:
        """What the solution gives in each case, computed once: it may train."""
        return [_plain(self.solution(*deepcopy(case))) for case in self.cases]


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
    cases: Sequence[tuple[Any, ...]], hint: str, wrong: Sequence[tuple[str, str]], seconds: float = 2
) -> Callable[..., Exercise]:
    """Make a solution an exercise; `wrong` lists slips: a part of the solution, and what it becomes."""
    return lambda solution: Exercise(solution, cases, hint, wrong, seconds)


@cache
def open_lab() -> "Lab":
    """The pocket model and the company's documents; every exercise works with the same lab, so that nothing loads twice."""
    from labkit import open

    return open("pocket", progress=False)


def sources() -> list[Path]:
    """The exercises' sources in the order of the course, in which 0a comes after 00 and before 01."""
    found = SOURCES.glob("[0-9][0-9a-z]_*.py")
    return sorted(found, key=lambda path: path.name if path.name[1].isdigit() else f"{path.name[0]}0{path.name[1:]}")


@cache
def lesson(number: str) -> Lesson:
    """The exercises of a lesson, by its number; LabError if it has none.

    >>> list(lesson("02").exercises)[0]
    'spans'
    """
    paths = {path.stem[:2]: path for path in sources()}
    if number not in paths:
        raise LabError(f"lesson '{number}' has no exercises: choose {', '.join(paths)}")
    names = runpy.run_path(str(paths[number]))
    exercises = {name: value for name, value in names.items() if isinstance(value, Exercise)}
    return Lesson(paths[number], exercises, names["QUESTIONS"])


def fault(task: Exercise, function: Callable[..., Any]) -> str | None:
    """The first case in which a function does not give what the solution does, as expected against got; None if all agree.

    Numbers may differ by rounding, and a tuple or an array counts as the list of the same values.
    """
    for case, expected in zip(task.cases, task.expected, strict=True):
        try:
            with _limited(task.seconds):
                result = _plain(function(*deepcopy(case)))
            if _same(expected, result):
                continue
            text = repr(result)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        call = f"{task.solution.__name__}({', '.join(map(repr, case))})"
        return f"{call}\n  expected: {expected!r}\n  got:      {text[:500]}"
    return None


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """TimeoutError for a loop without end, where the system can interrupt: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
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
    exercise of this lesson.
    """
    this, name = lesson(number), function.__name__
    if name not in this.exercises:
        raise LabError(f"lesson {number} has no exercise '{name}': choose {', '.join(this.exercises)}")
    task = this.exercises[name]
    if function.__code__.co_code == _stub.__code__.co_code:
        print(f"{name}: fill it in, then run this again")
        return
    problem = fault(task, function)
    failures = count(this.path.stem, name, problem is None)
    if problem is None:
        print(f"{name}: right in all {len(task.cases)} cases")
        return
    print(f"{problem}\nHint: {task.hint}")
    if failures >= PATIENCE:
        print(f"The solution: {this.path.relative_to(ROOT)}, {name}")


def quiz(number: str, which: int, answer: str) -> None:
    """Say whether a question's answer, given as its letter, is right, and why.

    Raises LabError for a question or a letter that is not there.
    """
    this = lesson(number)
    if not 1 <= which <= len(this.questions):
        raise LabError(f"lesson {number} has no question {which}: choose 1 to {len(this.questions)}")
    question = this.questions[which - 1]
    letters = list(LETTERS[: len(question.choices)])
    if not answer:
        print(f"Your answer, {', '.join(letters[:-1])} or {letters[-1]}, goes between the quotation marks.")
        return
    if answer not in letters:
        raise LabError(f"question {which} has no answer '{answer}': choose {', '.join(letters)}")
    right = answer == question.right
    count(this.path.stem, f"question {which}", right)
    print(f"Right. {question.why}" if right else "No: think again.")


def count(stem: str, name: str, right: bool) -> int:
    """Keep one more try; gives the failures so far."""
    record = _progress()
    tries = record.setdefault(stem, {}).setdefault(name, {"failed": 0, "passed": 0})
    tries["passed" if right else "failed"] += 1
    write_json(runs_folder() / "progress.json", record)
    return tries["failed"]


def _progress() -> dict[str, dict[str, dict[str, int]]]:
    path = runs_folder() / "progress.json"
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError as error:
        raise LabError(f"{path.name} is damaged: mend or remove it, and progress begins anew") from error


def progress() -> list[tuple[str, str, str, str, str]]:
    """Each lesson with its exercises and questions done of how many, tries, and the exercises still open."""
    rows, record = [], _progress()
    for path in sources():
        this, tries_of = lesson(path.stem[:2]), record.get(path.stem, {})
        done = {name for name, tries in tries_of.items() if tries["passed"]}
        names = {f"question {n}" for n in range(1, len(this.questions) + 1)}
        left = [name for name in this.exercises if name not in done]
        shares = f"{len(this.exercises) - len(left)} of {len(this.exercises)}", f"{len(done & names)} of {len(names)}"
        tries = sum(t["failed"] + t["passed"] for t in tries_of.values())
        rows.append((path.stem, *shares, str(tries), ", ".join(left)))
    return rows
