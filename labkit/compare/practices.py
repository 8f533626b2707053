"""The article's best practices, measured: chunk size and overlap, swept; indexing again; adapting with LoRA.

A chunk's size matters only in a long document, so the sweep binds the short ones into books.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from labkit.compare import small
from labkit.compare.arms import passages
from labkit.compare.lab import spread
from labkit.compare.reading import read
from labkit.compare.score import is_right, recall
from labkit.compare.training import closed_book
from labkit.metrics import contains
from labkit.quiet import bar
from labkit.rag.augment import fit
from labkit.rag.chunk import Chunk, chunk_documents, truncated
from labkit.rag.index import FaissStore
from labkit.rag.ingest import Document
from labkit.rag.retrieve import Hit, retriever
from labkit.stats import Interval, paired_bootstrap
from labkit.store import address

if TYPE_CHECKING:
    import pandas as pd

    from labkit.compare.lab import Lab
    from labkit.data import Evidence, Item

SIZES = (64, 128, 256, 500)
OVERLAPS = (0.0, 0.1, 0.15, 0.2, 0.3)
ASKED, BUDGET = {"full": 60, "smoke": 6}, 1024  # questions that are answered, tokens of their prompts
OVERLAP = 0.15
"""What the article advises, 10 to 20 % of a chunk."""


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
        places = [self.places[name] for name in evidence.also if name in self.places]
        shared = [
            chunk.text[max(start - chunk.start, 0) : max(end - chunk.start, 0)]
            for book, start, end in places
            if book == chunk.document_id
        ]
        lines = [line for part in shared for line in part.splitlines()]
        return any(evidence.entity in line and contains(line, evidence.value) for line in lines)


def bind(documents: Iterable[Document]) -> Library:
    """One book for each folder: its documents as chapters in the order given, each under its title as a heading."""
    texts: dict[str, str] = {}
    places = {}
    for document in documents:
        book = document.id.rpartition("/")[0] or "book"
        start = len(texts.setdefault(book, ""))
        texts[book] += f"# {document.title}\n\n{document.text.removeprefix(document.title).strip()}\n\n"
        places[document.id] = (book, start, len(texts[book]))
    books = [Document(name, name.capitalize(), text, "markdown", address(text=text)) for name, text in texts.items()]
    return Library(tuple(books), places)


def sweep(
    lab: Lab,
    sizes: Sequence[int] = SIZES,
    overlaps: Sequence[float] = OVERLAPS,
    by: str = "paragraph",
) -> pd.DataFrame:
    """One row for each setting and question that the documents answer, over the documents bound into books.

    `found` is the share of the needed facts in the profile's `top_k` chunks. ASKED questions, spread over the
    kinds, are answered too: their prompt holds the best chunks up to BUDGET tokens, the last one cut to fit
    (`read`: the share of needed facts still in it; `correct`; `prompt_tokens`; `passages`). `chunks`, `megabytes`
    (of float32 vectors) and `truncated` (chunks longer than the embedder reads) describe the index; an overlap is
    a share of the size. Every setting is kept by its address. At smoke size a few settings over few documents.

    >>> sweep(lab).groupby(["size", "overlap"])[["found", "correct"]].mean()
    """
    import pandas as pd

    documents = lab.documents
    if lab.size == "smoke":
        sizes, overlaps = sizes[::3], overlaps[:3:2]
        needed = {e.document for item in lab.questions for e in item.evidence}
        documents = [document for document in documents if document.id in needed]
    library, rows = bind(documents), []
    about = {"what": "chunk sweep", "hashes": lab.hashes, "profile": asdict(lab.profile)}
    about |= {"asked": ASKED[lab.size], "budget": BUDGET, "books": [book.sha256 for book in library.books]}
    settings = [{"size": size, "overlap": overlap, "by": by} for size in sizes for overlap in overlaps]
    with bar(len(settings), "chunk settings", lab.progress) as steps:
        for setting in settings:
            some = lab.artifacts.value(lambda s=setting: _measure(lab, library, **s), setting=setting, **about)
            rows += [setting | row for row in some]
            steps.update()
    return pd.DataFrame(rows)


def _measure(lab: Lab, library: Library, size: int, overlap: float, by: str) -> list[small.Row]:
    """One setting: cut, embed and index, search for all questions, and answer some of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of truncation, which is counted here
        chunks = chunk_documents(library.books, lab.embedder.tokenizer, size, round(overlap * size), by)
    megabytes = len(chunks) * lab.embedder.dimensions * 4 / 1e6
    unseen = len(truncated(chunks, lab.embedder.tokenizer))
    index = {"chunks": len(chunks), "megabytes": megabytes, "truncated": unseen}
    items = [item for item in lab.questions if item.evidence]
    search = retriever(lab.profile.method, FaissStore.from_chunks(chunks, lab.embedder))
    hits = search.search_batch([item.question for item in items], lab.profile.top_k)
    by_item = {item.id: row for item, row in zip(items, hits, strict=True)}

    def share(item: Item, shown: Sequence[Hit]) -> float:
        return float(np.mean([any(library.proves(hit.chunk, fact) for hit in shown) for fact in item.evidence]))

    some, answers = spread(items, ASKED[lab.size]), {}
    shown = [_shown(lab, item.question, by_item[item.id]) for item in some]
    silent = copy(lab)  # one bar is enough
    silent.progress = False
    for item, context, answer in zip(some, shown, read(silent, [i.question for i in some], shown), strict=True):
        right, seen = int(is_right(item, answer.text)), share(item, context)
        about = {"read": seen, "correct": right, "prompt_tokens": answer.prompt_tokens, "passages": len(context)}
        answers[item.id] = about
    return [
        {"id": i.id, "kind": i.kind, "found": share(i, by_item[i.id])} | answers.get(i.id, {}) | index for i in items
    ]


def _shown(lab: Lab, question: str, hits: Sequence[Hit]) -> list[Hit]:
    """The hits as far as a prompt of BUDGET tokens holds them, the last one cut to fit."""
    fitted = fit(question, passages(hits), BUDGET, lab.model.count, cut=True).passages
    return [
        replace(hit, chunk=replace(hit.chunk, text=text, end=hit.chunk.start + len(text)))
        for hit, (_, text) in zip(hits, fitted, strict=False)
    ]


def chunking(lab: Lab) -> dict[str, Interval]:
    """What an overlap brings over none, over all sizes of the sweep."""
    swept, gains = sweep(lab, overlaps=(0.0, OVERLAP)), {}
    for name, metric in {"accuracy": "correct", "recall": "found"}.items():
        wide = swept.dropna(subset=[metric]).pivot_table(metric, "id", "overlap", aggfunc="mean")
        gains[f"{name} with 15 % overlap less with none"] = paired_bootstrap(wide[OVERLAP], wide[0.0]).interval
    return gains


def embedding(lab: Lab) -> dict[str, Interval]:
    """Recall of an index made before the facts changed, and of questions embedded by another embedder than the index.

    The other embedder is a hash of the words into as many dimensions (lesson 03).
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    can, k = [item for item in lab.questions if item.evidence], lab.profile.top_k
    now = [item for item in can if item.kind == "changed fact"]
    questions = [item.question for item in can]

    def recalls(items: Sequence[Item], hits: Sequence[Sequence[Hit]]) -> list[float]:
        return [recall(item, row) for item, row in zip(items, hits, strict=True)]

    def nearest(vectors: np.ndarray) -> list[float]:
        numbers = lab.vectors.index.search(np.asarray(vectors, np.float32), k)[1]
        return recalls(can, [[Hit(lab.vectors.chunks[n], 1.0, 1) for n in row] for row in numbers])

    fresh, stale = (
        recalls(now, search.search_batch([item.question for item in now], k))
        for search in (lab.retriever(), lab.old_retriever())
    )
    same = nearest(lab.embedder.encode(questions, query=True))
    other = nearest(HashingVectorizer(n_features=lab.embedder.dimensions).transform(questions).toarray())
    return {
        "recall on changed facts: fresh index - stale index": paired_bootstrap(fresh, stale).interval,
        "recall: queries from the same embedder - from another": paired_bootstrap(same, other).interval,
    }


@small.study("full tuning", seeds=True)
def full_tuning(lab: Lab, seed: int) -> list[small.Row]:
    """The small company learned by all weights, and by an adapter (`tuned`): columns as `small.ask`, seed."""
    pairs = small.company().questions
    models = {"full": small.learn(lab, lab.model, pairs, seed, full=True)[0], "tuned": small.first(lab, seed)}
    return [row for name, m in models.items() for row in small.ask(lab, small.reciter(lab, name, m), pairs, seed=seed)]


def adapting(lab: Lab) -> dict[str, Interval]:
    """What an adapter saves in bytes, and whether it learns as much as all weights do."""
    ratios = lab.artifacts.value(lambda: _bytes(lab), what="bytes of training", base=lab.hashes["model"])
    rows = full_tuning(lab)
    return {name: Interval(value, value, value) for name, value in ratios.items()} | {
        "accuracy: lora - full tuning": small.gap(rows, "tuned", "full")
    }


def _bytes(lab: Lab) -> dict[str, float]:
    """Bytes of gradients and optimiser with and without an adapter, and of weights in four bits and in 32: ratios."""
    from labkit.model import load_model
    from labkit.tune.adapters import LoraSettings, add_lora, footprint, load_quantised
    from labkit.tune.prepare import Example, dataset

    p = lab.profile
    settings = LoraSettings(epochs=2, batch_size=8, rank=p.lora_rank)
    whole, squeezed = load_model(p.model_path, dtype="float32"), load_quantised(p.model_path)
    talks = closed_book(small.company().questions[:8])
    rows = dataset([Example(messages) for messages in talks], whole.tokenizer, p.context).rows
    full = footprint(whole.network, whole.tokenizer, rows, replace(settings, learning_rate=1e-4))
    lora = footprint(add_lora(whole.network, settings), whole.tokenizer, rows, settings)
    qlora = footprint(add_lora(squeezed.network, settings), whole.tokenizer, rows, replace(settings, quantised=True))
    return {
        "trained bytes: lora / full": (lora.gradients + lora.optimiser) / (full.gradients + full.optimiser),
        "bytes of the weights: qlora / full": qlora.weights / full.weights,
    }
