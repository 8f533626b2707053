"""The log as a user meets it: kept by ask, listed, rated, exported, and one line for each mistake."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from labkit.compare.arms import Answer
from labkit.practice.log_store import Log
from labkit.profile import ROOT

LABKIT = [sys.executable, "-c", "from labkit.cli import app; app(prog_name='labkit')"]


def labkit(folder, *words: str) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, "COLUMNS": "120", "LABKIT_RUNS": str(folder)}
    return subprocess.run([*LABKIT, *words], cwd=ROOT, env=known, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    with Log(tmp_path / "log.sqlite") as log:
        told = [
            Answer("Why [bold]?", "Because.", (), 9, 3, 0.1, 0.2),
            Answer("Who?", "I do not know.", (), 9, 3, 0.1, 0.2),
        ]
        log.keep(told, "base", "pocket")
    return tmp_path


def test_ask_keeps_an_answer_only_when_it_is_told_to(tmp_path):
    assert labkit(tmp_path, "ask", "Who are you?", "--arm", "base").returncode == 0
    assert not (tmp_path / "log.sqlite").exists()
    done = labkit(tmp_path, "ask", "Who are you, ann@example.org?", "--arm", "base", "--log")
    assert done.returncode == 0 and done.stdout.strip()
    with Log(tmp_path / "log.sqlite") as log:
        assert log.answers().question.tolist() == ["Who are you, [e-mail]"]


def test_the_list_shows_what_was_asked_and_failures_what_to_look_at(folder):
    shown = labkit(folder, "log").stdout
    assert "Why [bold]?" in shown and "I do not know." in shown
    failed = labkit(folder, "log", "--failures").stdout
    assert "I do not know." in failed and "Because." not in failed
    assert "Because." not in labkit(folder, "log", "--last", "1").stdout


def test_a_rating_is_kept_and_everything_is_exported(folder, tmp_path):
    assert labkit(folder, "log", "--rate", "1", "down").stdout == "answer 1 is rated down\n"
    assert "Because." in labkit(folder, "log", "--failures").stdout
    done = labkit(folder, "log", "--export", str(tmp_path / "all.parquet"))
    assert done.stdout.startswith("2 answers exported")
    rated = pd.read_parquet(tmp_path / "all.parquet")["gen_ai.evaluation.score.label"]
    assert rated[0] == "down" and rated.isna().tolist() == [False, True]


@pytest.mark.parametrize(
    "words, status, said",
    [
        (("--rate", "9", "up"), 1, "no answer 9 in log.sqlite"),
        (("--rate", "1", "good"), 2, "a rating is up or down, not 'good'"),
        (("--file", "none.sqlite"), 1, "no log at none.sqlite yet: labkit ask --log keeps one"),
        (("--file", "README.md"), 1, "README.md cannot be used as a log"),
        (("--export", "no/such/folder/a.parquet"), 1, "cannot write no/such/folder/a.parquet"),
    ],
)
def test_a_mistake_is_one_line(folder, words, status, said):
    done = labkit(folder, "log", *words)
    assert done.returncode == status and done.stdout == ""
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1


def test_help_has_an_example(folder):
    assert "Example: labkit log --rate 3 down" in labkit(folder, "log", "--help").stdout
