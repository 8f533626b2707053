"""Keep what a run made so that it can be trusted: atomic writes, content addresses, the manifest last.

Introduced in 12_compare.
"""

import fcntl
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.hashing import address as address
from labkit.hashing import file_hashes
from labkit.hashing import hash_file as hash_file
from labkit.hashing import hash_tree as hash_tree
from labkit.provenance import here as here
from labkit.provenance import peak_rss_mb as peak_rss_mb
from labkit.provenance import provenance as provenance

MANIFEST = "manifest.json"


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    """Have the disk hold every file, so that a manifest never outlives what it lists."""
    for path in folder.rglob("*"):
        _sync_path(path)
    _sync_path(folder)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file whole or not at all, whenever the process dies. Introduced in 12_compare.

    >>> import tempfile
    >>> write_bytes(Path(tempfile.mkdtemp()) / "note.txt", b"kept")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_path(path.parent)


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON whole or not at all; ValueError for NaN, which JSON has not. Introduced in 12_compare.

    >>> import tempfile
    >>> write_json(Path(tempfile.mkdtemp()) / "result.json", {"schema": 1})
    """
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


class Store:
    """Folders found by the address of what made them, trusted only while every file matches the manifest.

    `root` is written; `shipped`, where given, is only read. Introduced in 12_compare.

    >>> import tempfile
    >>> Store(tempfile.mkdtemp()).find(address(seed=1)) is None
    True
    """

    def __init__(self, root: Path | str, shipped: Path | str | None = None) -> None:
        self.root = Path(root)
        self.shipped_root = Path(shipped) if shipped is not None else None

    def find(self, address: str) -> Path | None:
        """The folder at this address, made here or shipped; None where there is none that can be trusted."""
        roots = [self.root, *([self.shipped_root] if self.shipped_root else [])]
        return next((root / address for root in roots if self._good(root / address, address)), None)

    def shipped(self, address: str) -> bool:
        """Whether `find` gives the shipped folder for this address."""
        found = self.find(address)
        return found is not None and found.parent == self.shipped_root

    def commit(self, address: str, build: Callable[[Path], None], fresh: bool = False) -> Path:
        """The folder at this address under `root`; `build` fills an empty one if none is good, or if `fresh`.

        Killed at any point, it leaves nothing that `find` trusts, and the next commit clears it away. Of two
        processes at once, the second waits and takes what the first made.
        """
        target = self.root / address
        with self._alone(address):
            if fresh or not self._good(target, address):
                self._build(target, address, build)
        return target

    def _build(self, target: Path, address: str, build: Callable[[Path], None]) -> None:
        self._clear(address)
        folder = Path(tempfile.mkdtemp(dir=self.root, prefix=f".{address}."))
        try:
            folder.chmod(0o755)
            build(folder)
            _sync(folder)
            write_json(folder / MANIFEST, {"address": address, "files": file_hashes(folder)})
            if target.exists():
                target.rename(folder.with_name(f".{address}.old"))
            folder.rename(target)
            _sync_path(self.root)
        finally:
            self._clear(address)

    def _clear(self, address: str) -> None:
        for left in self.root.glob(f".{address}.*"):
            shutil.rmtree(left)

    @contextmanager
    def _alone(self, address: str) -> Iterator[None]:
        """Hold the address's lock, which the system releases when the process ends, however it ends."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with open(locks / address, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @staticmethod
    def _good(folder: Path, address: str) -> bool:
        if not (folder / MANIFEST).is_file():
            return False
        try:
            wanted = json.loads((folder / MANIFEST).read_text("utf-8"))
            found = file_hashes(folder)
            del found[MANIFEST]
            good = wanted["address"] == address and wanted["files"] == found
        except (OSError, ValueError, KeyError, TypeError, LabError):
            good = False
        if not good:
            warnings.warn(f"artifact {address[:12]} is damaged and not used; it is made again", stacklevel=4)
        return good
