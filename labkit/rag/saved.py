"""Files with a manifest that is written last and checked before use. Introduced in 04_index."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from labkit.errors import LabError

MANIFEST = "manifest.json"
REMEDY = "build it anew and save it again"


def save_parts(folder: Path, parts: Mapping[str, bytes | memoryview], about: Mapping[str, Any]) -> None:
    """Write `parts` under names that hold their hashes, then the manifest, then drop what is not in it.

    Killed at any moment, the folder holds either the old parts or the new ones. Introduced in 04_index.

    >>> save_parts(Path("runs/store"), {"note.txt": b"kept"}, {"kind": "note"})
    """
    from labkit.store import write_bytes, write_json

    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    for name, data in parts.items():
        write_bytes(folder / _stored(name, hashes[name]), data)
    write_json(folder / MANIFEST, {**about, "files": hashes})
    kept = {_stored(name, digest) for name, digest in hashes.items()}
    for name in parts:
        for file in folder.glob(_stored(name, "?" * 64)):
            if file.name not in kept:
                file.unlink(missing_ok=True)


def load_parts(
    folder: Path, names: Collection[str], mapped: Collection[str] = ()
) -> tuple[dict[str, bytes | memoryview], dict[str, Any]]:
    """The named parts and the manifest of a folder: the very bytes that were checked.

    Those in `mapped` stay on disk and are mapped into memory: trust them while nobody writes into the file.
    Raises `LabError` if the manifest or a part is missing or altered. Introduced in 04_index.

    >>> parts, about = load_parts(Path("runs/store"), ["note.txt"])
    """
    try:
        about = json.loads((folder / MANIFEST).read_bytes())
        files = {name: str(about["files"][name]) for name in names}
    except FileNotFoundError as error:
        raise LabError(f"nothing was saved completely in {folder} (no {MANIFEST}): {REMEDY}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{folder / MANIFEST} cannot be read: {REMEDY}") from error
    parts = {}
    for name, digest in files.items():
        path = folder / Path(_stored(name, digest)).name  # never a file outside the folder
        parts[name] = _read(path, name in mapped)
        if hashlib.sha256(parts[name]).hexdigest() != digest:
            raise LabError(f"{path} is missing or was altered after it was saved: {REMEDY}")
    return parts, about


def _read(path: Path, mapped: bool) -> bytes | memoryview:
    """The bytes of a file, none if there is no such file."""
    if not path.is_file() or not path.stat().st_size:
        return b""
    if not mapped:
        return path.read_bytes()
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _stored(name: str, digest: str) -> str:
    return f"{digest[:16]}-{name}"
