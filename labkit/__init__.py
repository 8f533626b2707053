"""Measure retrieval-augmented generation, fine-tuning and their hybrid against each other."""

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError

if TYPE_CHECKING:
    from labkit.compare.lab import Lab

__all__ = ["LabError", "__version__", "open"]
__version__ = "0.1.0"

if os.name == "nt":
    raise ImportError("labkit runs on Linux and macOS: on Windows, install and run it in WSL (`wsl --install`)")


def _is_busy() -> bool:
    """Whether other work wants the processors at this moment (Linux; elsewhere it is not asked)."""
    for _ in range(4):
        try:  # "0.30 0.25 0.20 2/511 4711": two of 511 threads run, and this is one
            running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
        except (OSError, ValueError, IndexError):
            return False
        if running < 2:
            return False
        time.sleep(0.003)
    return True


# oneDNN keeps what it made for each shape of a batch: 1,024 of them fill a gigabyte.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100")

# Threads of OpenMP spin while they wait for each other. That is fastest on a quiet machine; on a busy one the thread that
# they wait for does not come to run, and a model writes a few tokens a second.
if _is_busy():
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# bitsandbytes remarks, at import, on an optional kernel that it would fetch over the network.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def open(profile: str = "pocket", size: str = "full", fresh: bool = False, progress: bool = True) -> "Lab":
    """Open a lab on a profile; its parts load when first used.

    `fresh` trains again what is already kept. LabError for an unknown profile or size.

    >>> import labkit
    >>> lab = labkit.open("pocket", size="smoke")
    """
    from labkit.compare.lab import Lab
    from labkit.profile import resolve

    return Lab(resolve(profile), size, fresh, progress)
