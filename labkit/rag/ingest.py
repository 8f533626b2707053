"""A folder of PDF, DOCX, HTML, Markdown and text files becomes plain text with provenance.

A file that cannot be read is reported by name and reason, and the rest goes on. Files are parsed in a child process
that has limits: one that hangs it or kills it costs itself alone. This guards against accidents and files that eat
time or memory; it is no sandbox against a parser that is taken over.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from labkit.errors import LabError, Unreadable
from labkit.quiet import bar
from labkit.rag import ocr
from labkit.rag.markup import Reading, Turned, read_html, read_json, read_markdown, read_table, read_text, read_xml
from labkit.rag.office import read_docx, read_epub, read_mail, read_odf, read_pptx, read_rtf, read_xlsx
from labkit.rag.pdf import read_pdf
from labkit.store import ROOT

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES, MAX_CHARACTERS = 20_000_000, 20_000_000
SECONDS, MEGABYTES = (600, 3000) if ocr.installed() else (60, 1000)  # a page takes OCR seconds, and its models memory
READERS: dict[str, Callable[[bytes], Reading]] = {
    "pdf": read_pdf, "docx": read_docx, "html": read_html, "markdown": read_markdown, "text": read_text, "table": read_table,
    "xlsx": read_xlsx, "pptx": read_pptx, "odf": read_odf, "epub": read_epub, "mail": read_mail, "rtf": read_rtf,
    "json": read_json, "xml": read_xml, "picture": ocr.read_picture,
}  # fmt: skip
_ENDINGS = {
    "pdf": "pdf", "docx": "docx docm dotx dotm", "html": "html htm xhtml", "markdown": "md markdown", "text": "txt text log rst",
    "table": "csv tsv", "xlsx": "xlsx xlsm", "pptx": "pptx pptm ppsx", "odf": "odt ods odp", "epub": "epub", "mail": "eml",
    "rtf": "rtf", "json": "json jsonl ipynb", "xml": "xml",
    "picture": "png jpg jpeg gif tif tiff bmp webp",
}  # fmt: skip
FORMATS = {f".{ending}": kind for kind, endings in _ENDINGS.items() for ending in endings.split()}
_OTHERS = (
    ("zip 7z rar tar gz tgz bz2 xz", "an archive; unpack it into the folder"),
    ("doc xls ppt msg pages heic", "a format of one program; save it as .docx, .xlsx, .pptx, .eml, .pdf or .png"),
)
# Soft hyphens (with the end of a line that they made), spaces without width, marks of direction; joined letters and letters in
# the forms that they take beside others, as PDF files hold them.
_UNSEEN = re.compile("\u00ad\n?|[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_COLOURS = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")  # of a terminal, in a log
_FORMS = re.compile("[\ufb00-\ufdff\ufe70-\ufefc]+")
_JUNK_TITLES = {"", "untitled", "anonymous", "unspecified"}
_TOO_MUCH_MEMORY = "reading it takes more memory than is allowed; split it"
_FILES_PER_LIFE = 200  # of a child process, so that what parsers leak is given back
_START_SECONDS = 60
_WAITS = 10  # times the seconds that a file may take, on a machine that is busy
_BAR_AFTER = 2.0  # seconds of reading
Answer = dict[str, Any]
"""The fields of a Document or of an Unreadable; `last`: the child process serves no more."""


@dataclass(frozen=True)
class Document:
    """One readable file: `id` is its posix path in the folder, `pages` where in `text` each page starts, `notes` what is
    missing from the text or unsure in it, and after a semicolon what to do.
    """

    id: str
    title: str
    text: str
    format: str
    sha256: str
    pages: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """One file left out: empty, scanned image, encrypted, broken, too large, refused, unsupported, timed out or a copy;
    or one that is read partly. `detail` says what is wrong and, after a semicolon, what to do.
    """

    id: str
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{'read' if self.reason == 'partly' else 'left out'}: {self.id}: {self.reason}: {self.detail}"


@dataclass(frozen=True)
class Ingested:
    """What a folder held: the documents in the order of their paths, and the files that were left out."""

    documents: list[Document]
    rejected: list[Rejected]

    @property
    def flawed(self) -> list[Rejected]:
        """The files that were left out, and a row for each note on one that is read."""
        return self.rejected + [Rejected(d.id, "partly", note) for d in self.documents for note in d.notes]

    def tell(self) -> None:
        """Name each of them on standard error, at once."""
        for file in self.flawed:
            print(file, file=sys.stderr)


def ingest(
    folder: str | Path,
    progress: bool = True,
    max_bytes: int = MAX_BYTES,
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
    password: str = "",
) -> Ingested:
    """Read every file below `folder`, in the order of their paths; hidden files are passed over.

    A child process reads them, each file within `seconds` of processor time and `megabytes` of memory; links are never
    followed, and of copies of one text one is kept. `password` opens the PDF files that have it.
    Raises `LabError` if the folder is missing or holds no file at all; a bad file never raises.

    >>> ingested = ingest("data/documents")
    >>> len(ingested.documents), [(file.id, file.reason) for file in ingested.rejected]
    (117, [])
    """
    root = Path(folder)
    if not root.is_dir():
        raise LabError(f"no folder at {folder}: give the path of a folder that holds documents")
    paths = sorted(_walk(root), key=lambda path: normalize("NFC", path.relative_to(root).as_posix()))
    if not paths:
        raise LabError(f"the folder {folder} holds no files: put documents in it, as PDF, DOCX or text")
    ingested, limits = Ingested([], []), Limits(max_bytes, seconds, megabytes, password)
    with bar(len(paths), "ingest", progress, _BAR_AFTER) as steps:
        shares: dict[Path, float] = defaultdict(float)

        def move(path: Path, page: int = 1, pages: int = 1) -> None:
            """Move on within a file, or to its end; several threads wait for files."""
            with steps.get_lock():
                within = f"{_name(path, root)}, {page} of {pages} pages" if page < pages else ""
                steps.set_postfix_str(within, refresh=False)
                steps.update(page / pages - shares[path])
                shares[path] = page / pages

        for path, answer in zip(paths, _answers(paths, limits, move), strict=True):
            answer = {part: tuple(value) if isinstance(value, list) else value for part, value in answer.items()}
            answer["id"] = _name(path, root)
            if "reason" in answer:
                ingested.rejected.append(Rejected(**answer))
            else:
                ingested.documents.append(Document(**answer))
            move(path)
    return _without_copies(ingested)


def _name(path: Path, root: Path) -> str:
    """The path of a file in the folder, composed, as some systems hand names over decomposed."""
    return normalize("NFC", path.relative_to(root).as_posix()).encode("utf-8", "replace").decode()


def _without_copies(found: Ingested) -> Ingested:
    """Of documents of one text only that with the shortest path: copies would take every place of a search."""
    first: dict[str, Document] = {}
    for document in sorted(found.documents, key=lambda d: (bool(d.notes), d.id.count("/"), len(d.id), d.id)):
        first.setdefault(document.text, document)
    detail, copies = "the same text as {}, which is read; leave one of them out", defaultdict(list)
    for document in found.documents:
        if (kept := first[document.text].id) != document.id:
            copies[kept].append(document.id)
    left_out = [Rejected(name, "copy", detail.format(kept)) for kept, names in copies.items() for name in names]
    kept = [replace(d, copies=tuple(copies[d.id])) for d in found.documents if first[d.text] is d]
    return Ingested(kept, found.rejected + left_out)


def _walk(root: Path) -> Iterator[Path]:
    """Every file, link and folder that cannot be listed; hidden ones and Word's lock files are passed over."""
    closed: list[Path] = []
    for folder, folders, files in os.walk(root, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in files + links if not name.startswith((".", "~$")))
    yield from closed


def verdicts(ingested: Ingested) -> pd.DataFrame:
    """One row a file, or a note on one, those left out first: file, verdict, what is wrong, what to do."""
    import pandas as pd

    rows = [(file.id, file.reason, *file.detail.partition("; ")[::2]) for file in ingested.flawed]
    rows += [(document.id, "loaded", "", "") for document in ingested.documents if not document.notes]
    return pd.DataFrame(rows, columns=["file", "verdict", "wrong", "remedy"])


def load_file(
    path: str | Path, max_bytes: int = MAX_BYTES, password: str = "", turned: Turned = lambda page, pages: None
) -> Document:
    """Read one file, here and without limits of time; its `id` is the file's name. `turned` is called after each page of a PDF.

    Raises `Unreadable` (a `LabError` with `reason` and `detail`) for any file that yields no text.

    >>> load_file("handbook.pdf").pages
    (0, 1834, 3702)
    """
    path = Path(path)
    try:
        data, kind = _checked_bytes(path, max_bytes)
        title, parts, notes = read_pdf(data, password, turned) if kind == "pdf" else READERS[kind](data)
    except Unreadable:
        raise
    except MemoryError as error:
        raise Unreadable("too large", _TOO_MUCH_MEMORY) from error
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise Unreadable("broken", f"cannot be opened: {problem}; check its permissions") from error
    except Exception as error:  # parsers meet arbitrary bytes, and one bad file must not end the run
        problem = f"{type(error).__name__}: {error}".replace(";", ",")[:80]  # a semicolon begins the remedy
        raise Unreadable("broken", f"{problem}; open it and save it again") from error
    text, starts = _join(parts)
    if not text.strip():
        raise Unreadable("empty", "there is no text in it; leave it out, or put the text in")
    if len(text) > MAX_CHARACTERS:
        raise Unreadable("too large", f"it holds {len(text) / 1e6:.0f} million characters; split it")
    digest = hashlib.sha256(data).hexdigest()
    pages = starts if kind in ("pdf", "pptx") else ()
    return Document(path.name, _own_title(title) or _clean(path.stem), text, kind, digest, pages, tuple(notes))


def _checked_bytes(path: Path, max_bytes: int) -> tuple[bytes, str]:
    if path.is_symlink():
        raise Unreadable("refused", "a link, and links are not followed; copy the real file or folder in")
    if path.is_dir():
        raise Unreadable("broken", "a folder that cannot be listed; check its permissions")
    ending = path.suffix.lower()
    kind = FORMATS.get(ending, None if ending else "text")
    if path.exists() and not path.is_file():
        raise Unreadable("refused", "not a file but a device, pipe or socket; leave it out")
    if kind is None:
        advice = f"no reader for '{ending}'; save it as .pdf, .docx, .html, .md or .txt"
        raise Unreadable("unsupported", next((text for names, text in _OTHERS if ending[1:] in names.split()), advice))
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:  # should a link have come in its place
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise Unreadable("too large", f"{size / 1e6:.1f} MB; split it below {max_bytes / 1e6:.1f} MB")
        return file.read(max_bytes), kind


def _join(parts: list[str]) -> tuple[str, tuple[int, ...]]:
    """The parts as one text, and where in it each begins."""
    starts, pieces, length = [], [], 0
    for part in map(_clean, parts):
        starts.append(length)
        pieces.append(part)
        length += len(part) + 2
    return "\n\n".join(pieces), tuple(starts)


def _clean(text: str) -> str:
    """One kind of line end and space; letters instead of their forms in print, and without what is not seen in print."""
    text = _COLOURS.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").replace("\u00a0", " "))
    text = _FORMS.sub(lambda forms: unicodedata.normalize("NFKC", forms[0]), _UNSEEN.sub("", text))
    text = text.encode("utf-8", "replace").decode()  # lone surrogates break every tokenizer
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()


def _own_title(title: str | None) -> str:
    title = " ".join(_clean(title or "").removeprefix("Microsoft Word - ").split())[:200]
    return "" if title.lower().strip("()") in _JUNK_TITLES else title


@dataclass(frozen=True)
class Limits:
    """What one file may cost: bytes on disk, seconds to read, megabytes of address space for its process."""

    max_bytes: int
    seconds: float
    megabytes: int
    password: str = ""


def _answers(paths: Sequence[Path], limits: Limits, move: Callable[[Path, int, int], None]) -> Iterator[Answer]:
    """What becomes of each file in turn; LabError if no child process can be started."""
    count = min(os.cpu_count() or 1, 4, 1 + len(paths) // _FILES_PER_LIFE)
    shares = [_read_in_turn(paths[start::count], limits, move) for start in range(count)]
    if count == 1:
        yield from shares[0]
        return
    with ThreadPoolExecutor(count) as pool:  # of threads that only wait, each for a child process of its own
        waiting = [pool.submit(next, share) for share in shares]
        for number in range(len(paths)):
            yield waiting[number % count].result()
            waiting[number % count] = pool.submit(next, shares[number % count], {})


def _read_in_turn(paths: Iterable[Path], limits: Limits, move: Callable[[Path, int, int], None]) -> Iterator[Answer]:
    """The answers of one child process after the other, each as long as it serves."""
    worker: _Worker | None = None
    try:
        for path in paths:
            worker = worker or _Worker(limits)
            answer = worker.read(path, partial(move, path))
            if answer.pop("last", False):
                worker.end()
                worker = None
            yield answer
    finally:
        if worker:
            worker.end()


class _Worker:
    """A child process that reads files named to it on a pipe."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pipe, theirs = Pipe()
        code = "from labkit.rag.ingest import serve; serve()"
        words = [sys.executable, "-P", "-c", code, str(theirs.fileno())]
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
        silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        with theirs:
            env = os.environ | {"PYTHONPATH": path, "LABKIT_LIMITS": json.dumps(asdict(limits))}
            self.process = subprocess.Popen(words, pass_fds=[theirs.fileno()], env=env, **silent)
        with suppress(OSError, EOFError):
            if self.pipe.poll(_START_SECONDS) and self.pipe.recv_bytes() == b"ready":
                return
        self.end()
        raise LabError("the process that reads files does not start: run labkit doctor, or free some memory")

    def read(self, path: Path, turned: Turned) -> Answer:
        """The file's answer, or that time is up, or how the process died; its pages are told as they are read."""
        try:
            self.pipe.send_bytes(os.fsencode(path))
            # The system ends a child after so many seconds of processor time; one that only waits is ended here.
            patience = time.monotonic() + _WAITS * self.limits.seconds
            while self.pipe.poll(max(0.0, patience - time.monotonic())):
                answer = json.loads(self.pipe.recv_bytes())
                if isinstance(answer, dict):
                    return answer
                turned(*answer)
            status = -signal.SIGXCPU
        except (EOFError, OSError):
            status = self.process.wait()
        if status == -signal.SIGXCPU:
            detail = f"reading it takes over {self.limits.seconds:g} seconds of processor time; split it, or allow more"
            return {"reason": "timed out", "detail": detail, "last": True}
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return {"reason": "broken", "detail": f"its reader died ({how}); open it and save it again", "last": True}

    def end(self) -> None:
        """Close the pipe and end the child process."""
        self.pipe.close()
        self.process.kill()
        self.process.wait()


def serve() -> None:
    """The life of a worker: read files as they are named on the pipe, until it closes or memory ran out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends its worker
    limits = Limits(**json.loads(os.environ["LABKIT_LIMITS"]))  # others could read a password among the arguments
    _limit("AS", limits.megabytes * 1_000_000)
    _limit("CORE", 0)
    with Connection(int(sys.argv[1])) as pipe, suppress(EOFError, OSError):
        pipe.send_bytes(b"ready")
        for count in range(1, _FILES_PER_LIFE + 1):
            path = Path(os.fsdecode(pipe.recv_bytes()))
            _limit("CPU", math.ceil(time.process_time() + limits.seconds))
            tell = partial(_tell, pipe)
            pipe.send_bytes(_answer(path, limits, tell, last=count == _FILES_PER_LIFE))


def _tell(pipe: Connection, page: int, pages: int) -> None:
    pipe.send_bytes(json.dumps([page, pages]).encode())


def _answer(path: Path, limits: Limits, turned: Turned, last: bool) -> bytes:
    try:
        answer: Answer = asdict(load_file(path, limits.max_bytes, limits.password, turned)) | {"last": last}
        return json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except Unreadable as problem:
        reason, detail = problem.reason, problem.detail
        last |= isinstance(problem.__cause__, MemoryError)
    except MemoryError:
        reason, detail, last = "too large", _TOO_MUCH_MEMORY, True
    return json.dumps({"reason": reason, "detail": detail, "last": last}).encode()


def _limit(name: str, value: int) -> None:
    """Set a soft limit of this process, where the system has and keeps it."""
    with suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        kind = getattr(resource, f"RLIMIT_{name}")
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))
