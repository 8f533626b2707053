"""Training examples in files: JSON lines in the standard `messages` form. Introduced in 07_prepare."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.rag.augment import Message
from labkit.store import write_bytes

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Example:
    """A conversation whose assistant messages are to be learned; `tags` say what it is about, to split by.

    Introduced in 07_prepare.

    >>> Example([{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}], {"entity": "So"})
    """

    messages: list[Message]
    tags: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The last thing that the user says; LabError without one."""
        said = [message["content"] for message in self.messages if message["role"] == "user"]
        if not said:
            raise LabError(f"no user message in an example of {len(self.messages)}: add the question")
        return said[-1]


@dataclass(frozen=True)
class BadRow:
    """A line of a file that holds no example: its number, from 1, and why."""

    line: int
    reason: str


def write_examples(path: Path | str, examples: Iterable[Example]) -> None:
    """JSON lines, {"messages": [{"role", "content"}, ...]} and the tags beside them; whole or not at all.

    Raises LabError naming the example, counted from 0, that could not be read again.
    """
    write_bytes(path, "".join(_line(n, example) for n, example in enumerate(examples)).encode())


def _line(n: int, example: Example) -> str:
    row = {"messages": example.messages, **example.tags}
    if wrong := "a tag is named messages" if "messages" in example.tags else fault(example.messages):
        raise LabError(f"example {n}: {wrong}: mend it before writing")
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise LabError(f"example {n}: its tags are not JSON ({error}): use text, numbers and lists") from error
    return text + "\n"


def read_text(path: Path | str, kind: str) -> str:
    """A file's text, in which bytes that are not UTF-8 stay as lone surrogates, for `fault` to tell of.

    Raises LabError for a file that cannot be read.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise LabError(f"cannot read {path} ({type(error).__name__}): give a {kind} file") from error


def read_examples(path: Path | str) -> tuple[list[Example], list[BadRow]]:
    """The good rows of a JSON-lines file, and each bad one with its line number and reason.

    Every line that is not blank is one or the other. What stands beside `messages` becomes tags. Raises LabError
    for a file that cannot be read. Introduced in 07_prepare.

    >>> good, bad = read_examples("pairs.jsonl")
    >>> bad[0]
    BadRow(line=3, reason='message 2 has no text')
    """
    good: list[Example] = []
    bad: list[BadRow] = []
    for number, line in enumerate(read_text(path, "JSON-lines").split("\n"), start=1):
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
    messages = row.pop("messages", None) if isinstance(row, dict) else None
    return fault(messages) or (f"a tag {wrong}" if (wrong := _encoded(row)) else Example(messages, row))


def fault(messages: Any) -> str | None:
    """What keeps a value from being a conversation to learn, in a few words; None where nothing does.

    >>> fault([{"role": "user", "content": "Why?"}])
    "the last message is not the assistant's"
    """
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
