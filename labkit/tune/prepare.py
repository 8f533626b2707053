"""Training examples: in files, and as rows of tokens in which only the answers are learned."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError
from labkit.model import encode, ends, render
from labkit.store import write_bytes
from labkit.table import read_table

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from labkit.model import Message

ROLES = ("system", "user", "assistant")
IGNORED = -100
Row = dict[str, list[int]]


@dataclass(frozen=True)
class Example:
    """A conversation whose assistant messages are to be learned; `tags` say what it is about, to split by."""

    messages: list[Message]
    tags: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The last thing that the user says; LabError without one."""
        questions = [message["content"] for message in self.messages if message["role"] == "user"]
        if not questions:
            raise LabError(f"no user message in an example of {len(self.messages)}: add the question")
        return questions[-1]


@dataclass(frozen=True)
class BadRow:
    """A line of a file that holds no example: its number, from 1, and why."""

    line: int
    reason: str


def write_examples(path: Path | str, examples: Iterable[Example]) -> None:
    """JSON lines of `messages` and tags, whole or not at all; LabError naming the example, from 0, that could not be read again."""
    lines = []
    for n, example in enumerate(examples):
        if wrong := "a tag is named messages" if "messages" in example.tags else fault(example.messages):
            raise LabError(f"example {n}: {wrong}: correct it before writing")
        row = {"messages": example.messages, **example.tags}
        try:
            lines.append(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        except (TypeError, ValueError) as error:
            raise LabError(f"example {n}: its tags are not JSON ({error}): use text, numbers and lists") from error
    write_bytes(path, b"".join(lines))


def read_pairs(path: Path | str) -> tuple[list[Example], list[BadRow]]:
    """The examples of a .jsonl file or a table, and its bad rows; LabError for another file, and for no example."""
    kinds = {".jsonl": read_examples, ".csv": read_csv, ".tsv": read_csv, ".xlsx": read_csv}
    if (kind := Path(path).suffix.casefold()) not in kinds:
        raise LabError(f"{path} is neither {', '.join(kinds)}: write one conversation a line, or prompt,response rows")
    good, bad = kinds[kind](path)
    if not good:
        first = f"; line {bad[0].line}: {bad[0].reason}" if bad else ""
        raise LabError(f"{path} holds no example{first}: give at least one prompt with its response")
    return good, bad


def read_examples(path: Path | str) -> tuple[list[Example], list[BadRow]]:
    """The good rows of a JSON-lines file, and each bad one with its line number and reason.

    Every line that is not blank is one or the other. What stands beside `messages` becomes tags. Raises LabError
    for a file that cannot be read.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig", "surrogateescape")  # what is wrong in it, `fault` tells
    except OSError as error:
        raise LabError(f"cannot read {path} ({type(error).__name__}): give a JSON-lines file") from error
    lines = enumerate(text.split("\n"), start=1)
    return _good_and_bad((number, _parse(line)) for number, line in lines if line.strip())


def _good_and_bad(rows: Iterable[tuple[int, Example | str]]) -> tuple[list[Example], list[BadRow]]:
    """Examples apart from reasons, which get their lines."""
    rows = list(rows)
    good = [row for _, row in rows if isinstance(row, Example)]
    return good, [BadRow(number, row) for number, row in rows if isinstance(row, str)]


def _parse(line: str) -> Example | str:
    """An example, or what is wrong with the line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    messages = row.pop("messages", None) if isinstance(row, dict) else None
    return fault(messages) or (f"a tag {wrong}" if (wrong := _encoded(row)) else Example(messages, row))


def fault(messages: Any) -> str | None:
    """What keeps a value from being a conversation to learn, in a few words; None where nothing does."""
    if not isinstance(messages, list) or not messages:
        return "no list of messages"
    for n, message in enumerate(messages, start=1):
        if wrong := _message_fault(message):
            return f"message {n} {wrong}"
    if messages[-1]["role"] != "assistant":
        return "the last message is not the assistant's"
    return None


def _message_fault(message: Any) -> str | None:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        return f"has no role of {', '.join(ROLES)}"
    if not isinstance(message.get("content"), str) or not message["content"].strip():
        return "has no text"
    if unread := sorted(message.keys() - {"role", "content"}):
        return f"has fields that are not learned: {', '.join(unread)}"
    return _encoded(message["content"])


def _encoded(value: Any) -> str | None:
    """Whether all text in a JSON value can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "is not UTF-8 text"
    return None


def read_csv(
    path: Path | str, prompt: str = "prompt", response: str = "response"
) -> tuple[list[Example], list[BadRow]]:
    """The good rows of a table (`labkit.table`), and each bad one with the number of its first line and a reason.

    The arguments name columns; one called system may be there, other columns become tags, an empty cell is none.
    Raises LabError for a file that cannot be read or lacks a column.
    """
    rows = (row for row in read_table(path) if row[1])
    header = next(rows, (1, []))[1]
    names = {"system": "system", prompt: "user", response: "assistant"}
    if isinstance(header, str) or not {prompt, response} <= set(header) or len(set(header)) < len(header):
        raise LabError(f"{path} has the columns {header}: give {prompt} and {response}, each name once")
    return _good_and_bad(
        (number, cells if isinstance(cells, str) else _example(cells, header, names)) for number, cells in rows
    )


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


def tokenise(example: Example, tokenizer: PreTrainedTokenizerBase, limit: int) -> tuple[list[int], list[int]]:
    """Token ids, and labels that are -100 but on each answer up to and with its end token.

    Prompt and answer are tokenised apart, as they are when the model answers. Raises LabError for an example
    longer than `limit` tokens, without an answer, or in a template that rewrites earlier turns.

    >>> ids, labels = tokenise(example, tokenizer, limit=512)
    >>> tokenizer.decode([i for i in labels if i != -100])
    'Because.<|im_end|>'
    """
    ids: list[int] = []
    labels: list[int] = []
    prefix = ""
    turns = [i for i, message in enumerate(example.messages) if message["role"] == "assistant"]
    for turn in turns:
        before = render(tokenizer, example.messages[:turn], prompt=True)
        after = render(tokenizer, example.messages[: turn + 1])
        if not before.startswith(prefix) or not after.startswith(before):
            raise LabError("the chat template rewrites earlier turns: keep one answer in each example")
        prompt = encode(tokenizer, before[len(prefix) :])
        answer, rest = _closed(encode(tokenizer, after[len(before) :]), tokenizer)
        ids += prompt + answer + rest
        labels += [IGNORED] * len(prompt) + answer + [IGNORED] * len(rest)
        prefix = after
    if not turns:
        raise LabError("an example has no assistant message: add the answer to learn")
    size = len(ids) - len(rest)  # behind the last end token nothing is learned
    if size > limit:
        raise LabError(f"an example has {size} tokens, the limit is {limit}: shorten it or drop it")
    return ids[:size], labels[:size]


def _closed(answer: list[int], tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """An answer up to its last end token, which is added where the template has none, and what follows it."""
    end_tokens = ends(tokenizer)
    last = max((i for i, token in enumerate(answer) if token in end_tokens), default=None)
    if last is None:
        return [*answer, *([tokenizer.eos_token_id] if end_tokens else [])], []
    return answer[: last + 1], answer[last + 1 :]


@dataclass(frozen=True)
class Prepared:
    """Rows of `input_ids` and `labels`, and the numbers of the examples that were too long and left out."""

    rows: list[Row]
    dropped: list[int]


def dataset(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, limit: int, too_long: str = "refuse"
) -> Prepared:
    """Every example as a row; too long ones are refused, or dropped and listed. LabError names by number, from 0, what is no row."""
    if too_long not in ("refuse", "drop"):
        raise LabError(f"unknown too_long '{too_long}': choose refuse, drop")
    rows: list[Row] = []
    dropped: list[int] = []
    for n, example in enumerate(examples):
        try:
            ids, labels = tokenise(example, tokenizer, limit if too_long == "refuse" else 10**9)
        except LabError as error:
            raise LabError(f"example {n}: {error}") from error
        if len(ids) > limit:
            dropped.append(n)
        else:
            rows.append({"input_ids": ids, "labels": labels})
    return Prepared(rows, dropped)


@dataclass(frozen=True)
class Collator:
    """Rows to tensors (rows, longest rounded up to a multiple of 8), padded on the right; pads carry no loss."""

    pad: int

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        import torch

        width = -(-max(len(row["input_ids"]) for row in rows) // 8) * 8
        gaps = [width - len(row["input_ids"]) for row in rows]
        return {
            "input_ids": torch.tensor([r["input_ids"] + [self.pad] * g for r, g in zip(rows, gaps, strict=True)]),
            "attention_mask": torch.tensor([[1] * (width - gap) + [0] * gap for gap in gaps]),
            "labels": torch.tensor([r["labels"] + [IGNORED] * g for r, g in zip(rows, gaps, strict=True)]),
        }
