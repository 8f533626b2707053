"""Measure retrieval-augmented generation, fine-tuning and their hybrid against each other."""

import logging
import os
from typing import TYPE_CHECKING

from labkit.errors import LabError

if TYPE_CHECKING:
    from labkit.compare.lab import Lab

__all__ = ["LabError", "__version__", "open"]
__version__ = "0.1.0"

if os.name == "nt":
    raise ImportError("labkit runs on Linux and macOS: on Windows, install and run it in WSL (`wsl --install`)")

# oneDNN keeps what it made for each shape of a batch: 1,024 of them fill a gigabyte.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100")

# A thread of OpenMP that waits for another spins as long as it is given; beside other work the other one does not come to run.
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
