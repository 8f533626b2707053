"""Parse each file in a child process that has limits: one that hangs or dies costs its own file, no other.

This guards against accidents and files that eat time or memory; it is no sandbox against a parser that is
taken over. Introduced in 01_ingest.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from labkit.errors import LabError, Unreadable
from labkit.profile import ROOT

Answer = dict[str, Any]  # the fields of a Document, or those of an Unreadable
_FILES_PER_WORKER, _FILES_PER_LIFE = 200, 200
_SERVE = "from labkit.rag.ingest_workers import serve; serve()"
_START_SECONDS = 60


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
        """What came through the pipe, else that time is up or how the process died; `last`: it serves no more."""
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
        said = f"reading it takes over {self.limits.seconds:g} seconds; split it, or allow more"
        return {"reason": "timed out", "detail": said, "last": True}

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.wait()


def read_all(paths: Sequence[Path], limits: Limits) -> Iterator[tuple[int, Answer]]:
    """The number of each path with its answer, as they come; LabError if no child process can be started.

    >>> dict(read_all([Path("a.txt")], Limits(20_000_000, 60, 1000)))[0]["text"]
    'Hello.'
    """
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
    """The life of a worker: read files as they are named on the pipe, until it closes or memory ran out."""
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
    from labkit.rag.ingest import load_file

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
