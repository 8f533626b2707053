"""A folder of PDF, DOCX, HTML, Markdown and text files becomes plain text with provenance.

A file that cannot be read is reported by name and reason, and the rest goes on. Introduced in 01_ingest.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import LabError, Unreadable
from labkit.rag.html import read_html
from labkit.rag.ingest_workers import Answer, Limits, read_all
from labkit.rag.pdf import read_pdf
from labkit.rag.readers import Read, read_docx, read_markdown, read_text

MAX_BYTES, MAX_CHARACTERS = 20_000_000, 20_000_000
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
    """One file left out: empty, scanned image, encrypted, broken, too large, refused, unsupported or timed out.

    `detail` says what is wrong and, after a semicolon, what to do.
    """

    id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Ingested:
    """What a folder held: the documents in the order of their paths, and the files that were left out."""

    documents: list[Document]
    rejected: list[Rejected]


def ingest(
    folder: str | Path,
    progress: bool = True,
    max_bytes: int = MAX_BYTES,
    seconds: float = 60,
    megabytes: int = 1000,
) -> Ingested:
    """Read every file below `folder`, in the order of their paths; hidden files are passed over.

    Child processes read them, each file within `seconds` and `megabytes` of memory; links are never followed.
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
    answers = read_all(paths, Limits(max_bytes, seconds, megabytes))
    hidden = not progress or len(paths) <= 20
    read = dict(tqdm(answers, desc="ingest", unit="file", total=len(paths), disable=hidden))
    found = Ingested([], [])
    for number, path in enumerate(paths):
        name = path.relative_to(root).as_posix().encode("utf-8", "replace").decode()
        _enter(found, read.pop(number) | {"id": name})
    return found


def _enter(found: Ingested, answer: Answer) -> None:
    if "reason" in answer:
        found.rejected.append(Rejected(**answer))
    else:
        found.documents.append(Document(**answer | {"pages": tuple(answer["pages"])}))


def _walk(root: Path) -> Iterator[Path]:
    """Every file, link and folder that cannot be listed; hidden ones and Word's lock files are passed over."""
    closed: list[Path] = []
    for folder, folders, files in os.walk(root, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in files + links if not name.startswith((".", "~$")))
    yield from closed


def load_file(path: str | Path, max_bytes: int = MAX_BYTES) -> Document:
    """Read one file, here and without limits of time; its `id` is the file's name. Every parser is called by it.

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
    except MemoryError as error:
        raise Unreadable("too large", "reading it takes more memory than is allowed; split it") from error
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise Unreadable("broken", f"cannot be opened: {said}; check its permissions") from error
    except Exception as error:  # parsers meet arbitrary bytes, and one bad file must not end the run
        said = f"{type(error).__name__}: {error}".replace(";", ",")[:80]
        raise Unreadable("broken", f"{said}; open it and save it again") from error
    text, starts = _join(parts)
    if not text.strip():
        raise Unreadable("empty", "there is no text in it; leave it out, or put the text in")
    if len(text) > MAX_CHARACTERS:
        raise Unreadable("too large", f"it holds {len(text) / 1e6:.0f} million characters; split it")
    digest = hashlib.sha256(data).hexdigest()
    pages = starts if kind == "pdf" else ()
    return Document(path.name, _own_title(title) or _clean(path.stem), text, kind, digest, pages)


def _checked_bytes(path: Path, max_bytes: int) -> tuple[bytes, str]:
    if path.is_symlink():
        raise Unreadable("refused", "a link, and links are not followed; copy the real file or folder in")
    if path.is_dir():
        raise Unreadable("broken", "a folder that cannot be listed; check its permissions")
    kind = FORMATS.get(path.suffix.lower())
    if path.exists() and not path.is_file():
        raise Unreadable("refused", "not a file but a device, pipe or socket; leave it out")
    if kind is None:
        raise Unreadable("unsupported", f"no reader for '{path.suffix}'; save it as {', '.join(FORMATS)}")
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:  # should a link have come in its place
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise Unreadable("too large", f"{size / 1e6:.1f} MB; split it below {max_bytes / 1e6:.1f} MB")
        return file.read(max_bytes), kind


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
