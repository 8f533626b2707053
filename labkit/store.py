"""Keep what a run made so that it can be trusted: atomic writes, content addresses, the manifest last."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import platform
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError

if TYPE_CHECKING:
    from torch.nn import Module

HERE = Path(__file__).resolve().parent
CHECKOUT = (HERE.parent / "pyproject.toml").is_file()
ROOT = HERE.parent if CHECKOUT else HERE / "shipped"
"""The folder that holds `data` and `notebooks`: the checkout, or what an installed wheel carries."""


def runs_folder() -> Path:
    """Where runs and artifacts go: LABKIT_RUNS, else `runs` in the checkout, or where you are if a wheel was installed."""
    return Path(os.environ.get("LABKIT_RUNS") or (ROOT if CHECKOUT else Path.cwd()) / "runs").expanduser().absolute()


def address(**parts: Any) -> str:
    """SHA-256, in hexadecimal, of the parts as canonical JSON; LabError for a part that JSON cannot hold."""
    try:
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False, default=asdict)
    except (TypeError, ValueError) as error:
        remedy = "give text, numbers, lists, mappings or dataclasses"
        raise LabError(f"no content address for {sorted(parts)} ({error}): {remedy}") from error
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_weights(network: Module) -> str:
    """SHA-256 of a network's tensors and their names, wherever they lie and in whatever precision."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by posix path of every file in a folder; LabError for a link."""
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    links = [path.name for path in files if path.is_symlink()]
    if links:
        raise LabError(f"{links[0]} is a link: put the file itself there")
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


def hash_tree(folder: Path | str) -> str:
    """SHA-256 of a folder's file names and contents, whatever their dates; LabError for a missing folder and for a link."""
    if not Path(folder).is_dir():
        raise LabError(f"{folder} is not a folder: check the path")
    return address(files=file_hashes(Path(folder)))


PACKAGES = (
    "torch transformers peft bitsandbytes sentence-transformers faiss-cpu langchain-core bm25s numpy scipy".split()
)


def _commit() -> str | None:
    """The commit this code is at, with a hash of the changes where tracked files differ; None where git does not say."""
    options = {"cwd": HERE, "capture_output": True, "text": True, "timeout": 20, "check": True}
    try:
        words = (["rev-parse", "HEAD"], ["diff", "HEAD"])
        commit, changes = (subprocess.run(["git", *some], **options).stdout.strip() for some in words)
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+{hashlib.sha256(changes.encode()).hexdigest()[:12]}" if changes else commit


def _processor() -> str:
    """The processor's name where the system tells it, and whether it computes in bfloat16."""
    try:
        description = Path("/proc/cpuinfo").read_text()
    except OSError:
        description = ""
    name = re.search(r"model name\s*: (.+)", description)
    half = "with" if re.search(r"\b(?:avx512_bf16|amx_bf16)\b", description) else "without"
    return f"{name[1] if name else platform.processor() or 'unknown'}, {half} bfloat16"


def provenance() -> dict[str, Any]:
    """Commit, Python, platform, processors and package versions, for JSON."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def here() -> dict[str, Any]:
    """What a timing is bound to: the commit with its changes, and the machine."""
    return {name: value for name, value in provenance().items() if name not in ("python", "packages")}


def peak_rss_mb() -> float:
    """Most memory that this process, or any one of its finished children, ever held, in MB of 2**20 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")  # Linux's own count: getrusage starts there at what the parent held
    if status.is_file() and (peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        own = int(peak[1])
    return max(own, children) * unit / 2**20


MANIFEST = "manifest.json"


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file whole or not at all, whenever the process dies."""
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
    """Write JSON whole or not at all; ValueError for NaN, which JSON has not."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


class Store:
    """Folders found by the address of what made them, trusted while every file matches the manifest; `shipped` is only read."""

    def __init__(self, root: Path | str, shipped: Path | str | None = None) -> None:
        self.root = Path(root)
        self.shipped_root = Path(shipped) if shipped is not None else None

    def find(self, address: str) -> Path | None:
        """The folder at this address, made here or shipped; None where there is none that can be trusted."""
        roots = filter(None, (self.root, self.shipped_root))
        return next((root / address for root in roots if self._good(root / address, address)), None)

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
            for path in (*folder.rglob("*"), folder):  # the disk holds every file before the manifest that lists it
                _sync_path(path)
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
            hashes = file_hashes(folder)
            del hashes[MANIFEST]
            good = wanted["address"] == address and wanted["files"] == hashes
        except (OSError, ValueError, KeyError, TypeError, LabError):
            good = False
        if not good:
            warnings.warn(f"artifact {address[:12]} is damaged and not used; it is made again", stacklevel=4)
        return good


class Artifacts:
    """Artifacts under `root`, with `shipped` ones beside them; `fresh` makes each once more, `read_only` makes none.

    A fresh run that was stopped goes on with what it had made, until one calls `finish`.

    `used` says of every named artifact where it came from and how many seconds that took.
    """

    def __init__(self, root: Path, shipped: Path, fresh: bool = False) -> None:
        self.store, self.fresh = Store(root, None if fresh else shipped), fresh
        self.read_only, self.used = False, []
        self._log = self.store.root / ".fresh.json"  # what a fresh run that was stopped has made is not made again
        stopped = fresh and self._log.is_file()
        self._seen: set[str] = set(json.loads(self._log.read_text("utf-8"))) if stopped else set()

    def folder(self, build: Callable[[Path], object], name: str | None = None, **parts: Any) -> Path:
        """The folder at the address of `parts`: found, or filled by `build` now; LabError if it may not."""
        key, began = address(**parts), time.perf_counter()
        again = self.fresh and key not in self._seen
        place = None if again else self.store.find(key)
        if not place:
            if self.read_only:
                raise LabError(f"{name}, is not trained yet: run labkit compare with this profile once")
            place = self.store.commit(key, build, fresh=again)
            _trim()
        if name and key not in self._seen:
            seconds = round(time.perf_counter() - began, 2)
            shipped = place.parent == self.store.shipped_root
            self.used.append({"name": name, "address": key, "shipped": shipped, "seconds": seconds})
        self._seen.add(key)
        if again:
            write_json(self._log, sorted(self._seen))
        return place

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


class Cache:
    """Bytes under keys of bytes in one file, which is made at the first `put`.

    Every call is a transaction of its own: a kill loses the call under way and nothing else, and several processes may share
    the file. Raises LabError for a damaged file.
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
