"""Articles about the real world become documents in four formats, and their facts one table of questions.

`data/make/prose` holds what was written by hand: an article in Markdown and a JSON file of its facts for each
subject, and for each set of subjects a JSON file of questions over two articles (`_*.json`).

    python -m data.make.prose
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.make.documents import Block, Bullets, Heading, Manuscript, Paragraph, Table
from data.make.render import render
from labkit.store import write_bytes

SOURCE = Path(__file__).parent / "prose"
TARGET = Path(__file__).parent.parent / "prose"
FORMATS = ("md", "html", "pdf", "docx")
HOUSE, REVISION = "A small encyclopaedia", "First edition"
DEVELOPMENT = 12  # articles whose questions are for choosing settings
TESTED = 160  # questions on the others that are the test; what is left is held back
COLUMNS = ("question", "answer", "document", "quote", "kind", "rivals", "split")
Row = dict[str, str]


def main() -> None:
    """Write `data/prose`: every document, and questions.csv."""
    names = sorted(path.stem for path in SOURCE.glob("*.md"))
    files = {name: f"{name}.{FORMATS[n % len(FORMATS)]}" for n, name in enumerate(names)}
    for old in (TARGET / "documents").glob("*"):
        if old.name not in files.values():
            old.unlink()
    for name, file in files.items():
        write_bytes(TARGET / "documents" / file, render(manuscript(file, (SOURCE / f"{name}.md").read_text("utf-8"))))
    rows = list(questions(files))
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(TARGET / "questions.csv", table.getvalue().encode())
    splits = [row["split"] for row in rows]
    print(f"{len(files)} documents;", ", ".join(f"{splits.count(s)} {s}" for s in dict.fromkeys(splits)))


def manuscript(file: str, text: str) -> Manuscript:
    """An article's Markdown as blocks: headings, paragraphs, bullet lists and pipe tables."""
    blocks = tuple(block(part) for part in re.split(r"\n\s*\n", text.strip()))
    return Manuscript(file, blocks[0].text, REVISION, blocks, (), HOUSE)


def block(part: str) -> Block:
    """One block of Markdown.

    >>> block("## Size")
    Heading(text='Size', level=2)
    """
    lines = part.strip().splitlines()
    if lines[0].startswith("#"):
        marks, _, title = lines[0].partition(" ")
        return Heading(title.strip(), len(marks))
    if lines[0].startswith("- "):
        return Bullets(tuple(line[2:].strip() for line in lines))
    if lines[0].startswith("|"):
        rows = [tuple(cell.strip() for cell in line.strip().strip("|").split("|")) for line in lines]
        return Table(tuple(row for row in rows if not set("".join(row)) <= set("-: ")))
    return Paragraph(" ".join(lines))


def questions(files: dict[str, str]) -> Iterator[Row]:
    """A row for every question: test and development ones first, then those to train on.

    Articles for development are drawn by checksum, and with them every question that touches one. Of the other
    questions a part of each kind is the test, and what is left is held back: nothing was chosen or measured on it.
    """
    facts = {name: json.loads((SOURCE / f"{name}.json").read_text("utf-8")) for name in files}
    pairs = [json.loads(path.read_text("utf-8")) for path in sorted(SOURCE.glob("_*.json"))]
    ranked = sorted(files, key=lambda name: zlib.crc32(name.encode()))
    development = set(ranked[:DEVELOPMENT])
    asked: list[tuple[set[str], Row]] = []
    trained: list[Row] = []
    for name, found in facts.items():
        for fact in found["facts"]:
            row = {"answer": fact["answer"], "document": files[name], "quote": fact["quote"]}
            asked.append(({name}, {**row, "question": fact["question"], "kind": fact["kind"]}))
            trained += [{**row, "question": q, "kind": "single fact"} for q in fact["train"]]
        kind = {"kind": "not in the documents"}
        asked += [({name}, {"question": q, **kind}) for q in found["unanswerable"]]
        trained += [{"question": q, **kind} for q in found["unanswerable_train"]]
    for what, item in ((k, item) for group in pairs for k in group for item in group[k]):
        about = [Path(name).stem for name in item["documents"]]
        row = {
            "kind": what,
            "answer": item["answer"],
            "document": "|".join(files[name] for name in about),
            "quote": " || ".join(item["quotes"]),
            "rivals": "|".join(item.get("rivals", [])),
        }
        asked.append((set(about), {**row, "question": item["question"]}))
        trained += [{**row, "question": q} for q in item["train"]]
    chosen = _test([row for about, row in asked if not about & development])
    for about, row in asked:
        split = "dev" if about & development else "test" if row["question"] in chosen else "held"
        yield {**dict.fromkeys(COLUMNS, ""), **row, "split": split}
    for row in trained:
        yield {**dict.fromkeys(COLUMNS, ""), **row, "split": "train"}


def _test(rows: list[dict[str, Any]]) -> set[str]:
    """The questions of the test: of every kind in proportion, by checksum."""
    kinds = {kind: [row["question"] for row in rows if row["kind"] == kind] for kind in {row["kind"] for row in rows}}
    share = TESTED / len(rows)
    order = {kind: sorted(group, key=lambda q: zlib.crc32(q.encode())) for kind, group in kinds.items()}
    return {question for group in order.values() for question in group[: round(share * len(group))]}


if __name__ == "__main__":
    main()
