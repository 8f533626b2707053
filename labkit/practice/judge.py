"""Answers that no document holds word for word: what stands for their proof, and whether another answer says the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.data import Evidence, Item
from labkit.metrics import abstained, overlap
from labkit.text import words

if TYPE_CHECKING:
    from labkit.rag.embed import Embedder
    from labkit.rag.ingest import Document

F1, COSINE = 0.4, 0.85
"""The least of both for an answer to say the same, chosen on data/judged.csv: docs/method.md has the agreement."""
NEAREST = "nearest sentence"


def is_free(item: Item) -> bool:
    """Whether no document holds the item's answer word for word, so that a right answer is judged by what it says."""
    return item.gold is not None and (not item.evidence or item.evidence[0].kind == NEAREST)


class Nearest:
    """Finds the sentence that shares most words with a text; the documents are read when it is first asked."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents, self.search = documents, None

    def __call__(self, text: str, places: Sequence[Document]) -> tuple[Evidence, ...]:
        """The sentence as evidence, of some places if they are named; none where no word is shared."""
        from labkit.rag.chunk import Chunk
        from labkit.rag.retrieve import BM25, Texts

        if self.search is None:
            lines = [(d, line) for d in self.documents for line in re.split(r"\n+|(?<=[.!?])\s+|(?<=[。！？])", d.text)]
            chunks = [Chunk(str(n), d.id, d.title, line, 0, 0) for n, (d, line) in enumerate(lines) if line.strip()]
            self.search = BM25(Texts(chunks))
        hits, allowed = self.search.search(text, 200), {d.id for d in places or self.documents}
        best = [hit.chunk for hit in hits if hit.chunk.document_id in allowed][:1]
        return tuple(Evidence(chunk.document_id, "", chunk.text.strip(), NEAREST, "", "") for chunk in best)


class Judge:
    """Whether an answer says what a reference says: by the F1 of the words that the question did not bring, and by cosine.

    Words are stems without stop words, in the language of `texts`; cosine is that of question and answer with question and
    reference. An answer with other numbers than the reference says something else.

    >>> judge("Which river does it cross?", "It spans the Severn.", "The bridge crosses the Severn.")
    True
    """

    def __init__(self, embedder: Embedder, texts: Sequence[str] = ()) -> None:
        from labkit.rag.retrieve import language, stems

        self.embedder = embedder
        self.terms = stems(language([words(text) for text in texts]))

    def __call__(self, question: str, answer: str, reference: str) -> bool:
        """Whether both reach their thresholds."""
        f1, cosine = self.scores(question, answer, reference)
        return f1 >= F1 and cosine >= COSINE

    def scores(self, question: str, answer: str, reference: str) -> tuple[float, float]:
        """F1 and cosine; both 0 where the answer declines, or where its numbers differ."""
        known, (answered, right) = words(question), (words(text) for text in (answer, reference))
        one, other = ({word for word in some if word.strip("-")[:1].isdigit()} - {*known} for some in (answered, right))
        if abstained(answer) or one != other:
            return 0.0, 0.0
        asked = {*self.terms(known)}
        new = ([word for word in self.terms(some) if word not in asked] for some in (answered, right))
        vectors = self.embedder.encode([f"{question} {answer}", f"{question} {reference}"])
        return overlap(*new), float(vectors[0] @ vectors[1])
