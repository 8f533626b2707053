"""A folder of PDF, DOCX, HTML, Markdown and text files becomes plain text with provenance.

A file that cannot be read is reported by name and reason, and the rest goes on. Each file is parsed in a child process
that has limits: one that hangs or dies costs itself alone. This guards against accidents and files that eat time or
memory; it is no sandbox against a parser that is taken over.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError, Unreadable
from labkit.profile import ROOT
from labkit.rag.readers import Read, read_docx, read_html, read_markdown, read_pdf, read_text
from labkit.store import write_bytes

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES, MAX_CHARACTERS = 20_000_000, 20_000_000
READERS: dict[str, Callable[[bytes], Read]] = {
    "pdf": read_pdf, "docx": read_docx, "html": read_html, "markdown": read_markdown, "text": read_text,
}  # fmt: skip
FORMATS = {
    ".pdf": "pdf", ".docx": "docx", ".html": "html", ".htm": "html", ".md": "markdown",
    ".markdown": "markdown", ".txt": "text",
}  # fmt: skip
_JUNK_TITLES = {"", "untitled", "anonymous", "unspecified"}
Answer = dict[str, Any]  # the fields of a Document, or those of an Unreadable
_FILES_PER_WORKER, _FILES_PER_LIFE = 200, 200
_SERVE = "from labkit.rag.ingest import serve; serve()"
_START_SECONDS = 60


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

    >>> ingested = ingest("data/documents")
    >>> len(ingested.documents), [(file.id, file.reason) for file in ingested.rejected]
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
    ingested = Ingested([], [])
    for number, path in enumerate(paths):
        name = path.relative_to(root).as_posix().encode("utf-8", "replace").decode()
        answer = read.pop(number) | {"id": name}
        if "reason" in answer:
            ingested.rejected.append(Rejected(**answer))
        else:
            ingested.documents.append(Document(**answer | {"pages": tuple(answer["pages"])}))
    return ingested


def _walk(root: Path) -> Iterator[Path]:
    """Every file, link and folder that cannot be listed; hidden ones and Word's lock files are passed over."""
    closed: list[Path] = []
    for folder, folders, files in os.walk(root, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in files + links if not name.startswith((".", "~$")))
    yield from closed


def verdicts(ingested: Ingested) -> pd.DataFrame:
    """One row a file, those left out first: file, verdict, what is wrong, what to do.

    Introduced in 01_ingest.

    >>> verdicts(ingest("data/documents")).verdict.value_counts()
    """
    import pandas as pd

    rows = [(file.id, file.reason, *file.detail.partition("; ")[::2]) for file in ingested.rejected]
    rows += [(document.id, "loaded", "", "") for document in ingested.documents]
    return pd.DataFrame(rows, columns=["file", "verdict", "wrong", "remedy"])


def write_quarantine(ingested: Ingested, path: str | Path) -> None:
    """Write the files left out, with what is wrong and what to do, as CSV or JSON by the ending of `path`.

    Raises `LabError` for another ending. Introduced in 01_ingest.

    >>> write_quarantine(ingest("data/documents"), "quarantine.csv")
    """
    table = verdicts(ingested).query("verdict != 'loaded'")
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".json"):
        raise LabError(f"no report ends in '{suffix}': name a .csv or .json file")
    if suffix == ".csv":
        report = table.to_csv(index=False)
    else:
        report = table.to_json(orient="records", indent=1, force_ascii=False)
    write_bytes(path, report.encode("utf-8"))


def load_file(path: str | Path, max_bytes: int = MAX_BYTES) -> Document:
    """Read one file, here and without limits of time; its `id` is the file's name.

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


@dataclass(frozen=True)
class Limits:
    """What one file may cost: bytes on disk, seconds to read, megabytes of address space for its process."""

    max_bytes: int
    seconds: float
    megabytes: int


class _Worker:
    """One child process at the other end of a pipe, and the file it is reading."""

    def __init__(self, limits: Limits) -> None:
        self.pipe, theirs = Pipe()
        self.limits, self.number, self.deadline = limits, -1, 0.0
        self.ready = self.busy = False
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
        options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        with theirs:
            words = [sys.executable, "-P", "-c", _SERVE, str(theirs.fileno()), json.dumps(asdict(limits))]
            env = os.environ | {"PYTHONPATH": path}
            self.process = subprocess.Popen(words, pass_fds=[theirs.fileno()], env=env, **options)

    def begin(self, number: int, path: Path) -> None:
        if not self.ready and not self._greeted():
            raise LabError("the process that reads files does not start: run labkit doctor, or free some memory")
        self.number, self.busy, self.deadline = number, True, time.monotonic() + self.limits.seconds
        with suppress(OSError):  # a worker that has died is found out when its answer is awaited
            self.pipe.send_bytes(os.fsencode(path))

    def _greeted(self) -> bool:
        with suppress(OSError, EOFError):
            self.ready = self.pipe.poll(_START_SECONDS) and self.pipe.recv_bytes() == b"ready"
        return self.ready

    def answer(self) -> Answer:
        """The file's answer, or that time is up, or how the process died; `last`: it serves no more."""
        self.busy = False
        try:
            return json.loads(self.pipe.recv_bytes()) if self.pipe.poll() else self._late()
        except (EOFError, OSError):
            status = self.process.wait()
        if status == -signal.SIGXCPU:
            return self._late()
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return {"reason": "broken", "detail": f"its reader died ({how}); open it and save it again", "last": True}

    def _late(self) -> Answer:
        detail = f"reading it takes over {self.limits.seconds:g} seconds; split it, or allow more"
        return {"reason": "timed out", "detail": detail, "last": True}

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.wait()


def read_all(paths: Sequence[Path], limits: Limits) -> Iterator[tuple[int, Answer]]:
    """The number of each path with its answer, as they come; LabError if no child process can be started."""
    waiting = deque(enumerate(paths))
    count = min(os.cpu_count() or 1, 4, 1 + len(paths) // _FILES_PER_WORKER)
    alive: list[_Worker] = []
    try:
        while waiting or any(worker.busy for worker in alive):
            alive += [_Worker(limits) for _ in range(min(count - len(alive), len(waiting)))]
            for worker in alive:
                if waiting and not worker.busy:
                    worker.begin(*waiting.popleft())
            for worker in _answering([worker for worker in alive if worker.busy]):
                answer = worker.answer()
                if answer.pop("last", False):
                    worker.end()
                    alive.remove(worker)
                yield worker.number, answer
    finally:
        for worker in alive:
            worker.end()


def _answering(busy: list[_Worker]) -> list[_Worker]:
    """Wait for the next answer, death or deadline; whom to ask now."""
    soonest = min(worker.deadline for worker in busy)
    ready = wait([worker.pipe for worker in busy], max(0.0, soonest - time.monotonic()))
    return [worker for worker in busy if worker.pipe in ready or worker.deadline <= time.monotonic()]


def serve() -> None:
    """The life of a worker: read files as they are named on the pipe, until it closes or memory ran out.

    It serves a limited number of files, so that what parsers leak is given back.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends its workers
    limits = Limits(**json.loads(sys.argv[2]))
    _limit_memory(limits.megabytes)
    with Connection(int(sys.argv[1])) as pipe, suppress(EOFError, OSError):
        pipe.send_bytes(b"ready")
        for served in range(1, _FILES_PER_LIFE + 1):
            path = Path(os.fsdecode(pipe.recv_bytes()))
            _limit_seconds(limits.seconds)
            pipe.send_bytes(_read(path, limits, last=served == _FILES_PER_LIFE))


def _read(path: Path, limits: Limits, last: bool) -> bytes:
    try:
        answer: Answer = asdict(load_file(path, limits.max_bytes)) | {"last": last}
        return json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except Unreadable as problem:
        reason, detail = problem.reason, problem.detail
        last |= isinstance(problem.__cause__, MemoryError)
    except MemoryError:
        reason, detail, last = "too large", "reading it takes more memory than is allowed; split it", True
    return json.dumps({"reason": reason, "detail": detail, "last": last}).encode()


def _limit_memory(megabytes: int) -> None:
    with suppress(ImportError, ValueError, OSError):  # not every system has or keeps this limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 1_000_000,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_seconds(seconds: float) -> None:
    """Processor time, should the parent die while a file is read: nobody else would end this process."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 2, hard))
