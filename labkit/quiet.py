"""What a reader sees while models load and work: none of the libraries' remarks, and one bar with the time left."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm as plain_tqdm
from tqdm.auto import tqdm

# bitsandbytes remarks on an optional package that would be fetched over the network.
LOGGERS = ("transformers", "peft", "accelerate", "bitsandbytes", "torch", "huggingface_hub")
EVERY = 15.0  # seconds between two lines of a log


@contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings, log lines below errors and loading bars of the model libraries, then restore them."""
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils import logging as bars

    enabled = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)  # its first import sets a level of its own
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
        if enabled:
            bars.enable_progress_bar()


class _Lines:
    """A stream that ends each state of a bar with a line break."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.flush = stream, stream.flush

    def write(self, text: str) -> None:
        """Write one state of the bar as a line of its own."""
        if state := text.replace("\x1b[A", "").strip("\r\n "):  # without the way up from a bar below another
            self.stream.write(f"{state}\n")


def bar(total: int, what: str, shown: bool = True, delay: float = 0) -> tqdm:
    """A bar over `total` steps with the share done and the time left; hidden unless `shown`, and for the first `delay` seconds.

    In a log file, without a terminal, it is a line now and then instead.
    """
    options = {"total": total, "desc": what, "delay": delay, "miniters": 0}  # 0: a step may be a part of one
    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left{postfix}"
    if shown and not sys.stderr.isatty() and "ipykernel" not in sys.modules:
        form, seldom = form.replace("|{bar}| ", ""), {"mininterval": EVERY}
        return plain_tqdm(bar_format=form, file=_Lines(sys.stderr), **options, **seldom)
    return tqdm(bar_format=form, disable=not shown, **options)
