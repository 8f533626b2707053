"""Your questions: read from a file, checked against your documents, parted into training and test.

Introduced in 21_own_data.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.data import Evidence, Item
from labkit.errors import LabError
from labkit.metrics import contains
from labkit.practice.own_data_style import Style, learn
from labkit.rag.augment import ABSTAIN
from labkit.rag.ingest import Document
from labkit.tune.leaks import duplicates, split
from labkit.tune.prepare import Example

NEEDED, OPTIONAL = ("question", "answer"), ("document", "quote", "kind", "rivals", "reply", "split")
FORMATS = (".csv", ".jsonl", ".xlsx")
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
    """The rows of a CSV, JSON-lines or Excel file as text by column, with the row's number in the file under "row".

    Columns are question and answer (accepted forms with a bar between them, empty where no document answers), and if you like document
    (several with a bar between them), quote, kind, rivals (for a question which of two: the other one), reply (the answer as it should
    sound) and split (train or test; dev and held are left aside). Raises LabError for a file that cannot be read, a missing column
    and a missing question. Introduced in 21_own_data.

    >>> read_rows("data/prose/questions.csv")[0]["answer"]
    'Manaus'
    """
    path = Path(path)
    columns, cells = _table(path)
    if missing := [name for name in NEEDED if name not in columns]:
        remedy = f"name the columns {', '.join(NEEDED)}, and if you have them {', '.join(OPTIONAL)}"
        raise LabError(f"{path.name} lacks the column {' and '.join(missing)}: it has {', '.join(columns)}; {remedy}")
    numbered = enumerate(cells, start=1 if path.suffix.casefold() == ".jsonl" else 2)
    rows = [{**row, "row": str(n)} for n, row in numbered if any(row.values())]
    if unasked := [row["row"] for row in rows if not row["question"]]:
        raise LabError(f"{path.name}, row {_some(unasked)} has no question: write one, or delete the row")
    if not rows:
        raise LabError(f"{path.name} holds no questions: write at least {2 * LEAST}, one in a row")
    return rows


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names in small letters, and each row's cells as stripped text."""
    import pandas as pd

    kind = path.suffix.casefold()
    if kind not in FORMATS or not path.is_file():
        raise LabError(f"no file of questions at {path}: name one that is there and ends in {', '.join(FORMATS)}")
    try:
        if kind == ".jsonl":
            lines = path.read_text("utf-8-sig").splitlines()
            found = pd.DataFrame([json.loads(line) for line in lines if line.strip()], dtype=object)
        elif kind == ".xlsx":
            found = pd.read_excel(path, dtype=str, keep_default_na=False)
        else:
            found = pd.read_csv(path, dtype=str, encoding="utf-8-sig", skip_blank_lines=False, keep_default_na=False)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        said = " ".join(str(error).split())[:120]
        raise LabError(f"cannot read {path.name} ({said}): save it again as UTF-8") from error
    found.columns = [str(name).strip().casefold() for name in found.columns]
    texts = found.astype(object).where(found.notna(), "").map(lambda cell: str(cell).strip())
    return list(found.columns), texts.to_dict("records")


def check(rows: Sequence[dict[str, str]], documents: Sequence[Document]) -> tuple[list[Item], list[str]]:
    """The rows that can be judged, as items with the documents that prove them, and a note on each that cannot.

    An answer counts as found where a document holds its text, whatever case and thousands separators; what no document
    holds, and what was asked before (nearly the same words, the same answer), is left out. Raises LabError for a document
    that is not there, and where no answer is found at all. Introduced in 21_own_data.

    >>> items, notes = check(read_rows("questions.csv"), ingest("documents").documents)
    """
    names = {name: d for d in documents for name in (Path(d.id).stem, Path(d.id).name, d.id)}
    if strange := [(row["row"], name) for row in rows for name in _parts(row, "document") if name not in names]:
        named = f"row {_some([row for row, _ in strange])} names the document '{strange[0][1]}'"
        remedy = f"choose one as {documents[0].id}, or leave the cell empty"
        raise LabError(f"{named}, which is not among the {len(documents)} read: {remedy}")
    alike = duplicates([row["question"] for row in rows], near=0.8)
    repeated = {a.test for a in alike if a.match != "near" or rows[a.train]["answer"] == rows[a.test]["answer"] != ""}
    repeated -= {a.test for a in alike if {rows[n].get("split", "") for n in (a.train, a.test)} == {"train"}}
    items, lost = [], []
    for row in [row for n, row in enumerate(rows) if n not in repeated and GAP not in row["question"]]:
        forms, named = _parts(row, "answer"), [names[name] for name in _parts(row, "document")]
        proof = [(d.id, form) for d in named or documents for form in forms if contains(d.text, form)]
        if forms and not proof:
            lost.append(row)
        else:
            items.append(_item(row, forms, dict(reversed(proof)), [d.id for d in named]))
    unfinished = [row["row"] for row in rows if GAP in row["question"]]
    if unfinished and not items:
        raise LabError(f"row {_some(unfinished)} is a sentence with a gap still: write a question for each")
    if not any(item.gold for item in items):
        first = f", the first '{lost[0]['answer']}'" if lost else ""
        raise LabError(f"no answer is found in any document{first}: write each as it stands there")
    told = [f"row {row}, a sentence with a gap; write a question" for row in unfinished]
    told += [f"row {rows[n]['row']}, as nearly the same was asked before" for n in sorted(repeated)]
    return items, [f"left out: {reason}" for reason in told + [_missing(row) for row in lost]]


def _missing(row: dict[str, str]) -> str:
    where = f"not in {row['document']}" if row.get("document") else "not in any document"
    return f"row {row['row']}, whose answer '{row['answer']}' is {where}; write it as it stands there"


def _name(row: dict[str, str]) -> str:
    return f"row {int(row['row']):05d}"  # sorts as the file does


def _parts(row: dict[str, str], column: str, mark: str = "|") -> list[str]:
    """What a cell holds, divided by a mark."""
    return [part.strip() for part in row.get(column, "").split(mark) if part.strip()]


def _item(row: dict[str, str], forms: Sequence[str], proof: dict[str, str], named: Sequence[str]) -> Item:
    """A row as an item: what proves it is the answer in a document, or a quote of each where several are named."""
    quotes = _parts(row, "quote", " || ")
    places = list(proof)[::-1]
    if len(named) > 1 and len(quotes) == len(named):
        evidence = [Evidence(name, "", quote, "", "", "") for name, quote in zip(named, quotes, strict=True)]
    else:
        evidence = (
            [Evidence(places[0], proof[places[0]], row.get("quote", ""), "", "", "", tuple(places[1:]))]
            if forms
            else []
        )
    kind = row.get("kind") or ("in the documents" if forms else UNKNOWN)
    gold, rivals = forms[0] if forms else None, tuple(_parts(row, "rivals"))
    return Item(_name(row), kind, row["question"], gold, gold or ABSTAIN, rivals, tuple(evidence), tuple(forms[1:]))


def load(path: Path | str, documents: Sequence[Document], within: float | None = None, share: float = 0.5) -> Questions:
    """Read, check and split a file of questions; `share` of them is for the test where no column `split` parts them.

    `within` is the half-width wanted of an interval on a share: raises LabError where the test is too small for it, saying
    how many questions it takes, and as `read_rows`, `check` and `learn` do. Introduced in 21_own_data.

    >>> len(load("data/prose/questions.csv", documents).test)
    160
    """
    rows = read_rows(path)
    items, notes = check(rows, documents)
    train, test = _parted(items, {_name(row): row.get("split", "") for row in rows}, share, notes)
    if min(len(train), len(test)) < LEAST:
        found = f"{len(train)} to train and {len(test)} to test on{_lost(notes)}"
        raise LabError(f"too few questions: {found}; {LEAST} each are the least, {needed(0.1)} in the test tell ±0.10")
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


def _parted(
    items: Sequence[Item], sides: dict[str, str], share: float, notes: Sequence[str] = ()
) -> tuple[list[Item], list[Item]]:
    """Training and test items: by the column `split` where it is filled, else at random with a fixed seed."""
    told = {sides[item.id].casefold() for item in items}
    if told == {""}:
        asked = [Example([{"role": "user", "content": item.question}]) for item in items]
        if len(items) < 2 * LEAST:
            raise LabError(f"too few questions: {len(items)} can be judged{_lost(notes)}; write {2 * LEAST} at least")
        parts = split(asked, by=None, share=share, near=None)
        return [items[i] for i in parts.train], [items[i] for i in parts.test]
    if strange := told - set(SIDES):
        raise LabError(
            f"the column split holds '{min(strange)}': write {' or '.join(SIDES)} in each row, or leave all empty"
        )
    return tuple([item for item in items if sides[item.id].casefold() == side] for side in ("train", "test"))


def half_width(count: int) -> float:
    """Half of the 95 % interval on a share of `count` questions, at its widest (normal approximation, share 0.5).

    >>> round(half_width(96), 3)
    0.1
    """
    return 1.96 * 0.5 / math.sqrt(count)


def needed(half: float) -> int:
    """How many questions tell a share to ± `half`, at worst. Introduced in 21_own_data.

    >>> needed(0.1)
    97
    """
    if not 0 < half < 1:
        raise LabError(f"an interval of ±{half:g} is none: ask for more than 0 and less than 1, as 0.1")
    return math.ceil((1.96 * 0.5 / half) ** 2)


def _some(rows: Sequence[str]) -> str:
    return ", ".join(rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
