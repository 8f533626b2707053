"""Several processes write at once and nothing is lost; a killed one leaves a log that can be read."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Timer

import pandas as pd
import pytest

from labkit.compare.arms import Answer
from labkit.errors import LabError
from labkit.lab import Lab
from labkit.practice import log_store
from labkit.practice.log_store import COLUMNS, SCHEMA, Log, logged
from labkit.profile import POCKET
from labkit.rag.chunk import Chunk
from labkit.rag.retrieve import Hit


def answer(question: str, text: str = "It is so.", score: float = 0.5) -> Answer:
    return Answer(question, text, (Hit(Chunk("a.md#0", "a.md", "A", "so", 0, 2), score, 1),), 30, 4, 0.01, 0.2)


@pytest.fixture
def log(tmp_path):
    with Log(tmp_path / "log.sqlite") as made:
        yield made


def test_a_row_has_the_names_and_forms_of_the_conventions(log):
    assert log.keep([answer("Who? Ask ann@example.org", "She [1].")], "rag", "pocket") == [1]
    row = log.table().iloc[0]
    assert list(row.index) == list(COLUMNS)
    assert row["gen_ai.operation.name"] == "chat" and row["gen_ai.agent.name"] == "rag"
    asked = [{"role": "user", "parts": [{"type": "text", "content": "Who? Ask [e-mail]"}]}]
    assert json.loads(row["gen_ai.input.messages"]) == asked
    assert json.loads(row["gen_ai.retrieval.documents"]) == [{"id": "a.md#0", "score": 0.5}]
    assert (row["gen_ai.usage.input_tokens"], row["gen_ai.usage.output_tokens"]) == (30, 4)
    assert (row["gen_ai.client.operation.duration"], row["labkit.retrieval.duration"]) == (0.2, 0.01)


def test_an_arm_that_logs_answers_as_it_would_and_every_answer_is_kept(log):
    lab = Lab(POCKET, "smoke", progress=False)
    questions = [item.question for item in lab.questions[:3]]
    said = logged(lab, "rag", log).answer(questions)
    rows = log.answers()
    assert [a.text for a in said] == [a.text for a in lab.arm("rag").answer(questions)]
    assert rows.question.tolist() == questions and rows.answer.tolist() == [a.text for a in said]
    assert rows.sources.tolist() == [[hit.chunk.id for hit in a.hits] for a in said]
    assert rows.score.tolist() == pytest.approx([a.hits[0].score for a in said], abs=1e-6)


WRITER = """
import sys
path, tests, name, count = sys.argv[1:]
sys.path.insert(0, tests)
from test_log_store import Log, answer
with Log(path) as log:
    for number in range(int(count)):
        log.keep([answer(f"{name}.{number}")], "rag", "pocket")
        print(number, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    """A process that writes `count` answers and says so after each."""
    command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_lose_nothing_and_share_no_number(tmp_path):
    path = tmp_path / "new" / "log.sqlite"
    running = [writer(path, name, 40) for name in "abcd"]
    assert [process.communicate()[0].count("\n") for process in running] == [40] * 4
    with Log(path) as log:
        rows = log.answers()
    assert sorted(rows.question) == sorted(f"{name}.{number}" for name in "abcd" for number in range(40))
    assert rows.index.tolist() == list(range(1, 161))


def test_a_new_log_waits_for_another_process_that_makes_it(tmp_path):
    path = tmp_path / "log.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        end = Timer(0.3, other.execute, ["ROLLBACK"])
        end.start()
        with Log(path) as log:
            assert log.keep([answer("a")], "rag", "pocket") == [1]
        end.join()


def test_a_process_killed_while_it_writes_leaves_every_answer_that_it_reported(tmp_path):
    path, before = tmp_path / "log.sqlite", 0
    for name in "ab":
        with writer(path, name, 100_000) as process:
            first = [process.stdout.readline() for _ in range(20)]
            process.kill()
            told = len(first) + process.stdout.read().count("\n")
        with Log(path) as log:
            count = len(log.answers())
            assert told <= count - before <= told + 1
            (before,) = log.keep([answer("after")], "rag", "pocket")
            assert before == count + 1
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_last_rating_counts_and_an_unknown_number_is_told(log):
    log.keep([answer("a"), answer("b")], "rag", "pocket")
    log.rate(2, up=True)
    log.rate(2, up=False)
    assert log.answers().rating.tolist() == ["", "down"]
    with pytest.raises(LabError, match="no answer 3 in log.sqlite"):
        log.rate(3, up=True)


def test_a_writer_that_waits_too_long_is_told_and_can_write_later(tmp_path, monkeypatch):
    monkeypatch.setattr(log_store, "WAIT", 0.1)
    with Log(tmp_path / "log.sqlite") as log, closing(sqlite3.connect(log.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LabError, match="cannot be written .*locked"):
            log.keep([answer("a")], "rag", "pocket")
        other.execute("ROLLBACK")
        assert log.keep([answer("b")], "rag", "pocket") == [1]


def test_failures_are_rated_down_then_declined_then_found_by_the_lowest_scores(log):
    told = [answer(f"good {n}", score=0.5 + n / 100) for n in range(18)]
    told += [answer("low", score=0.1), answer("declined", "The documents do not say."), answer("bad")]
    log.keep([*told, answer("low but good", score=0.1)], "rag", "pocket")
    log.rate(21, up=False)
    log.rate(22, up=True)
    assert log.failures().question.tolist()[:3] == ["bad", "declined", "low"]
    assert "low but good" not in set(log.failures().question)


def test_an_arm_without_passages_has_no_score_and_no_low_one(log):
    assert log.failures().empty
    log.keep([Answer("q", "a", (), 1, 1, 0.0, 0.1)], "base", "pocket")
    assert log.answers().score.isna().all() and log.failures().empty


def test_what_is_exported_to_parquet_is_what_is_in_the_log(log, tmp_path):
    log.keep([answer("a"), answer("b")], "rag", "pocket")
    log.rate(1, up=True)
    assert log.export(tmp_path / "out.parquet") == 2
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), log.table(), check_dtype=False)
    with pytest.raises(LabError, match="cannot write"):
        log.export(tmp_path / "nowhere" / "out.parquet")
    assert {path.name for path in tmp_path.iterdir() if "parquet" in path.name} == {"out.parquet"}


@pytest.mark.parametrize("version", [0, SCHEMA + 1])
def test_a_file_of_another_kind_is_refused_and_left_as_it_was(tmp_path, version):
    path = tmp_path / "other.sqlite"
    other = sqlite3.connect(path)
    other.executescript(f"CREATE TABLE mine (a); PRAGMA user_version = {version}")
    other.close()
    before = path.read_bytes()
    with pytest.raises(LabError, match=f"has schema {version}"):
        Log(path)
    assert path.read_bytes() == before
    path.write_text("not a database, by a long way " * 50)
    with pytest.raises(LabError, match="cannot be used as a log"):
        Log(path)
