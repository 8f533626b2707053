"""Training examples as tables: CSV with a prompt and a response in each row. Introduced in 07_prepare."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from labkit.errors import LabError
from labkit.store import write_bytes
from labkit.tune.pairs import BadRow, Example, fault, read_text

ROLE_OF = {"system": "system", "prompt": "user", "response": "assistant"}


def write_csv(path: Path | str, examples: Sequence[Example]) -> None:
    """Columns system, prompt, response and one for each tag (RFC 4180, UTF-8); whole or not at all.

    Raises LabError naming the example, counted from 0, that a row cannot hold: several turns, or a tag that is not text.
    """
    tags = list(dict.fromkeys(tag for example in examples for tag in example.tags))
    table = io.StringIO(newline="")
    writer = csv.writer(table, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow([*ROLE_OF, *tags])
    for n, example in enumerate(examples):
        if wrong := _unfit(example):
            raise LabError(f"example {n}: {wrong}: write JSON lines instead")
        texts = {message["role"]: message["content"] for message in example.messages}
        writer.writerow([*(texts.get(role, "") for role in ROLE_OF.values()), *(example.tags.get(t, "") for t in tags)])
    write_bytes(path, table.getvalue().encode())


def _unfit(example: Example) -> str | None:
    roles = [message.get("role") for message in example.messages]
    if roles not in (["user", "assistant"], ["system", "user", "assistant"]):
        return f"a row of CSV cannot hold the turns {roles}"
    odd = [tag for tag, value in example.tags.items() if not isinstance(value, str) or tag in ROLE_OF]
    return f"the tag '{odd[0]}' is not text, or is named like a column" if odd else fault(example.messages)


def read_csv(
    path: Path | str, prompt: str = "prompt", response: str = "response", system: str = "system"
) -> tuple[list[Example], list[BadRow]]:
    """The good rows of a CSV file, and each bad one with the number of its first line and a reason.

    The three arguments name columns; `system` may be missing, other columns become tags, an empty cell is none.
    A quote that is never closed costs its own line and no other. Raises LabError for a file that cannot be read or
    lacks a column. Introduced in 07_prepare.

    >>> read_csv("pairs.csv", prompt="question", response="answer")[1]
    [BadRow(line=4, reason='2 cells where the header has 3')]
    """
    rows = _records(list(io.StringIO(read_text(path, "CSV"), newline="")))
    header = next(rows, (1, []))[1]
    names = {system: "system", prompt: "user", response: "assistant"}
    if isinstance(header, str) or not {prompt, response} <= set(header) or len(set(header)) < len(header):
        raise LabError(f"{path} has the columns {header}: give {prompt} and {response}, each name once")
    good: list[Example] = []
    bad: list[BadRow] = []
    for number, cells in rows:
        found = cells if isinstance(cells, str) else _example(cells, header, names)
        (bad.append(BadRow(number, found)) if isinstance(found, str) else good.append(found))
    return good, bad


def _example(cells: list[str], header: list[str], names: dict[str, str]) -> Example | str:
    """An example, or what is wrong with the row."""
    if len(cells) != len(header):
        return f"{len(cells)} cells where the header has {len(header)}"
    row = dict(zip(header, cells, strict=True))
    empty = [name for name, role in names.items() if role != "system" and not row[name].strip()]
    if empty:
        return f"no {empty[0]}"
    messages = [{"role": role, "content": row[name]} for name, role in names.items() if row.get(name)]
    tags = {name: cell for name, cell in row.items() if name not in names and cell}
    return fault(messages) or Example(messages, tags)


def _records(lines: list[str]) -> Iterator[tuple[int, list[str] | str]]:
    """Each record with the number of its first line; where one is broken, its reason, and reading goes on a line below."""
    at = 0
    while at < len(lines):
        reader, start = csv.reader(islice(lines, at, None), strict=True), at
        try:
            for cells in reader:
                if "".join(cells).strip():
                    yield start + 1, cells
                start = at + reader.line_num
            return
        except csv.Error as error:
            yield start + 1, f"not CSV: {error}"
            at = start + 1
