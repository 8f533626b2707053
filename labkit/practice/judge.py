"""What your own questions ask of an answer: to say what the reference says, where no document holds it word for word, and
to keep the style of your replies."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labkit.data import Evidence, Item, sentences
from labkit.errors import LabError
from labkit.metrics import abstained, overlap
from labkit.rag.chunk import Chunk
from labkit.rag.embed import Embedder
from labkit.rag.ingest import Document
from labkit.rag.retrieve import BM25, Texts, language, stems
from labkit.text import words

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
        self.embedder = embedder
        self.terms = stems(language([words(text) for text in texts]))

    def __call__(self, question: str, answer: str, reference: str) -> bool:
        """Whether both reach their thresholds; never where the answer declines, or where its numbers differ."""
        known, (answered, right) = words(question), (words(text) for text in (answer, reference))
        one, other = ({word for word in some if word.strip("-")[:1].isdigit()} - {*known} for some in (answered, right))
        if abstained(answer) or one != other:
            return False
        asked = {*self.terms(known)}
        new = ([word for word in self.terms(some) if word not in asked] for some in (answered, right))
        vectors = self.embedder.encode([f"{question} {answer}", f"{question} {reference}"])
        return overlap(*new) >= F1 and float(vectors[0] @ vectors[1]) >= COSINE


@dataclass(frozen=True)
class Style:
    """How your replies open and close, the least and most sentences that they have, and whether any exclaims.

    >>> Style("Hello.", "Bye.", 2, 4, False).faults("Hello. It is red.")
    ['closing']
    """

    opening: str
    closing: str
    least: int
    most: int
    exclaims: bool

    def faults(self, text: str) -> list[str]:
        """What a text breaks, each in a few words; none for a text in style."""
        text = " ".join(text.split())
        rules = {
            "opening": text.startswith(self.opening),
            "closing": text.endswith(self.closing),
            f"{self.least} to {self.most} sentences": self.least <= len(sentences(text)) <= self.most,
            "no exclamation": self.exclaims or "!" not in text,
        }
        return [rule for rule, kept in rules.items() if not kept]

    def dress(self, body: str) -> str:
        """A body between opening and closing."""
        return " ".join(filter(None, [self.opening, body, self.closing]))

    def body_of(self, item: Item, reply: str) -> Item:
        """The item whose answer is its reply without opening and closing: what `dress` puts around it again."""
        body = " ".join(reply.split()).removeprefix(self.opening).removesuffix(self.closing).strip()
        return replace(item, answer=body)


def learn(replies: Mapping[str, str], train: Sequence[str]) -> Style | None:
    """The style that the replies of the training rows share; None where no row has a reply.

    What they open and close with ends at a mark, so that any sentence fits between. Raises LabError where a training
    row lacks one.

    >>> learn({"1": "Hi. It is red. Bye.", "2": "Hi. Two. Bye."}, ["1", "2"]).closing
    'Bye.'
    """
    if not any(replies.values()):
        return None
    if missing := [name for name in train if not replies[name]]:
        raise LabError(f"{missing[0]} and {len(missing) - 1} more to train on have no reply: give each one, or none")
    ends, words = tuple(".!?,:;"), [replies[name].split() for name in train]
    opening = os.path.commonprefix(words)
    while opening and not opening[-1].endswith(ends):
        opening = opening[:-1]
    bodies = [reply[len(opening) :] for reply in words]
    closing = os.path.commonprefix([body[::-1] for body in bodies])[::-1]
    while closing and not all(body[-len(closing) - 1].endswith(ends) for body in bodies if len(body) > len(closing)):
        closing = closing[1:]
    counts = [len(sentences(" ".join(reply))) for reply in words]
    exclaims = any("!" in word for reply in words for word in reply)
    return Style(" ".join(opening), " ".join(closing), min(counts), max(counts), exclaims)
