"""Keep every answer, without what a log must not hold, in one file that survives crashes; and learn from a month of it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

import pandas as pd
import yaml

from labkit.compare.arms import Answer
from labkit.compare.experiment import depends
from labkit.compare.lab import Lab
from labkit.compare.score import is_right, score
from labkit.compare.training import holds
from labkit.data import Item, load_pairs, wordings
from labkit.errors import LabError
from labkit.metrics import abstained
from labkit.rag.ingest import Ingested
from labkit.rag.retrieve import STOP_WORDS, Hit
from labkit.store import runs_folder, write_bytes
from labkit.text import words

SCHEMA = 1
WAIT = 30  # seconds that a writer waits for the others
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


def halves(lab: Lab) -> tuple[list[Item], list[Item]]:
    """The questions for one fact, parted by the document that holds it: those of last month's log, and those held out."""
    single = [item for item in lab.questions if len(item.evidence) == 1]
    held_out = {item.id for item in single if crc32(item.evidence[0].document.encode()) % 2}
    return [i for i in single if i.id not in held_out], [i for i in single if i.id in held_out]


def ways() -> dict[str, list[str]]:
    """How people ask for each attribute in their own words: the forms of `wordings.yaml`, by kind and attribute."""
    forms = yaml.safe_load(Path(__file__).with_name("wordings.yaml").read_text("utf-8"))
    return {attribute: line.split(" | ") for attribute, line in forms.items()}


def own_words(items: Sequence[Item]) -> list[tuple[Item, str]]:
    """Each item with each of the three ways in which people ask for its attribute."""
    forms, pairs = ways(), []
    for item in items:
        fact = item.evidence[0]
        name = wordings()[fact.kind, fact.attribute].refer(fact.entity)
        pairs += [(item, form.format(e=name, n=fact.entity)) for form in forms[f"{fact.kind}.{fact.attribute}"]]
    return pairs


def variant(lab: Lab, without: Collection[str] = (), **settings: Any) -> Lab:
    """A lab with other settings of the profile, or without some documents; its model is the same."""
    other = Lab(replace(lab.profile, **settings), lab.size, progress=lab.progress)
    files = Ingested([document for document in lab.documents if document.id not in without], [])
    vars(other).update(artifacts=lab.artifacts, ingested=files, model=lab.model)
    if "embedder" not in settings:
        other.embedder = lab.embedder
    return other


def undocumented(lab: Lab) -> tuple[set[str], list[Item]]:
    """The documents that last month's index lacked, and what people asked about them.

    Every fourth document of the held-out half that holds a fact alone; the facts asked for are not those held out.
    """
    later = [item.evidence[0] for item in halves(lab)[1]]
    lacking = set(sorted({fact.document for fact in later if not fact.also})[::4])
    taken = {(fact.entity, fact.attribute) for fact in later}
    single = [item for item in load_pairs() if len(item.evidence) == 1]
    facts = [(item, item.evidence[0]) for item in single if not item.evidence[0].also]
    about = {f.document: item for item, f in facts if f.document in lacking and (f.entity, f.attribute) not in taken}
    return lacking, [about[name] for name in sorted(about)]


def last_month(lab: Lab) -> pd.DataFrame:
    """RAG's log of the first half and of the undocumented, in people's own words, rated by whether the answer was right.

    Columns as `Log.answers`; `id` of the question; `stated`, the passages that state the fact; `right`, the sentence that
    does, without the value: both are what a person finds who looks into a complaint, and empty where no document says
    it; and for an answer rated down its `cause`.
    """
    lacking, about = undocumented(lab)
    lab, pairs = variant(lab, lacking), own_words([*halves(lab)[0], *about])

    def build(folder: Path) -> None:
        """Answer, and log each answer with its rating."""
        with Log(folder / "log.sqlite") as log:
            answers = LoggedArm(lab, "rag", log).answer([question for _, question in pairs])
            for number, ((item, _), answer) in enumerate(zip(pairs, answers, strict=True), start=1):
                log.rate(number, is_right(item, answer.text))

    texts = [text for _, text in pairs]
    folder = lab.artifacts.folder(build, what="last month's log/1", asked=texts, **depends(lab, "rag", 0))
    with Log(folder / "log.sqlite") as log:
        rows = log.answers()
    facts = [item.evidence[0] for item, _ in pairs]
    stated = [[chunk.id for chunk in lab.vectors.chunks if holds(Hit(chunk, 0.0, 1), fact)] for fact in facts]
    right = [fact.passage.replace(fact.value, "") if some else "" for fact, some in zip(facts, stated, strict=True)]
    rows = rows.assign(id=[item.id for item, _ in pairs], stated=stated, right=right)
    return rows.assign(cause=[_cause(row) for row in rows.itertuples()])


def _cause(row: Any) -> str:
    if row.rating == "up":
        return ""
    if not row.stated:
        return "no document says it"
    if not set(row.stated) & set(row.sources):
        return "search missed it"
    return "declined" if abstained(row.answer) else "misread"


def unknown(question: str, known: Collection[str]) -> list[str]:
    """The words of a question that are not among those known; no stop words, no single letters.

    >>> unknown("How many bucks is the Delta?", {"delta", "price"})
    ['bucks']
    """
    return [word for word in dict.fromkeys(words(question)) if word not in STOP_WORDS | set(known) and len(word) > 1]


def mine(answered: Sequence[tuple[str, str]], terms: Iterable[str], top: int = 2) -> dict[str, list[str]]:
    """What the documents say for each term, learned from pairs of a question and its right passage.

    The `top` words that stand more often in the right passages of questions with the term than in all of them, and
    twice at least. A term without any is left out.

    >>> mine([("How many bucks is A?", "Price of A"), ("How many bucks is B?", "Price: B")], ["bucks"])
    {'bucks': ['price']}
    """
    passages = [set(unknown(right, words(question))) for question, right in answered]
    usual, synonyms = Counter(chain(*passages)), {}
    for term in terms:
        beside = [some for (question, _), some in zip(answered, passages, strict=True) if term in words(question)]
        counts = Counter(chain(*beside))
        lift = {w: n / len(beside) - usual[w] / len(passages) for w, n in counts.items() if n > 1 and not w.isdigit()}
        if best := sorted((w for w in lift if lift[w] > 0), key=lambda w: (-lift[w], w))[:top]:
            synonyms[term] = best
    return synonyms


def expand(question: str, synonyms: Mapping[str, Sequence[str]], top: int = 2) -> str:
    """The question with the `top` words that most of its own words stand for.

    >>> expand("How many bucks is the Delta?", {"bucks": ["price"]})
    'How many bucks is the Delta? price'
    """
    own = words(question)
    added = Counter(word for term in own for word in synonyms.get(term, ()) if word not in own)
    return " ".join([question, *(word for word, _ in added.most_common(top))])


def reread(lab: Lab, items: Sequence[Item], synonyms: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """RAG's answers to items in people's own words, expanded: a row for each as `score` has it, with two columns more.

    `first`: the first passage states the fact; `sent`: the question as it was asked.
    """
    questions = own_words(items)
    sent = [expand(question, synonyms) for _, question in questions]
    answers = lab.arm("rag").answer(sent)
    rows = [
        {**score(item, answer), "first": holds(answer.hits[0], item.evidence[0])}
        for (item, _), answer in zip(questions, answers, strict=True)
    ]
    return pd.DataFrame(rows).assign(sent=sent)
