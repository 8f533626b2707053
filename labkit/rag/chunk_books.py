"""Short documents bound into long ones, and where in them a fact is proved. Introduced in 02_chunk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.metrics import contains
from labkit.rag.ingest import Document
from labkit.store import address

if TYPE_CHECKING:
    from labkit.data import Evidence
    from labkit.rag.chunk import Chunk


@dataclass(frozen=True)
class Library:
    """Books, and where each document bound into them stands: its book's id, first and last character."""

    books: tuple[Document, ...]
    places: dict[str, tuple[str, int, int]]

    def text(self, document: str) -> str:
        """A document as it stands in its book."""
        book, start, end = self.places[document]
        return next(b.text for b in self.books if b.id == book)[start:end]

    def span(self, evidence: Evidence) -> tuple[str, int, int] | None:
        """The book and characters of the passage that states a fact; None where extraction lost the passage."""
        if evidence.document not in self.places:
            return None
        book, start, _ = self.places[evidence.document]
        words = r"\s+".join(map(re.escape, evidence.passage.split()))
        found = re.search(words, self.text(evidence.document))
        return (book, start + found.start(), start + found.end()) if found else None

    def proves(self, chunk: Chunk, evidence: Evidence) -> bool:
        """Whether a chunk holds the whole passage that states a fact, or a line elsewhere that restates it."""
        span = self.span(evidence)
        if span and chunk.document_id == span[0] and chunk.start <= span[1] and span[2] <= chunk.end:
            return True
        parts = [self._shared(chunk, name) for name in evidence.also if name in self.places]
        lines = [line for part in parts for line in part.splitlines()]
        return any(evidence.entity in line and contains(line, evidence.value) for line in lines)

    def _shared(self, chunk: Chunk, document: str) -> str:
        """What a chunk holds of a document."""
        book, start, end = self.places[document]
        if chunk.document_id != book:
            return ""
        return chunk.text[max(start - chunk.start, 0) : max(end - chunk.start, 0)]


def bind(documents: Iterable[Document]) -> Library:
    """One book for each folder: its documents as chapters in the order given, each under its title as a heading.

    Introduced in 02_chunk.

    >>> [book.id for book in bind(lab.documents).books]
    ['plans', 'products', 'projects', 'sites']
    """
    folders: dict[str, list[Document]] = {}
    for document in documents:
        folders.setdefault(document.id.rpartition("/")[0] or "book", []).append(document)
    bound = [_book(name, chapters) for name, chapters in folders.items()]
    return Library(tuple(book for book, _ in bound), {k: v for _, places in bound for k, v in places.items()})


def _book(name: str, chapters: Sequence[Document]) -> tuple[Document, dict[str, tuple[str, int, int]]]:
    places, texts, end = {}, [], 0
    for chapter in chapters:
        text = f"# {chapter.title}\n\n{chapter.text.removeprefix(chapter.title).strip()}\n\n"
        places[chapter.id] = (name, end, end + len(text))
        texts.append(text)
        end += len(text)
    whole = "".join(texts)
    return Document(name, name.capitalize(), whole, "markdown", address(text=whole)), places
