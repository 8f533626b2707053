"""Name things by their content: settings, files, folders.

Introduced in 12_compare.
"""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from labkit.errors import LabError


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise LabError(f"{value!r} has no content address: give text, numbers, lists, mappings or dataclasses")


def address(**parts: Any) -> str:
    """SHA-256, in hexadecimal, of the parts as canonical JSON: the same parts always have the same address.

    Raises LabError for a part that JSON cannot hold. Introduced in 12_compare.

    >>> address(seed=1, model="m") == address(model="m", seed=1)
    True
    """
    try:
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise LabError(f"no content address for {sorted(parts)}: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Introduced in 12_compare.

    >>> hash_file("/dev/null")[:8]
    'e3b0c442'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by posix path of every file in a folder; LabError for a link. Introduced in 12_compare.

    >>> file_hashes(Path("no/such/folder"))
    {}
    """
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    links = [path.name for path in files if path.is_symlink()]
    if links:
        raise LabError(f"{links[0]} is a link: put the file itself there")
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


def hash_tree(folder: Path | str) -> str:
    """SHA-256 of a folder's file names and contents; empty folders and dates do not count.

    Raises LabError when the folder is missing or holds a link. Introduced in 12_compare.

    >>> import tempfile
    >>> hash_tree(tempfile.mkdtemp()) == address(files={})
    True
    """
    if not Path(folder).is_dir():
        raise LabError(f"{folder} is not a folder: check the path")
    return address(files=file_hashes(Path(folder)))
