"""A scene of the stream: invented entities, passages about them, and the questions that can be asked.

Introduced in 00_start.
"""

import random
from dataclasses import dataclass

from labkit.rag.augment import ABSTAIN
from labkit.world.curriculum import Level
from labkit.world.facts import (
    GROWTH,
    Entity,
    answer,
    ask,
    capital,
    compared,
    grown,
    kinds,
    number,
    refer,
    wording,
    wordings,
)
from labkit.world.passages import Page, Passage, invent, new_name, windows
from labkit.world.values import draw


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
