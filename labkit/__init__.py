"""Measure retrieval-augmented generation, fine-tuning and their hybrid against each other."""

from labkit.errors import LabError

__all__ = ["LabError", "__version__"]
__version__ = "0.1.0"
