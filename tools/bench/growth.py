"""How seconds and memory of reading and indexing grow with the documents: each number of them in a process of its own.

python -m tools.bench.growth FOLDER    # one measurement, as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from math import log10
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tools.bench import LESS, Contest, Size, clocked

MOST_SECONDS = 180  # that a number of documents is expected to take, or it is left out
WORDS = 60  # of a document, so that it is one chunk


def growth(size: Size) -> Iterator[Contest]:
    """Seconds and memory for 100, 1,000 and 10,000 documents of one chunk; and the exponents of tenfold growth.

    An exponent of 1 is growth in proportion. Memory is what the process's peak grew by. Where 10,000 documents would take
    longer than three minutes, by what 1,000 took, they are left out.

    >>> [contest.work for contest in growth(Size(quick=True))]
    """
    before: dict[str, float] = {}
    for count in (10, 100) if size.quick else (100, 1_000, 10_000):
        if 10 * sum(value for unit, value in before.items() if unit.startswith("s ")) > MOST_SECONDS:
            return
        rounds: list[dict[str, float]] = []
        with TemporaryDirectory() as folder:
            write(Path(folder), count)
            # Ten thousand take minutes; their spread is small compared with that of a hundred.
            most = 1 if count > 1_000 else 3
            yield Contest(f"{count:,} documents", partial(_measured, folder, rounds), rounds=most)
        now = {unit: median(values[unit] for values in rounds) for unit in rounds[0]}
        if before:
            yield Contest(f"{count // 10:,} to {count:,} documents", partial(exponents, before, now), rounds=1)
        before = now


def exponents(few: dict[str, float], many: dict[str, float]) -> dict[str, float]:
    """Of tenfold growth, for the seconds and megabytes that are above zero at both ends.

    >>> exponents({"s to index": 2.0, "MB to index": 0.0}, {"s to index": 20.0, "MB to index": 9.0})
    {'exponent of s to index': 1.0}
    """
    grown = [unit for unit in few if unit.split()[0] in LESS and few[unit] > 0 and many[unit] > 0]
    return {f"exponent of {unit}": log10(many[unit] / few[unit]) for unit in grown}


def write(folder: Path, count: int) -> None:
    """Text files of the company's words, no two alike."""
    import labkit

    documents = labkit.open("pocket", progress=False).documents
    words = [word for document in documents if document.format != "table" for word in document.text.split()]
    for n in range(count):
        start = n * WORDS // 2 % len(words)
        (folder / f"{n:06}.txt").write_text(f"Note {n}. {' '.join(words[start : start + WORDS])}.", "utf-8")


def _measured(folder: str, rounds: list[dict[str, float]]) -> dict[str, float]:
    """One measurement in a fresh process, which `rounds` keeps too."""
    command = [sys.executable, "-m", "tools.bench.growth", folder]
    rounds.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return rounds[-1]


def main(words: Sequence[str]) -> None:
    """Read and index a folder, and print seconds and megabytes of both."""
    from labkit.profile import PROFILES
    from labkit.rag.chunk import chunk_documents
    from labkit.rag.embed import load_embedder
    from labkit.rag.index import FaissStore
    from labkit.rag.ingest import ingest
    from labkit.store import peak_rss_mb

    profile, embedder = PROFILES["smol"], load_embedder()
    embedder.encode(["What loads at first use is not counted."])
    before = peak_rss_mb()
    reading, found = clocked(lambda: ingest(words[0], progress=False))
    between = peak_rss_mb()

    def index() -> FaissStore:
        chunks = chunk_documents(
            found.documents, embedder.tokenizer, size=profile.chunk_size, overlap=profile.chunk_overlap
        )
        return FaissStore.from_chunks(chunks, embedder)

    indexing, store = clocked(index)
    after = peak_rss_mb()
    values = {
        "s to read": reading,
        "MB to read": between - before,
        "s to index": indexing,
        "MB to index": after - between,
    }
    print(json.dumps(values | {"chunks": len(store)}))


if __name__ == "__main__":
    main(sys.argv[1:])
