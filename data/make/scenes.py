"""A scene of the stream: invented things, passages about them cut like the chunks of documents, and what can be asked."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data.make.words import (
    GROWTH,
    Attribute,
    Entity,
    answer,
    ask,
    capital,
    compared,
    draw,
    grown,
    invent,
    kinds,
    new_name,
    number,
    refer,
    say,
    shown,
    wording,
    wordings,
)
from labkit.rag.augment import ABSTAIN

Key = tuple[str, str, str]  # kind, entity and attribute


@dataclass(frozen=True)
class Level:
    """One step of the curriculum: how many entities, facts of each, passages and turns, and which questions and forms."""

    entities: tuple[int, int]
    facts: tuple[int, int]
    passages: int  # at most
    turns: int
    forms: tuple[str, ...] = ("value",)
    words: tuple[int, int] = (400, 400)  # length of a passage
    abstain: float = 0.0
    hard: float = 0.0  # share of two-hop, comparison, growth and list questions
    alike: float = 0.0  # share of entities that share a word with another
    several: float = 0.0  # share of pages about several entities
    drill: float = 0.05  # share of bare lists to look things up in
    reviews: float = 0.0  # share of review sets to sum up


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


@dataclass(frozen=True)
class Turn:
    """A question with its answer's core value (None: not in the documents), full sentence and passages used."""

    question: str
    value: str | None
    text: str
    sources: tuple[int, ...]
    skill: str


class Scene:
    """Some entities, passages about them, and the questions that can be asked. `company` draws unseen names and values."""

    def __init__(self, level: Level, rng: random.Random, held_out: bool | None = False, company: bool = False):
        self.level, self.rng, self.held_out, self.company = level, rng, held_out, company
        self.entities = self._entities()
        self.passages = self._passages()
        self.stated = [(e, a, e.facts[a]) for e in self.entities for a in e.facts if self.sources(e, a)]

    def _entities(self) -> list[Entity]:
        rng, level = self.rng, self.level
        kind, entities = rng.choice(list(kinds())), list[Entity]()
        for _ in range(rng.randint(*level.entities)):
            kind = kind if rng.random() < 0.7 else rng.choice(list(kinds()))
            names = [e.name for e in entities]
            sites = [v for e in entities for a, v in e.facts.items() if kinds()[e.kind][a].value == "site"]
            sites = sites if rng.random() < 0.6 else []
            entity = invent(
                kind, rng, rng.randint(*level.facts), sites, names * (rng.random() < level.alike), self.company
            )
            if entity.name in names:
                continue
            if kind == "product" and rng.random() < level.hard * 1.5:
                entity.facts.update({key: draw("sales", rng, self.company) for key in GROWTH})
            entities.append(entity)
            links = [v for a, v in entity.facts.items() if kinds()[kind][a].value == "site" and v not in names]
            if links and rng.random() < level.hard * 3:
                facts = invent("site", rng, rng.randint(2, 5), [], [], self.company).facts
                entities.append(Entity("site", links[0], facts))
        return entities

    def _passages(self) -> list[Passage]:
        """Windows of pages about one or several of the entities; at most as many as the level allows."""
        rng, rest, pages = self.rng, list(self.entities), []
        while rest:
            size = rng.randint(2, 3) if rng.random() < self.level.several else 1
            together = [e for e in rest if e.kind == rest[0].kind][:size]
            rest = [e for e in rest if e not in together]
            pages.append(Page(together, rng, self.held_out))
        words = rng.randint(*self.level.words)
        made = [p for page in pages for p in windows(page, words, words // 7)]
        chosen = rng.sample(made, min(len(made), self.level.passages))
        return chosen if any(p.facts for p in chosen) else self._passages()

    def sources(self, entity: Entity, attribute: str) -> tuple[int, ...]:
        """Numbers of the passages that state a fact, the first being 1."""
        fact = (entity.kind, entity.name, attribute)
        return tuple(i for i, p in enumerate(self.passages, start=1) if fact in p.facts)

    def touched(self, entity: Entity, attribute: str) -> bool:
        """Whether any passage states a fact at least in part."""
        return any((entity.kind, entity.name, attribute) in p.touched for p in self.passages)

    def turn(self) -> Turn:
        """One question of a kind drawn by the level's shares."""
        choice = self.rng.random()
        if choice < self.level.abstain:
            return self._missing()
        if choice < self.level.abstain + self.level.hard:
            makers = [self._hop, self._hop, self._growth, self._growth, self._compare, self._compare, self.list_all]
            for make in self.rng.sample(makers, len(makers)):
                if made := make():
                    return made
        return self._single()

    def _single(self) -> Turn:
        entity, key, value = self.rng.choice(self.stated)
        attribute = kinds()[entity.kind][key]
        question = ask(attribute, entity.name, self.rng, self.held_out)
        return Turn(question, value, answer(attribute, entity.name, value), self.sources(entity, key)[:1], "single")

    def _missing(self) -> Turn:
        rng = self.rng
        if rng.random() < 0.35 and (question := self._half()):
            return Turn(question, None, ABSTAIN, (), "missing")
        entity = rng.choice(self.entities)
        absent = [a for a in kinds()[entity.kind] if not self.touched(entity, a)]
        name = entity.name
        if rng.random() < 0.4 or not absent:
            names = [e.name for e in self.entities]
            while name in names:
                name = new_name(rng, names if rng.random() < 0.7 else [], self.company)
            absent = list(kinds()[entity.kind])
        question = ask(kinds()[entity.kind][rng.choice(absent)], name, rng, self.held_out)
        return Turn(question, None, ABSTAIN, (), "missing")

    def _half(self) -> str | None:
        """A question of two hops or two entities, one half of which no passage tells."""
        hops, pairs = [], []
        for e, key, value in self.stated:
            site = next((s for s in self.entities if (s.kind, s.name) == ("site", value)), Entity("site", value))
            ways = wording()["hops"].get(f"{e.kind}.{key}", {})
            hops += [(forms, {"e": e.reference}) for a, forms in ways.items() if not self.touched(site, a)]
            others = [o for o in self.entities if o.kind == e.kind and o.name != e.name and not self.touched(o, key)]
            forms = kinds()[e.kind][key].compare
            pairs += [(forms, {"a": e.reference, "b": o.reference}) for o in others if forms]
            pairs += [(forms, {"a": o.reference, "b": e.reference}) for o in others if forms]
        if not (made := hops if hops and (not pairs or self.rng.random() < 0.6) else pairs):
            return None
        forms, slots = self.rng.choice(made)
        return self._asked(forms, **slots)

    def _asked(self, forms: list[str] | tuple[str, ...], **slots: str) -> str:
        return capital(self.rng.choice(wordings(forms, self.held_out)).format(**slots))

    def _hop(self) -> Turn | None:
        sites = {e.name: e for e in self.entities if e.kind == "site"}
        found = []
        for entity, key, value in self.stated:
            forms = wording()["hops"].get(f"{entity.kind}.{key}", {})
            site = sites.get(value)
            found += [(entity, key, site, a) for a in forms if site and a in site.facts and self.sources(site, a)]
        if not found:
            return None
        entity, key, site, second = self.rng.choice(found)
        question = self._asked(wording()["hops"][f"{entity.kind}.{key}"][second], e=entity.reference)
        first = answer(kinds()[entity.kind][key], entity.name, site.name)
        text = f"{first} {answer(kinds()['site'][second], site.name, site.facts[second])}"
        sources = self.sources(entity, key)[:1] + self.sources(site, second)[:1]
        return Turn(question, site.facts[second], text, sources, "hop")

    def _compare(self) -> Turn | None:
        pairs = [
            (a, b, key)
            for a, key, _ in self.stated
            for b, other, _ in self.stated
            if other == key and a.kind == b.kind and a.name != b.name
            and kinds()[a.kind][key].compare and number(a.facts[key]) != number(b.facts[key])
        ]  # fmt: skip
        if not pairs:
            return None
        a, b, key = self.rng.choice(pairs)
        question = self._asked(kinds()[a.kind][key].compare, a=a.reference, b=b.reference)
        text, winner = compared(kinds()[a.kind][key], a, b)
        return Turn(question, winner, text, self.sources(a, key)[:1] + self.sources(b, key)[:1], "compare")

    def _growth(self) -> Turn | None:
        able = [e for e in self.entities if e.kind == "product" and all(self.sources(e, key) for key in GROWTH)]
        able = [e for e in able if e.facts[GROWTH[0]] != e.facts[GROWTH[1]]]
        if not able:
            return None
        entity = self.rng.choice(able)
        text, gap = grown(entity)
        question = self._asked(wording()["growth"]["asks"], e=entity.reference)
        return Turn(question, gap, text, tuple(self.sources(entity, key)[0] for key in GROWTH), "growth")

    def list_all(self) -> Turn | None:
        """A question for all entities that name one site, in the order in which the passages name them."""
        links = [(e, key, v) for e, key, v in self.stated if f"{e.kind}.{key}" in wording()["lists"]]
        if not links:
            return None
        first, key, site = self.rng.choice(links)
        found = sorted((self._place(e, key), e.name) for e, k, v in links if (e.kind, k, v) == (first.kind, key, site))
        names = ", ".join(name for _, name in found)
        question = self._asked(wording()["lists"][f"{first.kind}.{key}"], e=refer("site", site))
        return Turn(question, names, f"At {refer('site', site)}: {names}.", tuple(p[0] for p, _ in found), "list")

    def _place(self, entity: Entity, key: str) -> tuple[int, int]:
        """The passage that states a fact first, and where in it the entity is named."""
        source = self.sources(entity, key)[0]
        return source, self.passages[source - 1].text.find(entity.name)
