"""Progress tells the share done and the time left, on a terminal and in a log file."""

import subprocess
import sys

from labkit.quiet import bar

CODE = """
import time
from labkit import quiet
quiet.EVERY = 0.05
with quiet.bar(4, "answers") as steps:
    for _ in range(4):
        time.sleep(0.1)
        steps.set_description("rag")
        steps.update()
"""


def test_a_log_file_gets_lines_each_with_the_share_and_the_time_left():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) >= 4 and "\r" not in done.stderr
    assert all("%" in line and "gone" in line and "left" in line for line in lines)
    assert "100%" in lines[-1] and lines[-1].startswith("rag")


def test_a_bar_below_another_adds_only_its_states_to_a_log(capsys, monkeypatch):
    monkeypatch.setattr("labkit.quiet.EVERY", 0.0)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # another test's: a notebook has no log
    with bar(1, "outer") as outer, bar(2, "inner") as inner:
        inner.update()
        outer.update()
    assert all(line.startswith(("outer", "inner")) for line in capsys.readouterr().err.splitlines())


def test_a_hidden_bar_says_nothing(capsys):
    with bar(2, "answers", shown=False) as steps:
        steps.update(2)
    assert not capsys.readouterr().err
