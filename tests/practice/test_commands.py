"""Every command alike: help with an example, one line and the promised status for a mistake, nothing left half-written."""

import os
import signal
import subprocess
import sys
import time

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from labkit.cli import app
from labkit.profile import ROOT

COMMANDS = sorted(get_command(app).commands)


def labkit(*words: str):
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, [*words], prog_name="labkit")


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_has_an_example(name):
    done = labkit(*filter(None, [name]), "--help")
    assert done.exit_code == 0 and done.stderr == ""
    assert " ".join(["Usage: labkit", *filter(None, [name])]) in done.stdout
    assert f"Example: labkit {name or ''}" in done.stdout


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_an_unknown_option_is_one_line_and_status_2(name):
    done = labkit(*filter(None, [name]), "--no-such-option")
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith("error: No such option") and done.stderr.count("\n") == 1


FAILURES = {
    "ask": ["ask", "Why?", "--profile", "{empty}"],
    "claims": ["claims"],
    "compare": ["compare", "--docs", "{none}"],
    "embed": ["embed", "{none}", "--out", "{out}.parquet"],
    "log": ["log", "--file", "{none}"],
    "merge": ["merge", "{none}", "--out", "{out}"],
    "progress": ["progress"],
    "retrieve": ["retrieve", "--beir", "{none}"],
    "serve": ["serve", "{none}"],
    "sweep": ["sweep", "{none}", "--out", "{out}"],
    "tune": ["tune", "{none}", "--out", "{out}"],
}
"""A run of each command that must fail; `doctor` only fails on a machine that lacks something."""


def test_every_command_is_among_those_that_must_fail():
    assert {*FAILURES, "doctor"} >= {*COMMANDS}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_run_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, name):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "progress.json").write_text("{damaged")
    before = sorted(tmp_path.rglob("*"))
    places = {place: str(tmp_path / place) for place in ("empty", "none", "out")}
    done = labkit(*(word.format(**places) for word in FAILURES[name]))
    assert done.exit_code in (1, 2) and done.stdout == "", done.output
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_ctrl_c_while_embedding_leaves_nothing(tmp_path):
    words = ["embed", str(ROOT / "data" / "documents"), "--out", str(tmp_path / "vectors.parquet")]
    command = [sys.executable, "-c", "from labkit.cli import app; app(prog_name='labkit')", *words]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stderr=subprocess.PIPE, text=True)
    try:
        while not list(tmp_path.iterdir()):
            assert process.poll() is None, "it ended too early"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130 and said.splitlines()[-1] == "stopped" and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
