"""Passages about invented entities: pages in many shapes, cut into windows like the chunks of real documents.

Introduced in 00_start.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labkit.world.facts import Attribute, Entity, ask, capital, kinds, say, shown, wording
from labkit.world.values import WORDS, draw, reserved

Key = tuple[str, str, str]  # kind, entity and attribute


@dataclass(frozen=True)
class Passage:
    """Title and text, the facts that it states whole, and those that it states at least in part (torn at an edge)."""

    title: str
    text: str
    facts: frozenset[Key]
    touched: frozenset[Key]


@dataclass(frozen=True)
class Line:
    """A sentence, list item or row with the facts that it states, and what stands after it."""

    text: str
    facts: tuple[Key, ...] = ()
    end: str = "\n"


def invent(
    kind: str,
    rng: random.Random,
    facts: int,
    sites: Sequence[str],
    alike: Sequence[str],
    company: bool = False,
) -> Entity:
    """A new entity with some facts; its name shares a word with one of `alike` if there are any.

    In the stream it often has both of two attributes of one type, so that the attribute must be read as well as the name.
    """
    name = new_name(rng, alike, company)
    chosen = rng.sample(list(kinds()[kind]), min(facts, len(kinds()[kind])))
    if not company and rng.random() < 0.6:
        types = {kinds()[kind][key].value for key in chosen}
        chosen += [key for key, a in kinds()[kind].items() if key not in chosen and a.value in types]
    values = {}
    for key in chosen:
        attribute = kinds()[kind][key]
        link = attribute.value == "site"
        values[key] = (
            (rng.choice(sites) if sites else draw("name", rng, company))
            if link
            else draw(attribute.value, rng, company)
        )
    return Entity(kind, name, values)


def new_name(rng: random.Random, alike: Sequence[str] = (), company: bool = False) -> str:
    """Two words; where look-alikes are given, one of the words is theirs."""
    while alike:
        first, second = rng.choice(alike).split()
        name = rng.choice([f"{first} {rng.choice(WORDS)}", f"{rng.choice(WORDS)} {second}"])
        if reserved(name) == company and name not in alike and len(set(name.split())) == 2:
            return name
    return draw("name", rng, company)


class Page:
    """A page about one entity, which its title names, or about several of one kind, named in each line."""

    def __init__(self, entities: Sequence[Entity], rng: random.Random, held_out: bool | None = False):
        self.rng, self.held_out, self.named = rng, held_out, len(entities) > 1
        kind = entities[0].kind
        titles = wording()["pages"] if self.named else wording()[kind]["titles"]
        number = rng.randint(1, 40)
        self.title = capital(rng.choice(titles).format(name=entities[0].name, kind=kind, n=number))
        self.lines = [Line(self.title)] if rng.random() < 0.5 else []
        if self.named and rng.random() < 0.35:
            self.lines += self._grid(entities)
        else:
            for entity in entities:
                self.lines += self._sections(entity)
        if rng.random() < 0.2:
            self.lines.append(Line(f"Revision {rng.randint(1, 9)}, 20{rng.randint(12, 39)}-{rng.randint(1, 12):02}"))

    def _sections(self, entity: Entity) -> list[Line]:
        """The facts of an entity in one to three shapes, now and then one of them twice."""
        rng = self.rng
        facts = [(kinds()[entity.kind][a], v) for a, v in rng.sample(list(entity.facts.items()), len(entity.facts))]
        lines = [Line(capital(entity.reference))] if self.named else []
        while facts:
            size = rng.randint(1, max(2, len(facts)))
            lines += self._shape(entity, facts[:size])
            facts = facts[size:]
        if rng.random() < 0.25:
            a, v = rng.choice(list(entity.facts.items()))
            lines += self._faq(entity, [(kinds()[entity.kind][a], v)])
        return lines

    def _shape(self, entity: Entity, facts: list) -> list[Line]:
        shapes = [self._prose, self._prose, self._prose, self._faq, self._clauses, self._named]
        if not self.named:
            shapes += [self._bullets, self._table, self._rows]
        head = [Line(self.rng.choice(wording()["headings"]))] if self.rng.random() < 0.4 else []
        return head + self.rng.choice(shapes)(entity, facts)

    def _key(self, entity: Entity, a: Attribute) -> tuple[Key, ...]:
        return ((entity.kind, entity.name, a.name),)

    def _said(self, entity: Entity, a: Attribute, value: str) -> str:
        return say(a, entity.name, value, self.rng, self.held_out)

    def _prose(self, entity: Entity, facts: list) -> list[Line]:
        lines = [Line(self._said(entity, a, v), self._key(entity, a), " ") for a, v in facts]
        for filler in self.rng.sample(wording()["filler"], self.rng.choice([0, 0, 1, 1, 2])):
            lines.insert(self.rng.randrange(len(lines) + 1), Line(filler, (), " "))
        return lines

    def _faq(self, entity: Entity, facts: list) -> list[Line]:
        short = self.rng.random() < 0.3
        return [
            Line(
                f"{ask(a, entity.name, self.rng, self.held_out)} "
                + (f"{capital(shown(a, v))}." if short else self._said(entity, a, v)),
                self._key(entity, a),
            )
            for a, v in facts
        ]

    def _clauses(self, entity: Entity, facts: list) -> list[Line]:
        chapter = self.rng.randint(1, 9)
        head = self.rng.choice(
            [f"{chapter}.{{n}} ", f"Clause {chapter}.{{n}}: ", "({n}) ", "Notice {n}: ", "Item {n}. "]
        )
        return [
            Line(head.format(n=n) + self._said(entity, a, v), self._key(entity, a))
            for n, (a, v) in enumerate(facts, start=1)
        ]

    def _named(self, entity: Entity, facts: list) -> list[Line]:
        dash = self.rng.choice(["", "- "])
        return [
            Line(f"{dash}{self.rng.choice(a.labels)} of {entity.reference}: {shown(a, v)}", self._key(entity, a))
            for a, v in facts
        ]

    def _labelled(self, entity: Entity, facts: list, form: str) -> list[Line]:
        return [Line(form.format(self.rng.choice(a.labels), v), self._key(entity, a)) for a, v in facts]

    def _bullets(self, entity: Entity, facts: list) -> list[Line]:
        return self._labelled(entity, facts, "- {}: {}")

    def _rows(self, entity: Entity, facts: list) -> list[Line]:
        return self._labelled(entity, facts, self.rng.choice(["{}: {}", "{} {}"]))

    def _table(self, entity: Entity, facts: list) -> list[Line]:
        head = self.rng.choice(["Property | Value", "Item | Entry", "Field | Content"])
        return [Line(head), *self._labelled(entity, facts, "{} | {}")]

    def _grid(self, entities: Sequence[Entity]) -> list[Line]:
        """A table with a row for each entity."""
        kind = entities[0].kind
        known = list(dict.fromkeys(a for e in entities for a in e.facts))
        columns = self.rng.sample(known, min(len(known), self.rng.randint(1, 3)))
        labels = [self.rng.choice(kinds()[kind][c].labels) for c in columns]
        head = " | ".join([self.rng.choice(["Name", capital(kind)]), *labels])
        rows = [
            Line(
                " | ".join([e.name, *(e.facts.get(c, "-") for c in columns)]),
                tuple((kind, e.name, c) for c in columns if c in e.facts),
            )
            for e in entities
        ]
        return [Line(head), *rows]


def windows(page: Page, size: int, overlap: int) -> Iterator[Passage]:
    """Cut a page into windows of `size` words that share `overlap` words, as chunks of a document do."""
    text, spans = "", []
    for line in page.lines:
        spans.append((len(text), len(text) + len(line.text), line.facts))
        text += line.text + line.end
    words = [match.span() for match in re.finditer(r"\S+", text)]
    start = 0
    while True:
        here = words[start : start + size]
        first, last = here[0][0], here[-1][1]
        whole = [fact for a, b, facts in spans for fact in facts if first <= a and b <= last]
        part = [fact for a, b, facts in spans for fact in facts if a < last and b > first]
        yield Passage(page.title, text[first:last], frozenset(whole), frozenset(part))
        if start + size >= len(words):
            return
        start += size - overlap
