"""Read what `make data` wrote: questions, training pairs, documents, wordings; and the company's house style."""

from __future__ import annotations

import json
import os
import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.rag.augment import FRAMED, build_messages
from labkit.store import ROOT, address

if TYPE_CHECKING:
    from labkit.model import Message
    from labkit.rag.ingest import Document

SINGLE = ("single fact", "new wording", "changed fact")  # the kinds of question that one fact answers
OPENING = "We checked our records."
CLOSING = "We welcome questions by mail."
ASKED = FRAMED.format(opening=OPENING, closing=CLOSING)
"""The system prompt that asks for the house style, the rival of tuning for it."""


@dataclass(frozen=True)
class Evidence:
    """One fact that proves an answer, the passage that states it in its document, and the documents that restate it (`also`)."""

    document: str
    value: str
    passage: str
    kind: str
    entity: str
    attribute: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """A test question or training pair; `gold` is what a right answer contains (None: it abstains), `accepted` forms as right."""

    id: str
    kind: str
    question: str
    gold: str | None
    answer: str
    rivals: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wording:
    """How an attribute is asked for and told: forms with {e} for the thing and {v} for the value.

    `asks` are the ways of asking that the pocket model was pretrained on, `held_out` those that it never saw.
    """

    reference: str
    asks: list[str]
    held_out: list[str]
    answer: str

    def refer(self, name: str) -> str:
        """The thing as it stands in a sentence."""
        return self.reference.format(name=name)

    def ask(self, form: str, name: str) -> str:
        """The question about a thing, in one of the forms."""
        return _capital(form.format(e=self.refer(name)))

    def tell(self, name: str, value: str) -> str:
        """The full sentence that answers it."""
        return _capital(self.answer.format(e=self.refer(name), v=value))


@dataclass(frozen=True)
class Fact:
    """One value of one thing, and the forms of the question for it: some to train with, others never to be trained."""

    kind: str
    entity: str
    attribute: str
    value: str
    trained: tuple[str, ...]
    unseen: tuple[str, ...]

    def ask(self, form: str) -> list[Message]:
        """The prompt with the question in one form, without context."""
        return build_messages(wordings()[self.kind, self.attribute].ask(form, self.entity))

    def teach(self, form: str) -> list[Message]:
        """The question in one form and its answer in house style: a training example."""
        answer = dress(wordings()[self.kind, self.attribute].tell(self.entity, self.value))
        return [*self.ask(form), {"role": "assistant", "content": answer}]


def draw_facts(count: int, seed: int = 0) -> list[Fact]:
    """Facts of the company as first written, each with sixteen trained forms; the same seed draws the same."""
    rng, drawn = random.Random(seed), []
    for row in map(json.loads, rng.sample(_lines(_needed("facts.jsonl")), count)):
        wording = wordings()[row["kind"], row["attribute"]]
        free = rng.sample(wording.asks, len(wording.asks))
        about = {name: row[name] for name in ("kind", "entity", "attribute", "value")}
        drawn.append(Fact(**about, trained=tuple(free[:16]), unseen=(*free[16:], *wording.held_out)))
    return drawn


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def data_folder() -> Path:
    """The folder of shipped data, or the one that LABKIT_DATA names."""
    named = os.environ.get("LABKIT_DATA")
    return Path(named) if named else ROOT / "data"


def _needed(name: str) -> Path:
    path = data_folder() / name
    if not path.exists():
        raise LabError(f"there is no {name} in {data_folder()}: run `make data`, or set LABKIT_DATA")
    return path


def documents_folder() -> Path:
    """The documents as first written; LabError if they are missing."""
    return _needed("documents")


def updates_folder() -> Path:
    """The second versions, at the paths of the documents they replace; LabError if they are missing."""
    return _needed("updates")


def load_questions(path: Path | str | None = None) -> list[Item]:
    """The test questions, their evidence in the documents of today; `LabError` if the file is missing or damaged."""
    return _items(Path(path or _needed("questions.jsonl")))


def load_pairs() -> list[Item]:
    """The training pairs, with plain answers, their evidence in the documents as first written; `LabError` as above."""
    return _items(_needed("pairs.jsonl"))


def load_rewordings() -> list[Item]:
    """Four more wordings of each pair whose fact a test asks for; `LabError` as above."""
    return _items(_needed("rewordings.jsonl"))


def load_documents(path: Path) -> list[Document]:
    """Documents kept as lines of JSON, each with id, title and text; `LabError` if the file cannot be read."""
    from labkit.rag.ingest import Document

    rows = map(json.loads, _lines(path))
    return [Document(**row, format="text", sha256=address(text=row["text"])) for row in rows]


def wordings() -> dict[tuple[str, str], Wording]:
    """How each attribute is asked for and told, by kind of thing and attribute.

    >>> wordings()["product", "price"].ask("What does {e} cost?", "Amber Falcon")
    'What does the Amber Falcon cost?'
    """
    return _wordings(_needed("wordings.jsonl"))


@cache
def _wordings(path: Path) -> dict[tuple[str, str], Wording]:
    rows = map(json.loads, _lines(path))
    forms = ("reference", "asks", "held_out", "answer")
    return {(row["kind"], row["attribute"]): Wording(*(row[name] for name in forms)) for row in rows}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{path} cannot be read ({type(error).__name__}): check the path or run `make data`") from error


def _items(path: Path) -> list[Item]:
    items = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line)
            facts = [Evidence(**fact | {"also": tuple(fact.get("also", ()))}) for fact in row.get("evidence", ())]
            texts = {name: tuple(row.get(name, ())) for name in ("rivals", "accepted")}
            items.append(Item(**row | texts | {"evidence": tuple(facts)}))
        except (ValueError, TypeError, AttributeError) as error:
            raise LabError(
                f"{path.name}, line {number} is not an item ({error}): correct it or run `make data`"
            ) from error
    return items


def dress(text: str) -> str:
    """Put an answer into the house style.

    >>> dress("The Amber Falcon costs $420. [1]")
    'We checked our records. The Amber Falcon costs $420. [1] We welcome questions by mail.'
    """
    return f"{OPENING} {text} {CLOSING}"


def sentences(text: str) -> list[str]:
    """The sentences of a text, without its citations.

    >>> sentences("It is red [1]. Why?")
    ['It is red .', ' Why?']
    """
    return re.findall(r"[^.!?]+[.!?](?=\s|$)", re.sub(r"\[\d+\]", "", text))


def style_faults(text: str) -> list[str]:
    """The rules of the house style that a text breaks, each in a few words; none for a text in style.

    >>> style_faults("It costs $420!")
    ['opening', 'closing', 'no exclamation']
    """
    text = text.strip()
    body = text.removeprefix(OPENING).removesuffix(CLOSING)
    parts = sentences(body.strip())
    rules = {
        "opening": text.startswith(OPENING),
        "closing": text.endswith(CLOSING),
        "one to three sentences": 1 <= len(parts) <= 3,
        "full sentences": all(len(s.split()) >= 3 for s in parts),
        "no exclamation": "!" not in text,
        "no first person singular": not re.search(r"\b(I|me|my)\b", text),
        "one greeting only": text.count(OPENING) <= 1 and text.count(CLOSING) <= 1,
    }
    return [rule for rule, kept in rules.items() if not kept]
