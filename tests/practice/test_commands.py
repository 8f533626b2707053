"""Every command alike: help with an example, one line and the promised status for a mistake, nothing left half-written."""

import json
import os
import re
import runpy
import select
import signal
import subprocess
import sys
import termios

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from labkit.cli import app
from labkit.store import ROOT, Store

COMMANDS = sorted(get_command(app).commands)


def labkit(*words: str):
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, [*words], prog_name="labkit")


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_has_an_example(name):
    done = labkit(*filter(None, [name]), "--help")
    assert done.exit_code == 0 and done.stderr == ""
    assert " ".join(["Usage: labkit", *filter(None, [name])]) in done.stdout
    assert f"Example: labkit {name or ''}" in done.stdout


@pytest.mark.parametrize("name", [None, *(name for name in COMMANDS if name != "play")])  # which hands them to Voila
def test_an_unknown_option_is_one_line_and_status_2(name):
    done = labkit(*filter(None, [name]), "--no-such-option")
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith("error: No such option") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["tools.bench", "tools.notebooks"])
@pytest.mark.filterwarnings("ignore:.* found in sys.modules")
def test_a_module_that_is_a_command_has_help_and_one_line_for_a_mistake(module, monkeypatch, capsys):
    def run(word):
        monkeypatch.setattr(sys, "argv", [module, word])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__")
        return ended.value.code, *capsys.readouterr()

    status, said, _ = run("--help")
    assert status == 0 and f"Example: python -m {module} " in said
    status, said, wrong = run("frob")
    assert status == 2 and said == ""
    assert re.fullmatch("error: (unknown|no lesson) .*frob.*choose .*\n", wrong.replace("'", ""))


FAILURES = {
    "ask": ["ask", "Why?", "--profile", "{empty}"],
    "claims": ["claims"],
    "compare": ["compare", "--docs", "{none}"],
    "embed": ["embed", "{none}", "--out", "{out}.parquet"],
    "log": ["log", "--file", "{none}"],
    "merge": ["merge", "{none}", "--out", "{out}"],
    "play": ["play", "{empty}"],
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


def on_a_terminal(environment, words, cue=None):
    """Status and screen of a command; Ctrl-C is pressed, as on a terminal for all its processes, once the cue is shown."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment, start_new_session=True, **ends)
    os.close(theirs)
    shown, pressed = "", cue is None
    try:
        while select.select([ours], [], [], 120)[0] and (piece := screen(ours)):
            shown += piece
            if not pressed and re.search(cue, shown):
                os.killpg(process.pid, signal.SIGINT)
                pressed = True
        assert not screen(ours), "some process still holds the terminal"
        return process.wait(20), shown
    finally:
        process.kill()
        os.close(ours)


def screen(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # so ends a terminal that no process holds
        return ""


STOPPED = {
    "ask": (["ask", "How heavy is it?", "--profile", "pocket"], r"Loading .*\n"),
    "bench": (["embed", "--quick"], "embed: +0%"),
    "compare": (["compare", "--profile", "pocket", "--size", "smoke"], r"training +[1-9]\d?%"),
    "embed": (["embed", "{data}/documents", "--out", "{out}.parquet"], "embed: +0%"),
    "merge": (["merge", "tuned", "--out", "{out}", "--size", "smoke"], r"training +[1-9]\d?%"),
    "retrieve": (["retrieve", "--beir", "{here}"], r"indexing +[1-9]\d?%"),
    "sweep": (["sweep", "{data}/grid.yaml", "--out", "{out}"], "sweep: .* 1/8"),
    "tune": (["tune", "{here}/pairs.csv", "--out", "{out}", "--save-seconds", "0"], r"training +[1-9]\d?%"),
}
"""When each long command is interrupted: at a word of its progress. `serve` is in tests/tune/test_serve.py, `play`
in tests/practice/test_play.py, and `doctor` tells each finding as it comes."""


def test_every_command_that_may_take_seconds_shows_progress_to_be_stopped_at():
    assert {*COMMANDS} - {*STOPPED} == {"claims", "doctor", "log", "play", "progress", "serve"}


@pytest.fixture
def here(tmp_path):
    """A folder with pairs to train on, and passages in BEIR's layout to search in."""
    pairs = [f"What is {n}?,It is number {n}." for n in range(48)]
    (tmp_path / "pairs.csv").write_text("\n".join(["prompt,response", *pairs]))
    for name, count in {"corpus": 300, "queries": 2}.items():
        rows = [json.dumps({"_id": str(n), "text": f"The lamp of room {n} is {n} years old."}) for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("0\t0\t1\n1\t1\t1\n")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", STOPPED)
def test_ctrl_c_is_one_word_and_leaves_nothing_that_a_second_run_would_trust(small, here, name):
    environment = {**small, "LABKIT_RUNS": str(here / "runs")}
    words, cue = STOPPED[name]
    module = ["-m", "tools.bench"] if name == "bench" else ["-c", "from labkit.cli import app; app(prog_name='labkit')"]
    words = [*module, *(word.format(data=small["LABKIT_DATA"], here=here, out=here / "out") for word in words)]
    status, shown = on_a_terminal(environment, words, cue)
    assert status == 130 and shown.endswith("\nstopped\r\n") and "Traceback" not in shown, shown
    for made in ("out.parquet", ".out.parquet*", "out/table.csv", "out/*.*", "runs/*/latest", "runs/*/*/*.ipynb"):
        assert not list(here.glob(made))
    kept = Store(here / "runs" / "artifacts")
    assert all(kept.find(folder.name) for folder in kept.root.glob("[!.]*"))
    if name in ("embed", "tune"):
        status, shown = on_a_terminal(environment, words)
        assert status == 0, shown
