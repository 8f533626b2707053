"""Blobs by key in one SQLite file: what costs seconds to compute and is the same every time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from labkit.errors import LabError


class Cache:
    """Bytes under keys of bytes in one file, which is made at the first `put`.

    Every call is a transaction of its own: a kill loses the call under way and nothing else, and several processes may share
    the file. Raises LabError for a damaged file.

    >>> cache = Cache("runs/vectors.sqlite")
    >>> cache.get([b"a key never put"])
    {}
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that are there."""
        if not self.path.is_file():
            return {}
        with self._open() as database:
            rows = ((key, database.execute("SELECT value FROM kept WHERE key = ?", [key]).fetchone()) for key in keys)
            return {key: row[0] for key, row in rows if row}

    def put(self, values: Mapping[bytes, bytes]) -> None:
        """Store each value, in place of an older one."""
        with self._open() as database, database:
            database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", list(values.items()))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=60)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, value BLOB)")
                yield database
        except sqlite3.DatabaseError as error:
            raise LabError(f"the cache {self.path} cannot be used ({error}): delete it, it refills") from error
