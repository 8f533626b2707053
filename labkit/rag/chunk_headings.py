"""The sections of a text, by its headings. Introduced in 02_chunk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = re.compile(r"^[ \t]*(?:(?P<marks>#{1,6})[ \t]+(?P<marked>\S.*)|(?P<plain>[^\W_].{0,79}))$", re.MULTILINE)
_PLAIN_LEVEL = 7  # below every marked heading


@dataclass(frozen=True)
class Section:
    """Characters `start` to `end` of a text, and the headings above them, the widest first."""

    start: int
    end: int
    headings: tuple[str, ...] = ()


def sections(text: str) -> Iterator[Section]:
    """The sections of a text, each beginning with its heading; together they are the whole text.

    A heading is a line marked with `#` as in Markdown (CommonMark, ATX headings), or a short line that stands
    alone, starts with a capital or a digit and ends without a punctuation mark. A heading followed at once by
    another one begins the same section. Introduced in 02_chunk.

    >>> [section.headings for section in sections("# Pumps\\n\\nWeight\\n\\nIt weighs 12 kg.")]
    [('Pumps', 'Weight')]
    """
    start = body = 0
    stack: dict[int, str] = {}
    for match in _LINE.finditer(text):
        if not (level := _level(text, match)):
            continue
        if text[body : match.start()].strip():
            yield Section(start, match.start(), tuple(stack.values()))
            start = match.start()
        body = match.end()
        stack = {above: heading for above, heading in stack.items() if above < level}
        stack[level] = (match["marked"] or match["plain"]).strip(" \t#")
    yield Section(start, len(text), tuple(stack.values()))


def _level(text: str, match: re.Match[str]) -> int:
    """1 to 6 for a marked heading, 7 for a plain one, 0 for any other line."""
    if match["marks"]:
        return len(match["marks"])
    line = match["plain"].rstrip()
    before = match.start() == 0 or text.endswith("\n\n", 0, match.start())
    alone = before and text.startswith("\n\n", match.end())
    named = not line[0].islower() and line[-1].isalnum() and " | " not in line
    return _PLAIN_LEVEL if alone and named else 0
