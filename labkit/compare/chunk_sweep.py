"""Chunk size and overlap, swept: what is found, answered, stored and read.

A size matters only in a long document, so the sweep binds the short ones into books.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.compare.arms import passages
from labkit.compare.reading import read
from labkit.compare.score import is_right
from labkit.lab import spread
from labkit.metrics import contains
from labkit.rag.augment import fit
from labkit.rag.chunk import Chunk, chunk_documents, truncated
from labkit.rag.index import FaissStore
from labkit.rag.ingest import Document
from labkit.rag.retrieve import Hit, retriever
from labkit.stats import holm, paired_bootstrap
from labkit.store import address

if TYPE_CHECKING:
    import pandas as pd

    from labkit.data import Evidence, Item
    from labkit.lab import Lab

SIZES = (64, 128, 256, 500)
OVERLAPS = (0.0, 0.1, 0.15, 0.2, 0.3)
ADVISED_SIZE, ADVISED_OVERLAPS = 500, (0.1, 0.15, 0.2)
Row = dict[str, Any]


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
        match = re.search(words, self.text(evidence.document))
        return (book, start + match.start(), start + match.end()) if match else None

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


def sweep(
    lab: Lab,
    sizes: Sequence[int] = SIZES,
    overlaps: Sequence[float] = OVERLAPS,
    by: str = "paragraph",
    asked: int = 60,
    budget: int = 1024,
) -> pd.DataFrame:
    """One row for each setting and question that the documents answer, over the documents bound into books.

    `found` is the share of the needed facts in the profile's `top_k` chunks. `asked` questions, spread over the
    kinds, are answered too: their prompt holds the best chunks up to `budget` tokens, the last one cut to fit
    (`read`: the share of needed facts still in it; `correct`; `prompt_tokens`; `passages`). `chunks`, `megabytes`
    (of float32 vectors) and `truncated` (chunks longer than the embedder reads) describe the index; an overlap is
    a share of the size. Every setting is kept by its address. At smoke size a few settings over few documents.
    Introduced in 02_chunk.

    >>> sweep(lab).groupby(["size", "overlap"])[["found", "correct"]].mean()
    """
    import pandas as pd
    from tqdm import tqdm

    documents = lab.documents
    if lab.size == "smoke":
        sizes, overlaps, asked = sizes[::3], overlaps[:3:2], 6
        needed = {e.document for item in lab.questions for e in item.evidence}
        documents = [document for document in documents if document.id in needed]
    library, rows = bind(documents), []
    with tqdm(total=len(sizes) * len(overlaps), unit="setting", disable=not lab.progress) as bar:
        for size in sizes:
            for overlap in overlaps:
                bar.set_description(f"size {size}, overlap {overlap:.0%}")
                rows += _kept(lab, library, size, overlap, by, asked, budget)
                bar.update()
    return pd.DataFrame(rows)


def _kept(lab: Lab, library: Library, size: int, overlap: float, by: str, asked: int, budget: int) -> list[Row]:
    setting = {"size": size, "overlap": overlap, "by": by}
    books = [book.sha256 for book in library.books]
    about = {"asked": asked, "budget": budget, "books": books, "hashes": lab.hashes, "profile": asdict(lab.profile)}
    rows = lab.artifacts.value(
        lambda: _measure(lab, library, size, overlap, by, asked, budget), what="chunk sweep", setting=setting, **about
    )
    return [setting | row for row in rows]


def _measure(lab: Lab, library: Library, size: int, overlap: float, by: str, asked: int, budget: int) -> list[Row]:
    store, index = _indexed(lab, library, size, overlap, by)
    items = [item for item in lab.questions if item.evidence]
    hits = retriever(lab.profile.method, store).search_batch([item.question for item in items], lab.profile.top_k)
    by_item = {item.id: row for item, row in zip(items, hits, strict=True)}
    answers = _answers(lab, library, spread(items, asked), by_item, budget)
    return [
        {"id": item.id, "kind": item.kind, "found": _share(library, item, by_item[item.id])}
        | answers.get(item.id, {})
        | index
        for item in items
    ]


def _indexed(lab: Lab, library: Library, size: int, overlap: float, by: str) -> tuple[FaissStore, Row]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of truncation, which is counted here
        chunks = chunk_documents(library.books, lab.embedder.tokenizer, size, round(overlap * size), by)
    vectors = len(chunks) * lab.embedder.dimensions * 4
    unseen = len(truncated(chunks, lab.embedder.tokenizer))
    index = {"chunks": len(chunks), "megabytes": vectors / 1e6, "truncated": unseen}
    return FaissStore.from_chunks(chunks, lab.embedder), index


def _share(library: Library, item: Item, hits: Sequence[Hit]) -> float:
    return float(np.mean([any(library.proves(hit.chunk, fact) for hit in hits) for fact in item.evidence]))


def _answers(
    lab: Lab, library: Library, items: Sequence[Item], by_item: dict[str, list[Hit]], budget: int
) -> dict[str, Row]:
    """What the model answers from as much of the hits as fits; by question's id."""
    shown = [_shown(lab, item.question, by_item[item.id], budget) for item in items]
    silent = copy(lab)  # one bar is enough
    silent.progress = False
    answers = read(silent, [item.question for item in items], shown)
    return {
        item.id: {
            "read": _share(library, item, hits),
            "correct": int(is_right(item, answer.text)),
            "prompt_tokens": answer.prompt_tokens,
            "passages": len(hits),
        }
        for item, hits, answer in zip(items, shown, answers, strict=True)
    }


def _shown(lab: Lab, question: str, hits: Sequence[Hit], budget: int) -> list[Hit]:
    """The hits as far as a prompt of `budget` tokens holds them, the last one cut to fit."""
    fitted = fit(question, passages(hits), budget, lab.model.count, cut=True).passages
    return [
        replace(hit, chunk=replace(hit.chunk, text=text, end=hit.chunk.start + len(text)))
        for hit, (_, text) in zip(hits, fitted, strict=False)
    ]


def claims(swept: pd.DataFrame) -> pd.DataFrame:
    """The article's two pieces of advice against their alternatives, as paired differences over questions.

    "≈500 tokens" against each other size, all overlaps averaged; "10–20 %" against each other overlap, all sizes
    averaged; for `found`, `read` and `correct`. `diff` above 0 favours the advice; `low` and `high` bound its 95 %
    interval; `holm` is the p-value for all rows together, and `verdict` what follows at 5 %. Introduced in 02_chunk.

    >>> claims(sweep(lab)).verdict.value_counts()
    """
    import pandas as pd

    rows = [row for metric in ("found", "read", "correct") for row in _against(swept, metric)]
    table = pd.DataFrame(rows).assign(holm=lambda rows: holm(rows.p))
    clear = np.where(table["diff"] > 0, "better", "worse")
    return table.assign(verdict=np.where(table.holm < 0.05, clear, "not told apart"))


def _against(swept: pd.DataFrame, metric: str) -> list[Row]:
    wide = swept.dropna(subset=[metric]).pivot(index="id", columns=["size", "overlap"], values=metric)
    sizes, overlaps = (wide.columns.get_level_values(name) for name in ("size", "overlap"))
    advised = overlaps.isin(ADVISED_OVERLAPS)
    pairs = [("≈500 tokens", sizes == ADVISED_SIZE, f"{s} tokens", sizes == s) for s in sorted(set(sizes))]
    pairs += [("10–20 % overlap", advised, f"{o:.0%} overlap", overlaps == o) for o in sorted(set(overlaps[~advised]))]
    return [
        {"advice": advice, "against": other, "metric": metric, "questions": len(wide)}
        | asdict(paired_bootstrap(wide.loc[:, ours].to_numpy(float), wide.loc[:, theirs].to_numpy(float)))
        for advice, ours, other, theirs in pairs
        if other != f"{ADVISED_SIZE} tokens"
    ]
