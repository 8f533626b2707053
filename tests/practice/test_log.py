"""Nothing that was kept is lost, nothing that is redacted is in the bytes, and the command tells each mistake in one line."""

import json
import re
import sqlite3
import string
import subprocess
import sys
from contextlib import chdir, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from labkit.cli import app
from labkit.compare.arms import Answer
from labkit.compare.lab import Lab
from labkit.data import data_folder, load_pairs, load_questions, wordings
from labkit.errors import LabError
from labkit.practice import log as log_module
from labkit.practice.log import COLUMNS, SCHEMA, Log, LoggedArm, redact
from labkit.profile import POCKET
from labkit.rag.chunk import Chunk
from labkit.rag.retrieve import Hit
from labkit.store import ROOT


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
    said = LoggedArm(lab, "rag", log).answer(questions)
    rows = log.answers()
    assert [a.text for a in said] == [a.text for a in lab.arm("rag").answer(questions)]
    assert rows.question.tolist() == questions and rows.answer.tolist() == [a.text for a in said]
    assert rows.sources.tolist() == [[hit.chunk.id for hit in a.hits] for a in said]
    assert rows.score.tolist() == pytest.approx([a.hits[0].score for a in said], abs=1e-6)


WRITER = """
import sys
from labkit.compare.arms import Answer
from labkit.practice.log import Log
path, name, count = sys.argv[1:]
with Log(path) as log:
    for number in range(int(count)):
        log.keep([Answer(f"{name}.{number}", "It is so.", (), 30, 4, 0.01, 0.2)], "rag", "pocket")
        print(number, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    """A process that writes `count` answers and says so after each."""
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
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
    monkeypatch.setattr(log_module, "WAIT", 0.1)
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
        log.export(tmp_path / "out.parquet" / "out.parquet")
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


ALNUM = string.ascii_letters + string.digits
numbers = st.builds(
    lambda digits, seps: "".join(d + s for d, s in zip(digits, seps, strict=False)) + digits[-1],
    st.text(string.digits, min_size=8, max_size=19),
    st.lists(st.sampled_from(["", "", " ", "-", ".", "/", ") "]), min_size=18, max_size=18),
)
ibans = st.from_regex(r"[A-Z]{2}[0-9]{2}( [A-Z0-9]{4}){3,7}", fullmatch=True)
mixed = st.text(ALNUM, min_size=16, max_size=60).filter(lambda t: re.search("[0-9]", t) and re.search("[A-Za-z]", t))
known = st.builds("{}{}".format, st.sampled_from(["sk-", "ghp_", "AKIA", "hf_", "eyJ"]), st.text(ALNUM, min_size=12))
assigned = st.builds("{}".format, st.text(string.ascii_letters + string.punctuation, min_size=6)).filter(str.isascii)
secrets = st.one_of(st.emails(), numbers, ibans, mixed, known)
around = st.sampled_from(["{}", "Call {} now.", "<{}>", "({})", "mailto:{}", "is it\n{}?", "“{}”", "id={};"])


def written(text: str) -> bytes:
    """Every byte on the disk once an answer was kept that holds the text wherever it can."""
    chunk = Chunk(f"{text}#1", text, text, text, 0, len(text))
    with TemporaryDirectory() as place:
        with Log(Path(place) / "log.sqlite") as log:
            log.keep([Answer(text, text, (Hit(chunk, 0.5, 1),), 3, 2, 0.1, 0.2)], text, text)
            during = [path.read_bytes() for path in Path(place).iterdir()]
        return b"".join([*during, *(path.read_bytes() for path in Path(place).iterdir())])


@settings(max_examples=40, deadline=None)
@given(secrets, around)
def test_what_is_planted_is_never_in_the_bytes_of_the_log(secret, form):
    held = written(form.format(secret))
    assert secret.encode() not in held
    assert b"[e-mail]" in held or b"[key]" in held or b"[number]" in held


@settings(max_examples=50, deadline=None)
@given(assigned, st.sampled_from(["password: {}", "my api key = {}", "the token is {}", "Secret={}"]))
def test_what_a_password_is_said_to_be_is_taken_out(secret, form):
    assert secret not in redact(form.format(secret)).replace("[key]", "").replace("[e-mail]", "")


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_redacting_twice_is_redacting_once(text):
    assert redact(redact(text)) == redact(text)


def test_a_private_key_goes_whole():
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nab12\n-----END RSA PRIVATE KEY-----"
    assert redact(f"see {pem} there") == "see [key] there"


def test_no_question_answer_or_source_of_the_course_is_changed():
    for item in [*load_questions(), *load_pairs()]:
        for text in (item.question, item.answer, *(f"{fact.document}#12" for fact in item.evidence)):
            assert redact(text) == text


@pytest.mark.parametrize("said", ["Ann Smith, born on 4 May 1981", "ann at example dot org", "my PIN was 4711"])
def test_what_has_no_form_of_its_own_stays_as_the_docstring_says(said):
    assert redact(said) == said


def test_a_long_text_without_a_space_is_read_in_no_time():
    assert (
        len(redact("a" * 200_000)) and len(redact("1a-" * 70_000)) and len(redact("-----BEGIN PRIVATE KEY-----" * 5000))
    )


def labkit(folder, *words: str) -> Result:
    with chdir(ROOT):
        return CliRunner(env={"COLUMNS": "120", "LABKIT_RUNS": str(folder)}).invoke(app, words, prog_name="labkit")


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
    assert labkit(tmp_path, "ask", "Who are you?", "--arm", "base", "--profile", "pocket").exit_code == 0
    assert not (tmp_path / "log.sqlite").exists()
    done = labkit(tmp_path, "ask", "Who are you, ann@example.org?", "--arm", "base", "--profile", "pocket", "--log")
    assert done.exit_code == 0 and done.stdout.strip()
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
        (("--export", "README.md/a.parquet"), 1, "cannot write README.md/a.parquet"),
    ],
)
def test_a_mistake_is_one_line(folder, words, status, said):
    done = labkit(folder, "log", *words)
    assert done.exit_code == status and done.stdout == ""
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1


def test_every_attribute_has_three_wordings_that_name_the_entity():
    forms = yaml.safe_load((data_folder() / "own_words.yaml").read_text("utf-8"))
    assert set(forms) == {f"{kind}.{attribute}" for kind, attribute in wordings()}
    for ways in forms.values():
        assert ways.count(" | ") == 2 and all("{e}" in form or "{n}" in form for form in ways.split(" | "))
