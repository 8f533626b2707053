"""Name things by their content: settings, files, folders, source code.

Introduced in 12_compare.
"""

import ast
import hashlib
import importlib.util
import io
import json
import tokenize
from dataclasses import asdict, is_dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
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


def hash_source(*modules: ModuleType | str) -> str:
    """SHA-256 of modules' code, found without importing those given by name; a package counts all its modules.

    Docstrings, comments on lines of their own and empty lines do not count: they change no result.
    Introduced in 12_compare.

    >>> hash_source("json") == hash_source(json)
    True
    """
    names = sorted(module if isinstance(module, str) else module.__name__ for module in modules)
    specs = {name: importlib.util.find_spec(name) for name in names}
    lost = [name for name, spec in specs.items() if spec is None or not spec.has_location]
    if lost:
        raise LabError(f"module {lost[0]} has no source file: check its name")
    files = {path for spec in specs.values() for path in _sources(spec)}
    return address(sources=[[path.parent.name, path.name, _code(path.read_text("utf-8"))] for path in sorted(files)])


@cache
def _code(source: str) -> str:
    """Source text without what only people read."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    noted = any(line.lstrip().startswith("#") for line in lines)
    for token in tokenize.generate_tokens(io.StringIO(source).readline) if noted else ():
        if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
            lines[token.start[0] - 1] = ""
    return "\n".join(line for line in lines if line.strip())


def _sources(spec: ModuleSpec) -> list[Path]:
    origin = Path(spec.origin)
    return sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
