"""What your own questions ask of an answer: to say what the reference says, where no document holds it word for word, and
to keep the style of your replies."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labkit.data import Evidence, Item, data_folder, sentences
from labkit.errors import LabError, one_line
from labkit.metrics import abstained, overlap
from labkit.practice.generator import LOOPBACK, Endpoint
from labkit.quiet import bar
from labkit.rag.chunk import Chunk
from labkit.rag.embed import Embedder
from labkit.rag.ingest import Document
from labkit.rag.retrieve import BM25, Texts, language, stems
from labkit.text import words

if TYPE_CHECKING:
    from labkit.model import Message
    from labkit.store import Cache

F1, COSINE = 0.4, 0.85
"""The least of both for an answer to say the same, chosen on data/judged.csv: docs/method.md has the agreement."""
NEAREST = "nearest sentence"


def is_free(item: Item) -> bool:
    """Whether no document holds the item's answer word for word, so that a right answer is judged by what it says."""
    return item.gold is not None and (not item.evidence or item.evidence[0].kind == NEAREST)


class Nearest:
    """Finds the sentence that shares most words with a text; the sentences are indexed when it is first asked."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = documents

    @cached_property
    def search(self) -> BM25:
        """An index of all sentences; most tables of questions never need it."""
        lines = [(d, line) for d in self.documents for line in re.split(r"\n+|(?<=[.!?])\s+|(?<=[。！？])", d.text)]
        chunks = [Chunk(str(n), d.id, d.title, line, 0, 0) for n, (d, line) in enumerate(lines) if line.strip()]
        return BM25(Texts(chunks))

    def __call__(self, text: str, places: Sequence[Document]) -> tuple[Evidence, ...]:
        """The sentence as evidence, of some places if they are named; none where no word is shared."""
        hits, allowed = self.search.search(text, 200), {d.id for d in places}
        best = [hit.chunk for hit in hits if not allowed or hit.chunk.document_id in allowed][:1]
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


KEY = "JUDGE_API_KEY"
KAPPA = 0.6
"""The least agreement with people for a model's verdicts to count; docs/method.md has that of F1 and cosine."""
ROOM = 1024  # tokens: some models think before they answer
ASK = (
    "You get a question, reference answers, and a given answer as JSON. Does the given answer say the same as one of the reference "
    "answers? Other words and more detail are fine; another number, name or time is not. Reply with one word: yes or no."
)


class ModelJudge:
    """A model behind a URL that says whether an answer says what a reference says; questions and answers go to that server.

    Before it is trusted it judges the pairs of data/judged.csv, which people labelled: `agreement` has the share on which
    both agree, and Cohen's kappa; a reply that is neither yes nor no agrees with nobody. Its key is read from the environment
    variable JUDGE_API_KEY. Raises LabError for an address that is neither https nor this machine's, for a server that fails
    then, and for a kappa below 0.6.

    >>> judge = ModelJudge("http://127.0.0.1:8000/v1", "some-model")
    >>> judge("How heavy is it?", "41 kilograms", ["It weighs 41 kg."])
    True
    """

    def __init__(self, url: str, name: str = "", cache: Cache | None = None, progress: bool = False) -> None:
        if urlsplit(url).scheme != "https" and urlsplit(url).hostname not in LOOPBACK:
            raise LabError(f"the judge at '{url}' would get your answers in the clear: give an address with https")
        self.model, self.cache = Endpoint(url, name, KEY), cache
        self.verdicts: dict[tuple[str, ...], bool | str] = {}
        self.agreement = self._agreement(progress)
        if (kappa := self.agreement["kappa"]) < KAPPA:
            raise LabError(
                f"{self.model} agrees with people too little to judge (kappa {kappa:.2f}): use another model"
            )

    def __call__(self, question: str, answer: str, references: Sequence[str]) -> bool | str:
        """Its verdict, or why it gives none; asked once."""
        key = (question, answer, *references)
        if key not in self.verdicts:
            try:
                (reply,) = self.model.generate([_talk(*key)], ROOM, cache=self.cache)
                self.verdicts[key] = _verdict(reply.text)
            except LabError as error:
                self.verdicts[key] = str(error)
        return self.verdicts[key]

    def _agreement(self, progress: bool) -> dict[str, Any]:
        from statsmodels.stats.inter_rater import cohens_kappa

        rows = list(csv.DictReader((data_folder() / "judged.csv").read_text("utf-8").splitlines()))
        talks = [_talk(row["question"], row["answer"], row["reference"]) for row in rows]
        with bar(len(talks), "trying the judge", progress) as steps:
            replies = self.model.generate(talks, ROOM, progress=steps.update, cache=self.cache)
        verdicts = [_verdict(reply.text) for reply in replies]
        pairs = [
            (row["right"] == "1", v if v in (True, False) else None) for row, v in zip(rows, verdicts, strict=True)
        ]
        table = [[pairs.count((human, verdict)) for verdict in (False, True, None)] for human in (False, True, None)]
        share = sum(human is verdict for human, verdict in pairs) / len(pairs)
        return {"pairs": len(pairs), "agreement": share, "kappa": float(cohens_kappa(table, return_results=False))}


def _talk(question: str, answer: str, *references: str) -> list[Message]:
    case = {"question": question, "reference answers": references, "given answer": answer}
    return [{"role": "system", "content": ASK}, {"role": "user", "content": json.dumps(case, ensure_ascii=False)}]


def _verdict(reply: str) -> bool | str:
    word = re.match(r"\W*(yes|no)\b", reply, re.IGNORECASE)
    return word[1].lower() == "yes" if word else f"its reply is neither yes nor no: {one_line(reply, 40) or 'nothing'}"


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
