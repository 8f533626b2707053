"""Where you have documents and no questions: the model proposes some, each checked against its passage, for you to edit.

Introduced in 21_own_data.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.metrics import contains
from labkit.practice.own_data_questions import GAP
from labkit.rag.augment import values
from labkit.store import write_bytes
from labkit.tune.leaks import duplicates

if TYPE_CHECKING:
    from labkit.practice.own_data import OwnLab
    from labkit.rag.augment import Message
    from labkit.rag.chunk import Chunk

COLUMNS = ("question", "answer", "document", "quote", "kind")
ASK = (
    "Write one question that the document answers, and the answer in the document's own few words. "
    "Reply with two lines: Question: ... and Answer: ..."
)
UNFINISHED = "gap: write a question for it"


def ask_for_question(chunk: Chunk) -> list[Message]:
    """The conversation that asks a model for a question on a passage."""
    return [{"role": "system", "content": ASK}, {"role": "user", "content": f"Document: {chunk.title}\n{chunk.text}"}]


def parse(reply: str, chunk: Chunk) -> dict[str, str] | str:
    """A row of the file from a model's reply, or why it will not do.

    The answer must stand in the passage and not in the question. Introduced in 21_own_data.

    >>> parse("Question: Why is it red?\\nAnswer: rust", chunk)["quote"]
    'It is red with rust.'
    """
    found = re.search(r"Question:\s*(.+?)\s*Answer:\s*([^\n]+)", reply, re.DOTALL)
    if not found:
        return "no question and answer in the reply"
    question, answer = " ".join(found[1].split()), found[2].strip(" .\"'*")
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
                return _row(sentence.replace(value, GAP), value, chunk, UNFINISHED)
    return None


def _row(question: str, answer: str, chunk: Chunk, kind: str) -> dict[str, str]:
    quote = next((s for s in _sentences(chunk.text) if contains(s, answer)), "")
    return dict(zip(COLUMNS, (question, answer, chunk.document_id, quote, kind), strict=True))


def _sentences(text: str) -> list[str]:
    return [s for s in re.split(r"(?<=[.!?])\s+", " ".join(text.split())) if len(s.split()) > 3]


def propose(lab: OwnLab, count: int) -> tuple[list[dict[str, str]], dict[str, int]]:
    """About `count` rows from passages spread over all documents, and how many replies failed, by reason.

    Where the model's reply does not pass, its passage gives a sentence with a gap instead. Introduced in 21_own_data.

    >>> rows, failed = propose(lab, count=40)
    """
    from tqdm import tqdm

    chunks = _spread(lab, count)
    with tqdm(total=len(chunks), unit="passage", disable=not lab.progress) as bar:
        made = lab.model.generate([ask_for_question(c) for c in chunks], 64, progress=bar.update)
    parsed = [parse(reply.text, chunk) for reply, chunk in zip(made, chunks, strict=True)]
    failed: dict[str, int] = {}
    for reason in [found for found in parsed if isinstance(found, str)]:
        failed[reason] = failed.get(reason, 0) + 1
    rows = [gap(chunk) if isinstance(found, str) else found for found, chunk in zip(parsed, chunks, strict=True)]
    kept = [row for row in rows if row]
    again = {leak.test for leak in duplicates([row["question"] for row in kept], near=0.8)}
    return [row for n, row in enumerate(kept) if n not in again], failed


def _spread(lab: OwnLab, count: int) -> Sequence[Chunk]:
    """`count` passages, as many from each document as it has its share of."""
    from labkit.rag.chunk import chunk_documents

    chunks = chunk_documents(lab.documents, lab.embedder.tokenizer, size=lab.profile.chunk_size, overlap=0)
    long = [chunk for chunk in chunks if len(chunk.text.split()) > 12] or chunks
    return [long[n * len(long) // count] for n in range(count)] if count < len(long) else long


def propose_into(lab: OwnLab, path: Path, count: int) -> str:
    """Write proposals to a CSV file that is not there yet; in words, what is in it and what to do.

    Raises LabError for a file that is there, as you may have edited it, and where no passage gives a row.
    """
    if path.exists():
        raise LabError(f"{path} is there already: name it with --questions, or move it away for new proposals")
    rows, failed = propose(lab, count)
    if not rows:
        raise LabError(f"no passage of {lab.folder.name} gives a question: write some by hand, one in a row")
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, table.getvalue().encode())
    mine = sum(row["kind"] == "proposed" for row in rows)
    why = "; ".join(f"{n} of its replies failed: {reason}" for reason, n in failed.items())
    return (
        f"{mine} questions proposed by {lab.profile.name}, {len(rows) - mine} sentences with a gap to make one of"
        f"{f' ({why})' if why else ''}. Edit them, then: --questions {path}"
    )
