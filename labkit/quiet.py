"""Keep the libraries' remarks out of a lesson's output while they load, train and save."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# bitsandbytes remarks on an optional package that would be fetched over the network.
LOGGERS = ("transformers", "peft", "accelerate", "bitsandbytes", "torch", "huggingface_hub")


@contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings, log lines below errors and loading bars of the model libraries, then restore them.

    >>> with quiet():
    ...     model = load_model("data/models/pocket")
    """
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)  # its first import sets a level of its own
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
        if shown:
            bars.enable_progress_bar()
