"""Solutions pass their checks, plausible mistakes do not, and a learner's tries are told and counted."""

import inspect
import json
from dataclasses import replace
from doctest import DocTestParser

import pytest
from checks import Exercise, check, exercise, fault, lesson, progress, quiz, sources

from labkit import LabError, cli
from tools.exercises import parts

LESSONS = {path.stem[:2]: lesson(path.stem[:2]) for path in sources()}
EVERY = [pytest.param(one, id=f"{number}-{name}") for number, found in LESSONS.items() for name, one in found.exercises.items()]  # fmt: skip


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    return tmp_path


def changed(asked: Exercise, old: str, new: str):
    """The solution with one slip in its body."""
    head, body = parts(inspect.getsource(asked.solution))
    assert body.count(old) == 1, f"{old!r} occurs {body.count(old)} times"
    names = dict(asked.solution.__globals__)
    exec(f"{head}\n{body.replace(old, new)}", names)
    return names[asked.solution.__name__]


def right_of(number: str, which: int) -> str:
    return LESSONS[number].questions[which - 1].right


@pytest.mark.parametrize("asked", EVERY)
def test_a_solution_passes_its_check(asked):
    assert fault(asked, asked.solution) is None and len(asked.cases) >= 3


@pytest.mark.parametrize("asked", EVERY)
def test_a_specification_gives_examples_that_hold(asked):
    examples, names = DocTestParser().get_examples(asked.solution.__doc__), {asked.solution.__name__: asked.solution}
    assert examples
    for example in examples:
        said = replace(asked, cases=[()], solution=lambda text=example.want: eval(text))
        assert fault(said, lambda text=example.source: eval(text, names)) is None


@pytest.mark.parametrize("asked", EVERY)
def test_plausible_mistakes_fail_the_check(asked):
    assert len(asked.wrong) >= 2
    assert [slip for slip in asked.wrong if fault(asked, changed(asked, *slip)) is None] == []


@pytest.mark.parametrize("number", LESSONS)
def test_a_lesson_has_three_to_five_exercises_and_two_or_three_questions(number):
    found = LESSONS[number]
    assert 3 <= len(found.exercises) <= 5 and 2 <= len(found.questions) <= 3
    for asked in found.questions:
        assert asked.right in "abcdefgh"[: len(asked.choices)] and len(set(asked.choices)) == len(asked.choices)


def test_the_hint_comes_first_and_the_solution_last(capsys):
    def spans(n, size, overlap):
        return [(0, n)]

    for _ in range(3):
        check("02", spans)
    first, _, third = [text for text in capsys.readouterr().out.split("spans(10, 4, 1)") if text]
    assert "expected: [[0, 4], [3, 7], [6, 10]]" in first and "got:      [[0, 10]]" in first
    assert "Hint: The next chunk" in first and "solution:" not in first
    assert "The solution: notebooks/exercises/source/02_chunk.py, spans" in third


def test_a_pass_is_kept_and_shown(runs, capsys):
    check("02", LESSONS["02"].exercises["whole"].solution)
    quiz("02", 1, right_of("02", 1))
    assert "right in all" in capsys.readouterr().out
    row = next(row for row in progress() if row[0] == "02_chunk")
    assert row == ("02_chunk", "1 of 3", "1 of 3", "2", "spans, chunk_count")
    cli.progress()
    assert "spans, chunk_count" in capsys.readouterr().out
    assert json.loads((runs / "progress.json").read_text())["02_chunk"]["whole"] == {"failed": 0, "passed": 1}


def test_a_wrong_answer_to_a_question_is_told_and_counted(capsys):
    quiz("02", 1, "c")
    assert capsys.readouterr().out.startswith("No") and right_of("02", 1) != "c"
    assert next(row for row in progress() if row[0] == "02_chunk")[2:4] == ("0 of 3", "1")


def test_an_error_in_the_learners_function_is_what_was_got():
    asked = LESSONS["02"].exercises["chunk_count"]
    assert "got:      ZeroDivisionError: integer" in (fault(asked, lambda n, size, overlap: n // 0) or "")


def test_a_loop_without_end_is_stopped():
    def endless():
        while True:
            pass

    @exercise(cases=[()], hint="", wrong=[])
    def value():
        return 1

    assert "TimeoutError: not done after" in (fault(value, endless) or "")


def test_a_function_that_changes_its_arguments_changes_no_case():
    @exercise(cases=[([3, 1, 2],)], hint="", wrong=[])
    def largest(numbers):
        return max(numbers)

    def greedy(numbers):
        numbers.sort()
        return numbers.pop()

    assert fault(largest, greedy) is None and largest.cases == [([3, 1, 2],)]


@pytest.mark.parametrize(
    "got, same", [([0.1 + 0.2, (1,)], True), ((0.3, [1]), True), ([0.31, [1]], False), (0.3, False)]
)
def test_rounding_and_the_kind_of_sequence_do_not_matter(got, same):
    @exercise(cases=[()], hint="", wrong=[])
    def value():
        return [0.3, [1]]

    assert (fault(value, lambda: got) is None) == same


def test_mistakes_of_the_caller_are_told_in_one_line(runs):
    for said, call in {
        "lesson '99' has no exercises: choose 0": lambda: check("99", len),
        "lesson 02 has no exercise 'len': choose spans": lambda: check("02", len),
        "lesson 02 has no question 4: choose 1 to 3": lambda: quiz("02", 4, "a"),
        "question 1 has no answer 'ab': choose a, b, c": lambda: quiz("02", 1, "ab"),
    }.items():
        with pytest.raises(LabError, match=said):
            call()
    (runs / "progress.json").write_text("{")
    with pytest.raises(LabError, match="progress.json is damaged"):
        progress()
