"""Training examples in files: JSON lines in the standard `messages` form. Introduced in 07_prepare."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import LabError
from labkit.rag.augment import Message
from labkit.store import write_bytes

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Example:
    """A conversation whose assistant messages are to be learned."""

    messages: list[Message]


@dataclass(frozen=True)
class BadRow:
    """A line of a file that holds no example: its number, from 1, and why."""

    line: int
    reason: str


def write_examples(path: Path | str, examples: Iterable[Example]) -> None:
    """JSON lines in the standard form, {"messages": [{"role", "content"}, ...]}, whole or not at all."""
    lines = (json.dumps({"messages": example.messages}, ensure_ascii=False) + "\n" for example in examples)
    write_bytes(path, "".join(lines).encode())


def read_examples(path: Path | str) -> tuple[list[Example], list[BadRow]]:
    """The good rows of a JSON-lines file, and each bad one with its line number and reason.

    Raises LabError for a file that is missing or not UTF-8.
    """
    try:
        lines = Path(path).read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"cannot read {path} ({type(error).__name__}): give a UTF-8 JSON-lines file") from error
    good, bad = [], []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            found = _parse(line)
            (bad.append(BadRow(number, found)) if isinstance(found, str) else good.append(found))
    return good, bad


def _parse(line: str) -> Example | str:
    """An example, or what is wrong with the line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or not messages:
        return "no list of messages"
    for n, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return f"message {n} has no role of {', '.join(ROLES)}"
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            return f"message {n} has no text"
    if messages[-1]["role"] != "assistant":
        return "the last message is not the assistant's"
    return Example([{"role": m["role"], "content": m["content"]} for m in messages])
