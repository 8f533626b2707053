"""Your questions: read from a table, checked against your documents, parted into training and test, or proposed by a model."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from labkit.data import Evidence, Item
from labkit.errors import LabError
from labkit.metrics import contains
from labkit.practice.judge import NEAREST, Nearest, Style, is_free, learn
from labkit.rag.augment import ABSTAIN, values
from labkit.rag.ingest import Document
from labkit.store import write_bytes
from labkit.table import read_table, text_of
from labkit.tune.leaks import duplicates, refuse_leaks

if TYPE_CHECKING:
    from labkit.model import Message
    from labkit.practice.own_data import OwnLab
    from labkit.rag.chunk import Chunk

NEEDED, OPTIONAL = ("question", "answer"), ("document", "quote", "kind", "rivals", "reply", "split")
FORMATS = (".csv", ".tsv", ".jsonl", ".xlsx")
GAP = "____"
LEAST = 8  # questions on either side of the split
SIDES = ("train", "test", "dev", "held")  # of the split; the last two are left aside
UNKNOWN = "not in the documents"


@dataclass(frozen=True)
class Questions:
    """What a file asks: items to train on and to test on, the style of its replies if it shows any, what was noticed."""

    train: list[Item]
    test: list[Item]
    style: Style | None
    notes: list[str]


def read_rows(path: Path | str) -> list[dict[str, str]]:
    """The rows of a table or of JSON lines as text by column, with the row's number in the file under "row".

    Columns are question and answer (accepted forms with a bar between them, empty where no document answers), and if you like document
    (several with a bar between them), quote, kind, rivals (for a question which of two: the other one), reply (the answer as it should
    sound) and split (train or test; dev and held are left aside). A row that cannot be read has its reason under "fault". Raises
    LabError for a file that cannot be read, a missing column and a missing question.

    >>> read_rows("data/prose/questions.csv")[0]["answer"]
    'Manaus'
    """
    path = Path(path)
    columns, cells = _table(path)
    if missing := [name for name in NEEDED if name not in columns]:
        remedy = f"name the columns {', '.join(NEEDED)}, and if you have them {', '.join(OPTIONAL)}"
        raise LabError(f"{path.name} lacks the column {' and '.join(missing)}: it has {', '.join(columns)}; {remedy}")
    rows = [dict.fromkeys(columns, "") | row | {"row": str(n)} for n, row in cells if any(row.values())]
    if empty := [row["row"] for row in rows if not row["question"] and "fault" not in row]:
        raise LabError(f"{path.name}, row {_some(empty)} has no question: write one, or delete the row")
    if not rows:
        raise LabError(f"{path.name} holds no questions: write at least {2 * LEAST}, one in a row")
    return rows


def _table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Column names in small letters, and each row's number with its cells as stripped text, or with a fault."""
    if (kind := path.suffix.casefold()) not in FORMATS or not path.is_file():
        raise LabError(f"no file of questions at {path}: name one that is there and ends in {', '.join(FORMATS)}")
    if kind != ".jsonl":
        names, *records = [cells for _, cells in read_table(path)] or [[]]
        header = [name.strip().casefold() for name in names]
        if twice := [name for name in NEEDED if header.count(name) > 1]:
            remedy = "keep one; several accepted answers stand in one cell, with bars between them"
            raise LabError(f"{path.name} has the column {twice[0]} {header.count(twice[0])} times: {remedy}")
        return header, [(n, _cells(header, cells)) for n, cells in enumerate(records, start=2)]
    rows = []
    for number, line in enumerate(text_of(path)[0].split("\n"), start=1):
        try:
            pairs = json.loads(line).items() if line.strip() else ()
            rows.append((number, {str(name).strip().casefold(): _cell(value) for name, value in pairs}))
        except (ValueError, AttributeError, RecursionError) as error:
            raise LabError(f"cannot read {path.name}, line {number} ({error}): write one JSON object a line") from error
    return list(dict.fromkeys(name for _, row in rows for name in row)), rows


def _cell(value: object) -> str:
    """A value of JSON as text, a list of accepted answers with bars between them."""
    return "|".join(map(_cell, value)) if isinstance(value, list) else "" if value is None else str(value).strip()


def _cells(header: list[str], cells: list[str] | str) -> dict[str, str]:
    """A row's cells by column; a fault where it has more of them than columns, or bytes that are no text."""
    fault = cells if isinstance(cells, str) else ""
    if len(cells) > len(header) and not fault:
        fault = f"{len(cells)} cells under {len(header)} columns; put quotes around a text that holds the separator"
    if re.search("[\ud800-\udfff]", "".join(cells)):
        fault = "bytes that are not UTF-8; save the file again as UTF-8"
    return {"fault": fault} if fault else dict(zip(header, map(str.strip, cells), strict=False))


def check(
    rows: Sequence[dict[str, str]], documents: Sequence[Document], fits: Callable[[str], bool] = lambda text: True
) -> tuple[list[Item], list[str]]:
    """The rows that can be asked, as items with the documents that prove them, and a note on each that cannot, or not so well.

    An answer is found where a document holds its text (`labkit.metrics.contains`). One that no document holds is kept: the
    nearest sentence stands for its proof (`labkit.practice.judge`). Left out is what was asked before (nearly the same words,
    the same answer), and a row whose question and reply do not fit. Raises LabError for a document that is not there.
    """
    rows, names = [{"question": "", "answer": "", **row} for row in rows], _names(documents)
    repeats, nearest, items, notes = _repeats(rows), Nearest(documents), [], []
    if strange := [(row["row"], name) for row in rows for name in _parts(row, "document") if not _named(name, names)]:
        which = f"row {_some([row for row, _ in strange])} names the document '{strange[0][1]}'"
        remedy = f"choose one as {documents[0].id}, or leave the cell empty"
        raise LabError(f"{which}, which is not among the {len(documents)} read: {remedy}")
    for n, row in enumerate(rows):
        forms, places = _parts(row, "answer"), [_named(name, names) for name in _parts(row, "document")]
        if "fault" in row:
            reason = row["fault"]
        elif GAP in row["question"]:
            reason = "a sentence with a gap; write a question"
        elif n in repeats:
            reason = "as nearly the same was asked before"
        elif not all(re.search(r"[^\s.,;:!?\"']", form) for form in forms or row["answer"]):
            reason = "whose answer is only punctuation; write what a right answer must hold"
        elif not fits(f"{row['question']} {row.get('reply') or row['answer']}"):
            reason = "longer than the model's context; shorten it"
        else:
            held = {d.id: [form for form in forms if contains(d.text, form)] for d in places or documents}
            item = _item(row, forms, {name: some[0] for name, some in held.items() if some}, [d.id for d in places])
            if forms and not item.evidence:  # judged by what it says: the nearest sentence stands for a proof
                item = replace(item, evidence=nearest(f"{row['question']} {forms[0]}", places))
            items.append(item)
            continue
        notes.append(f"left out: row {row['row']}, {reason}")
    if not items and (unfinished := [row["row"] for row in rows if GAP in row["question"]]):
        raise LabError(f"row {_some(unfinished)} is a sentence with a gap still: write a question for each")
    if free := [item.id.removeprefix("row ").lstrip("0") for item in items if is_free(item)]:
        whose = f"no document holds the answers of {len(free)} rows word for word: {_some(free)}"
        notes.append(f"{whose}; what is said to them is judged by what it says (labkit.practice.judge)")
    return items, notes


def _names(documents: Sequence[Document]) -> dict[str, Document]:
    """Each document by its path or a copy's, by its file's name and its stem, in one normal form and with slashes."""
    files = [(d, Path(name)) for d in documents for name in (*d.copies, d.id)]
    return {_path(name): d for d, file in files for name in (file.stem, file.name, file.as_posix())}


def _path(name: str) -> str:
    return unicodedata.normalize("NFC", name).replace("\\", "/")


def _named(name: str, names: Mapping[str, Document]) -> Document | None:
    """The document of that path, or of the longest end of it that is one: a path may be of another machine."""
    parts = _path(name).split("/")
    return next((names[end] for n in range(len(parts)) if (end := "/".join(parts[n:])) in names), None)


def _repeats(rows: Sequence[dict[str, str]]) -> set[int]:
    """The rows that ask what one before them asks; two wordings of one question may both be trained on."""
    pairs = duplicates([row["question"] for row in rows], near=0.8)
    same = {p.test for p in pairs if p.match != "near" or rows[p.train]["answer"] == rows[p.test]["answer"] != ""}
    return same - {p.test for p in pairs if {rows[n].get("split", "") for n in (p.train, p.test)} == {"train"}}


def _name(row: dict[str, str]) -> str:
    return f"row {int(row['row']):05d}"  # sorts as the file does


def _parts(row: dict[str, str], column: str, mark: str = "|") -> list[str]:
    """What a cell holds, divided by a mark."""
    return [part.strip() for part in row.get(column, "").split(mark) if part.strip()]


def _some(rows: Sequence[str]) -> str:
    return ", ".join(rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def _item(row: dict[str, str], forms: Sequence[str], proof: dict[str, str], places: Sequence[str]) -> Item:
    """A row as an item: what proves it is the answer in a document, or a quote of each where several are named."""
    quotes, evidence = _parts(row, "quote", " || "), []
    way = NEAREST if forms and not proof else ""
    if len(quotes) == len(places) and (len(places) > 1 or not proof):
        evidence = [Evidence(name, "", quote, way, "", "") for name, quote in zip(places, quotes, strict=True)]
    elif proof:
        first, *others = proof
        evidence = [Evidence(first, proof[first], row.get("quote", ""), "", "", "", tuple(others))]
    kind = row.get("kind") or ("in the documents" if forms else UNKNOWN)
    gold, rivals = forms[0] if forms else None, tuple(_parts(row, "rivals"))
    return Item(_name(row), kind, row["question"], gold, gold or ABSTAIN, rivals, tuple(evidence), tuple(forms[1:]))


def load(
    path: Path | str, documents: Sequence[Document], within: float | None = None,
    fits: Callable[[str], bool] = lambda text: True,
) -> Questions:  # fmt: skip
    """Read, check and split a file of questions; half of them is for the test where no column `split` parts them.

    `within` is the half-width wanted of an interval on a share: raises LabError where the test is too small for it, saying
    how many questions it takes, and as `read_rows`, `check` and `learn` do.

    >>> len(load("data/prose/questions.csv", documents).test)
    160
    """
    rows = read_rows(path)
    items, notes = check(rows, documents, fits)
    unsure = [] if Path(path).suffix.casefold() == ".xlsx" else text_of(Path(path))[1]
    notes += [f"{Path(path).name}: {note}" for note in unsure]
    train, test = _parted(items, {_name(row): row.get("split", "").casefold() for row in rows}, _lost(notes))
    if min(len(train), len(test)) < LEAST:
        sizes = f"{len(train)} to train and {len(test)} to test on{_lost(notes)}"
        raise LabError(f"too few questions: {sizes}; {LEAST} each are the least, {needed(0.1)} in the test tell ±0.10")
    if within and len(test) < needed(within):
        more = f"for ±{within:.2f} write {needed(within) - len(test)} more, {needed(within)} in all"
        raise LabError(f"{len(test)} test questions tell a share to ±{half_width(len(test)):.2f}: {more}")
    sizes = f"{len(train)} questions to train on, {len(test)} to test on"
    notes += [f"{sizes}: a share is told to ±{half_width(len(test)):.2f} at worst; ±0.10 takes {needed(0.1)}"]
    replies = {_name(row): row.get("reply", "") for row in rows}
    style = learn({item.id: replies[item.id] for item in items}, [item.id for item in train])
    return Questions([style.body_of(item, replies[item.id]) for item in train] if style else train, test, style, notes)


def _lost(notes: Sequence[str]) -> str:
    """How many rows were left out, and why the first was; nothing where none were."""
    lost = [note.removeprefix("left out: ") for note in notes if note.startswith("left out: ")]
    return f", {len(lost)} rows were left out, the first {lost[0]}" if lost else ""


def _parted(items: Sequence[Item], sides: dict[str, str], lost: str) -> tuple[list[Item], list[Item]]:
    """Training and test items: by the column `split` where it is filled, else at random with a fixed seed."""
    marks = {sides[item.id] for item in items}
    if marks == {""}:
        if len(items) < 2 * LEAST:
            raise LabError(f"too few questions: {len(items)} can be judged{lost}; write {2 * LEAST} at least")
        tested = set(Random(0).sample(range(len(items)), round(len(items) / 2)))
        train, test = [i for n, i in enumerate(items) if n not in tested], [items[n] for n in sorted(tested)]
        refuse_leaks([item.question for item in train], [item.question for item in test])
        return train, test
    if strange := marks - set(SIDES):
        choices = " or ".join(SIDES)
        raise LabError(f"the column split holds '{min(strange)}': write {choices} in each row, or leave all empty")
    return tuple([item for item in items if sides[item.id] == side] for side in ("train", "test"))


def half_width(count: int) -> float:
    """Half of the 95 % interval on a share of `count` questions, at its widest (normal approximation, share 0.5).

    >>> round(half_width(96), 3)
    0.1
    """
    return 1.96 * 0.5 / math.sqrt(count)


def needed(half: float) -> int:
    """How many questions tell a share to ± `half`, at worst.

    >>> needed(0.1)
    97
    """
    if not 0 < half < 1:
        raise LabError(f"an interval of ±{half:g} is none: ask for more than 0 and less than 1, as 0.1")
    return math.ceil((1.96 * 0.5 / half) ** 2)


COLUMNS = ("question", "answer", "document", "quote", "kind")
"""Of a file of proposals."""
ASK = (
    "Write one question that the document answers, and the answer in the document's own few words. "
    "Reply with two lines: Question: ... and Answer: ..."
)


def ask_for_question(chunk: Chunk) -> list[Message]:
    """The conversation that asks a model for a question on a passage."""
    return [{"role": "system", "content": ASK}, {"role": "user", "content": f"Document: {chunk.title}\n{chunk.text}"}]


def parse(reply: str, chunk: Chunk) -> dict[str, str] | str:
    """A row of the file from a model's reply, or why it will not do.

    The answer must stand in the passage and not in the question.

    >>> parse("Question: Why is it red?\\nAnswer: rust", chunk)["quote"]
    'It is red with rust.'
    """
    match = re.search(r"Question:\s*(.+?)\s*Answer:\s*([^\n]+)", reply, re.DOTALL)
    if not match:
        return "no question and answer in the reply"
    question, answer = " ".join(match[1].split()), match[2].strip(" .\"'*")
    if not question.endswith("?") or len(question.split()) < 4:
        return "no whole question"
    if not answer or len(answer.split()) > 12 or not contains(chunk.text, answer):
        return "the answer does not stand in the passage"
    if contains(question, answer):
        return "the question gives its answer"
    return _row(question, answer, chunk, "proposed")


def gap(chunk: Chunk) -> dict[str, str] | None:
    """A sentence of the passage with a name or number left out, as a start for a question of yours; None without any."""
    for sentence in _sentences(chunk.text):
        for value in values(sentence):
            if re.search(r"\d|[A-Z]", value) and sentence.count(value) == 1 and contains(sentence, value):
                return _row(sentence.replace(value, GAP), value, chunk, "gap: write a question for it")
    return None


def _row(question: str, answer: str, chunk: Chunk, kind: str) -> dict[str, str]:
    quote = next((s for s in _sentences(chunk.text) if contains(s, answer)), "")
    return dict(zip(COLUMNS, (question, answer, chunk.document_id, quote, kind), strict=True))


def _sentences(text: str) -> list[str]:
    return [s for s in re.split(r"(?<=[.!?])\s+", " ".join(text.split())) if len(s.split()) > 3]


def propose(lab: OwnLab, count: int) -> tuple[list[dict[str, str]], dict[str, int]]:
    """About `count` rows from passages over all documents, with a gap where a reply will not do; and failures by reason."""
    from tqdm import tqdm

    chunks = passages_of(lab, count)
    with tqdm(total=len(chunks), unit="passage", disable=not lab.progress) as bar:
        replies = lab.model.generate([ask_for_question(c) for c in chunks], 64, progress=bar.update)
    parsed = [parse(reply.text, chunk) for reply, chunk in zip(replies, chunks, strict=True)]
    failures = Counter(result for result in parsed if isinstance(result, str))
    drafts = [gap(chunk) if isinstance(result, str) else result for result, chunk in zip(parsed, chunks, strict=True)]
    rows = [row for row in drafts if row]
    again = {pair.test for pair in duplicates([row["question"] for row in rows], near=0.8)}
    return [row for n, row in enumerate(rows) if n not in again], dict(failures)


def passages_of(lab: OwnLab, count: int) -> Sequence[Chunk]:
    """`count` passages, as many from each document as it has its share of."""
    from labkit.rag.chunk import chunk_documents

    chunks = chunk_documents(lab.documents, lab.embedder.tokenizer, size=lab.profile.chunk_size, overlap=0)
    long = [chunk for chunk in chunks if len(chunk.text.split()) > 12] or chunks
    return [long[n * len(long) // count] for n in range(count)] if count < len(long) else long


def propose_into(lab: OwnLab, path: Path, count: int) -> str:
    """Write proposals to a CSV file; in words, what is in it and what to do. LabError for a file that is there, or no row."""
    import pandas as pd

    if path.exists():
        raise LabError(f"{path} is there already: name it with --questions, or move it away for new proposals")
    rows, failures = propose(lab, count)
    if not rows:
        raise LabError(f"no passage of {lab.folder.name} gives a question: write some by hand, one in a row")
    write_bytes(path, pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False).encode())
    whole = sum(row["kind"] == "proposed" for row in rows)
    why = "; ".join(f"{n} of its replies failed: {reason}" for reason, n in failures.items())
    return (
        f"{whole} questions proposed by {lab.profile.name}, {len(rows) - whole} sentences with a gap to make one of"
        f"{f' ({why})' if why else ''}. Edit them, then: --questions {path}"
    )
