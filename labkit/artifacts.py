"""What a lab trains, answers and measures, kept by the address of all that makes it. Introduced in 12_compare."""

import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.store import Store, address, write_json


class Artifacts:
    """Artifacts under `root`, with read-only `shipped` ones beside them; `fresh` makes each once more.

    A fresh run that was killed goes on with what it had made, until one calls `finish`.

    `used` tells of every named artifact where it came from and how many seconds that took.
    """

    def __init__(self, root: Path, shipped: Path, fresh: bool = False) -> None:
        self.store, self.fresh = Store(root, None if fresh else shipped), fresh
        self.used: list[dict[str, Any]] = []
        self._log = self.store.root / ".fresh.json"
        self._made: set[str] = set(self._before()) if fresh else set()

    def folder(self, build: Callable[[Path], object], name: str | None = None, **parts: Any) -> Path:
        """The folder at the address of `parts`: found, or filled by `build` now."""
        key, began = address(**parts), time.perf_counter()
        again = self.fresh and key not in self._made
        found = None if again else self.store.find(key)
        if not found:
            found = self.store.commit(key, build, fresh=again)
            _trim()
        if name and key not in self._made:
            seconds = round(time.perf_counter() - began, 2)
            shipped = found.parent == self.store.shipped_root
            self.used.append({"name": name, "address": key, "shipped": shipped, "seconds": seconds})
        self._made.add(key)
        if again:
            write_json(self._log, sorted(self._made))
        return found

    def _before(self) -> list[str]:
        """What an interrupted fresh run has made already: it is not made a second time."""
        try:
            return json.loads(self._log.read_text("utf-8"))
        except (OSError, ValueError):
            return []

    def finish(self) -> None:
        """The run is complete: the next fresh one makes everything again."""
        self._log.unlink(missing_ok=True)

    def value(self, make: Callable[[], Any], **parts: Any) -> Any:
        """A JSON value at the address of `parts`: found, or made now."""
        folder = self.folder(lambda folder: write_json(folder / "value.json", make()), **parts)
        return json.loads((folder / "value.json").read_text("utf-8"))


def _trim() -> None:
    """Hand freed memory back to Linux, which else keeps what one measurement needed through all that follow."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
