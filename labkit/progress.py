"""A progress bar that a log file can hold, too: without a terminal, a line now and then instead of a moving bar."""

from __future__ import annotations

import sys
from typing import TextIO

from tqdm.auto import tqdm
from tqdm.std import tqdm as plain

EVERY = 15.0  # seconds between two lines of a log


class _Lines:
    """A stream that ends each state of a bar with a line break."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            self.stream.write(f"{line}\n")

    def flush(self) -> None:
        self.stream.flush()


def bar(total: int, what: str, shown: bool = True) -> tqdm:
    """A bar over `total` steps with the share done and the time left; hidden unless `shown`.

    >>> with bar(10, "answers") as steps:
    ...     steps.update(10)
    """
    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left{postfix}"
    if shown and not sys.stderr.isatty() and "ipykernel" not in sys.modules:
        form, seldom = form.replace("|{bar}| ", ""), {"mininterval": EVERY, "maxinterval": 2 * EVERY}
        return plain(total=total, desc=what, bar_format=form, file=_Lines(sys.stderr), **seldom)
    return tqdm(total=total, desc=what, bar_format=form, disable=not shown)
