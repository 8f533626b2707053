"""Keep every answer, without what a log must not hold, in one file that survives crashes. Lesson 20 learns from a month of it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.compare.arms import Answer
from labkit.compare.lab import Lab
from labkit.errors import LabError
from labkit.metrics import abstained
from labkit.store import runs_folder, write_bytes

SCHEMA = 1
WAIT = 120  # seconds that a writer waits for the others
COLUMNS = {
    "gen_ai.response.id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "timestamp": "TEXT NOT NULL",
    "gen_ai.operation.name": "TEXT NOT NULL",
    "gen_ai.provider.name": "TEXT NOT NULL",
    "gen_ai.request.model": "TEXT NOT NULL",
    "gen_ai.agent.name": "TEXT NOT NULL",
    "gen_ai.input.messages": "TEXT NOT NULL",
    "gen_ai.output.messages": "TEXT NOT NULL",
    "gen_ai.retrieval.documents": "TEXT NOT NULL",
    "gen_ai.usage.input_tokens": "INTEGER NOT NULL",
    "gen_ai.usage.output_tokens": "INTEGER NOT NULL",
    "gen_ai.client.operation.duration": "REAL NOT NULL",
    "labkit.retrieval.duration": "REAL NOT NULL",
    "gen_ai.evaluation.score.label": "TEXT",
}
"""The columns of the log: an answer's arm is the agent, its sources the documents, its rating the score's label.

Names are those of OpenTelemetry's generative-AI conventions (still in development), or begin with `labkit.`.
"""
_NUMBERS = (
    re.compile(r"\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{4}){2,7}(?:[ -]?[a-z0-9]{1,4})?\b", re.I),  # IBAN (ISO 13616)
    re.compile(r"[+(]*\d(?:[\s()./\u2010-\u2015-]{0,2}\d){6,}"),  # telephone, card, account
)
_KEYS = (
    re.compile(r"-----BEGIN[ A-Z]*PRIVATE KEY-----.*?(?:-----END[ A-Z]*PRIVATE KEY-----|\Z)", re.S),
    re.compile(r"\b(?:password|passwd|passphrase|pwd|secret|token|api[ _-]?key)(?:\s*[:=]\s*|\s+is\s+)\S+", re.I),
    re.compile(r"\b(?:(?:sk|pk|rk|gh[a-z]|github_pat|glpat|hf|xox[a-z])[-_]|AKIA|ASIA|AIza|eyJ)[\w+/=~.-]{8,}"),
)
_RUN = re.compile(r"[\w+/=~.-]{16,}")
_PIECE = re.compile(r"[A-Za-z0-9+=]{16,}")
_MIXED = re.compile(r"(?=.*\d).*[A-Za-z]").match


class Log:
    """A log of answers in an SQLite file, which is made if it is missing; several processes may write at once.

    One short transaction for each answer: a process that is killed loses the answer it was writing, and no other. Open
    it again in each process. Raises LabError for a file that is no log, or of another schema.

    >>> with Log(Path("runs/log.sqlite")) as log:
    ...     log.keep(lab.arm("rag").answer(["Where is the Amber Falcon made?"]), "rag", "pocket")
    [1]
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path else runs_folder() / "log.sqlite"
        state = "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)
            version, tables = self._file.execute(state).fetchone()
        except (sqlite3.Error, OSError) as error:
            raise LabError(f"{self.path} cannot be used as a log ({error}): name another file") from error
        if version != SCHEMA and (version or tables):
            raise LabError(f"{self.path} has schema {version}, and this labkit knows {SCHEMA}: name another file")
        if version == 0:
            fields = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
            with self._transaction():
                self._file.execute(f"CREATE TABLE IF NOT EXISTS answers ({fields})")
                self._file.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._file:  # commits, or rolls back what fails
                self._file.execute("BEGIN IMMEDIATE")  # waits for its turn here, and cannot be refused later
                yield
        except sqlite3.Error as error:
            raise LabError(f"{self.path} cannot be written ({error}): is it in use, or the disk full?") from error

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def keep(self, answers: Sequence[Answer], arm: str, model: str) -> list[int]:
        """Write answers, each text redacted before it is written; returns their numbers. LabError where it cannot."""
        numbers = []
        for values in (_row(answer, arm, model) for answer in answers):
            with self._transaction():
                marks = ", ".join("?" * len(values))
                numbers.append(
                    self._file.execute(f"INSERT INTO answers VALUES (NULL, {marks}, NULL)", values).lastrowid
                )
        return numbers

    def rate(self, number: int, up: bool) -> None:
        """Say whether an answer was good; the last word counts. LabError for a number that is not in the log."""
        set_label = 'UPDATE answers SET "gen_ai.evaluation.score.label" = ? WHERE "gen_ai.response.id" = ?'
        with self._transaction():
            if not self._file.execute(set_label, ("up" if up else "down", number)).rowcount:
                raise LabError(f"no answer {number} in {self.path.name}: `labkit log` lists the numbers")

    def table(self) -> pd.DataFrame:
        """Every answer, oldest first, with columns named as in COLUMNS."""
        texts = dict.fromkeys((name for name, kind in COLUMNS.items() if "TEXT" in kind), "string")
        return pd.read_sql_query("SELECT * FROM answers ORDER BY 1", self._file, dtype=texts)

    def answers(self) -> pd.DataFrame:
        """Every answer by its number, easy to read: time, arm, question, answer, sources, score (of the best), seconds, rating (up, down or empty)."""
        rows = self.table()
        hits = rows["gen_ai.retrieval.documents"].map(json.loads)
        columns = {
            "time": rows["timestamp"],
            "arm": rows["gen_ai.agent.name"],
            "question": rows["gen_ai.input.messages"].map(_text),
            "answer": rows["gen_ai.output.messages"].map(_text),
            "sources": hits.map(lambda some: [hit["id"] for hit in some]),
            "score": hits.map(lambda some: max((hit["score"] for hit in some), default=float("nan"))).astype(float),
            "seconds": rows["gen_ai.client.operation.duration"] + rows["labkit.retrieval.duration"],
            "rating": rows["gen_ai.evaluation.score.label"].fillna(""),
        }
        return rows[[]].assign(**columns).set_index(rows["gen_ai.response.id"].rename("number"))

    def failures(self) -> pd.DataFrame:
        """The answers to look at first, as `answers`: rated down, then declined, then the tenth with the lowest score."""
        rows = self.answers()
        down, low = rows.rating == "down", rows.score <= rows.score.quantile(0.1)
        declined = rows.answer.map(abstained).astype(bool)
        some = rows.assign(down=down, declined=declined)[(down | declined | low) & (rows.rating != "up")]
        return some.sort_values(["down", "declined", "score"], ascending=[False, False, True])[list(rows)]

    def export(self, path: Path) -> int:
        """Write all answers to a Parquet file, whole or not at all; returns how many. LabError where it cannot."""
        rows = self.table()
        try:
            write_bytes(path, rows.to_parquet(index=False))
        except OSError as error:
            raise LabError(f"cannot write {path}: {error.strerror or error}; name another file") from error
        return len(rows)


class LoggedArm:
    """An arm of a lab whose answers are kept in a log: `runs/log.sqlite` if no other is given."""

    def __init__(self, lab: Lab, arm: str, log: Log | None = None) -> None:
        own = Path(lab.profile.model).is_absolute()
        self.arm, self.log = lab.arm(arm), log or Log()
        self.model = lab.profile.name if own else lab.profile.model

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """As `Arm.answer`, and every answer is in the log before it is returned."""
        answers = self.arm.answer(questions)
        self.log.keep(answers, self.arm.name, self.model)
        return answers


def _row(answer: Answer, arm: str, model: str) -> tuple[Any, ...]:
    """What the log keeps of an answer between its number and rating: texts redacted, time in UTC, durations in seconds."""
    hits = [{"id": redact(hit.chunk.id), "score": round(hit.score, 6)} for hit in answer.hits]
    return (
        *(datetime.now(UTC).isoformat(timespec="milliseconds"), "chat", "labkit", redact(model), redact(arm)),
        *(_message("user", answer.question), _message("assistant", answer.text), json.dumps(hits)),
        *(answer.prompt_tokens, answer.output_tokens, answer.generation_seconds, answer.retrieval_seconds),
    )


def _message(role: str, text: str) -> str:
    """One message as the conventions' JSON schema has it."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": redact(text)}]}], ensure_ascii=False)


def _text(messages: str) -> str:
    return str(json.loads(messages)[0]["parts"][0]["content"])


def redact(text: str) -> str:
    """The text with [e-mail], [key] and [number] in place of what looks like one.

    An e-mail address is a word with an @ inside; a key begins as known ones do, follows "password:" and its like, or
    is 16 or more letters and digits, mixed; a number has seven digits or more, spaced or not, or the form of an IBAN.
    It sees form, not meaning: names, addresses, birthdays, short PINs, a password said in passing, digits spelt out
    and "ann at example dot org" stay.

    >>> redact("Mail ann@example.org or call +49 30 1234567.")
    'Mail [e-mail] or call [number].'
    """
    text = re.sub(r"\S+", lambda word: "[e-mail]" if re.search(".@.", word[0]) else word[0], text)
    for pattern in _KEYS:
        text = pattern.sub("[key]", text)
    text = _RUN.sub(lambda run: "[key]" if any(map(_MIXED, _PIECE.findall(run[0]))) else run[0], text)
    for pattern in _NUMBERS:
        text = pattern.sub("[number]", text)
    return text
