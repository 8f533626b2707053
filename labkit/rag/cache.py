"""Vectors on disk, each under the hash of what made it. Introduced in 03_embed."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from labkit.errors import LabError


class VectorCache:
    """float32 vectors of `dimensions` numbers in one SQLite file, by SHA-256 of `fingerprint` and text.

    Every call is its own transaction: a kill loses the call under way and nothing else. Raises `LabError` for
    a damaged file. Introduced in 03_embed.

    >>> cache = VectorCache("runs/cache", fingerprint="model:float32", dimensions=384)
    >>> cache.recall(["a text never seen"])
    {}
    """

    def __init__(self, folder: str | Path, fingerprint: str, dimensions: int) -> None:
        self.path = Path(folder) / "embeddings.sqlite"
        self.fingerprint, self.dimensions = fingerprint, dimensions

    def recall(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """The vectors of those texts that are known."""
        ask = "SELECT vector FROM vectors WHERE key = ?"
        with self._open() as database:
            rows = {text: database.execute(ask, [self._key(text)]).fetchone() for text in texts}
        good = {text: row[0] for text, row in rows.items() if row and len(row[0]) == 4 * self.dimensions}
        return {text: np.frombuffer(blob, "float32") for text, blob in good.items()}

    def remember(self, vectors: Mapping[str, np.ndarray]) -> None:
        """Store the vector of each text."""
        rows = [(self._key(text), vector.astype("float32").tobytes()) for text, vector in vectors.items()]
        with self._open() as database, database:
            database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.fingerprint}\n{text}".encode()).digest()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
                yield database
        except sqlite3.DatabaseError as error:
            raise LabError(f"the cache {self.path} cannot be used ({error}): delete it, it refills") from error
