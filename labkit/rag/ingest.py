"""A folder of PDF, DOCX, HTML, Markdown and text files becomes plain text with provenance.

A file that cannot be read is reported by name and reason, and the rest goes on. Introduced in 01_ingest.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from labkit.errors import LabError, Unreadable
from labkit.rag.html import read_html
from labkit.rag.pdf import read_pdf
from labkit.rag.readers import Read, read_docx, read_markdown, read_text

MAX_BYTES = 20_000_000
READERS: dict[str, Callable[[bytes], Read]] = {
    "pdf": read_pdf, "docx": read_docx, "html": read_html, "markdown": read_markdown, "text": read_text,
}  # fmt: skip
FORMATS = {
    ".pdf": "pdf", ".docx": "docx", ".html": "html", ".htm": "html", ".md": "markdown",
    ".markdown": "markdown", ".txt": "text",
}  # fmt: skip
_JUNK_TITLES = {"", "untitled", "anonymous", "unspecified"}


@dataclass(frozen=True)
class Document:
    """One readable file: `id` is its posix path in the folder, `pages` where in `text` each page starts."""

    id: str
    title: str
    text: str
    format: str
    sha256: str
    pages: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """One file left out: empty, scanned image, encrypted, broken, too large, refused or unsupported."""

    id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Ingested:
    """What a folder held: the documents in the order of their paths, and the files that were left out."""

    documents: list[Document]
    rejected: list[Rejected]


def ingest(folder: str | Path, progress: bool = True, max_bytes: int = MAX_BYTES) -> Ingested:
    """Read every file below `folder`, in the order of their paths; hidden files are passed over.

    Raises `LabError` if the folder is missing or holds no file at all; a bad file never raises.
    Introduced in 01_ingest.

    >>> found = ingest("data/documents")
    >>> len(found.documents), [(file.id, file.reason) for file in found.rejected]
    """
    from tqdm import tqdm

    root = Path(folder)
    if not root.is_dir():
        raise LabError(f"no folder at {folder}: give the path of a folder that holds documents")
    paths = sorted(_walk(root), key=lambda path: path.relative_to(root).as_posix())
    if not paths:
        raise LabError(f"the folder {folder} holds no files: put PDF, DOCX, HTML, Markdown or text in it")
    found = Ingested([], [])
    for path in tqdm(paths, desc="ingest", unit="file", disable=not progress or len(paths) <= 20):
        name = path.relative_to(root).as_posix().encode("utf-8", "replace").decode()
        try:
            if not path.resolve().is_relative_to(root.resolve()):
                raise Unreadable("refused", "a link that leads out of the folder; copy the file in instead")
            found.documents.append(replace(load_file(path, max_bytes), id=name))
        except Unreadable as problem:
            found.rejected.append(Rejected(name, problem.reason, problem.detail))
        except (OSError, RuntimeError) as problem:  # a link that leads to itself
            found.rejected.append(Rejected(name, "broken", f"{type(problem).__name__} on opening"))
    return found


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in files + links if not name.startswith((".", "~$")))


def load_file(path: str | Path, max_bytes: int = MAX_BYTES) -> Document:
    """Read one file; its `id` is the file's name. This is the single entry to every parser.

    Raises `Unreadable` (a `LabError` with `reason` and `detail`) for any file that yields no text.
    Introduced in 01_ingest.

    >>> load_file("handbook.pdf").pages
    (0, 1834, 3702)
    """
    path = Path(path)
    try:
        data, kind = _checked_bytes(path, max_bytes)
        title, parts = READERS[kind](data)
    except Unreadable:
        raise
    except OSError as error:
        raise Unreadable("broken", f"cannot be opened: {error.strerror or type(error).__name__}") from error
    except Exception as error:  # parsers meet arbitrary bytes, and one bad file must not end the run
        raise Unreadable("broken", f"{type(error).__name__}: {error}") from error
    text, starts = _join(parts)
    if not text.strip():
        raise Unreadable("empty", "there is no text in it")
    digest = hashlib.sha256(data).hexdigest()
    pages = starts if kind == "pdf" else ()
    return Document(path.name, _own_title(title) or _clean(path.stem), text, kind, digest, pages)


def _checked_bytes(path: Path, max_bytes: int) -> tuple[bytes, str]:
    kind = FORMATS.get(path.suffix.lower())
    if not path.is_file():
        raise Unreadable("refused", "a linked folder or a special file; copy real files in instead")
    if kind is None:
        raise Unreadable("unsupported", f"no reader for '{path.suffix}'; save it as {', '.join(FORMATS)}")
    if (size := path.stat().st_size) > max_bytes:
        raise Unreadable("too large", f"{size / 1e6:.1f} MB; split it below {max_bytes / 1e6:.1f} MB")
    return path.read_bytes(), kind


def _join(parts: list[str]) -> tuple[str, tuple[int, ...]]:
    starts, pieces, length = [], [], 0
    for part in map(_clean, parts):
        starts.append(length)
        pieces.append(part)
        length += len(part) + 2
    return "\n\n".join(pieces), tuple(starts)


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").replace("\u00a0", " ")
    text = text.encode("utf-8", "replace").decode()  # lone surrogates break every tokenizer
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()


def _own_title(title: str | None) -> str:
    title = " ".join(_clean(title or "").removeprefix("Microsoft Word - ").split())[:200]
    return "" if title.lower().strip("()") in _JUNK_TITLES else title
