"""The invented company's facts in two versions, drawn from one seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from data.make.words import Attribute, Entity, draw, invent, kinds

SEED = 2026
COUNTS = {"site": (16, 5), "product": (70, 8), "plan": (30, 4), "project": (36, 5)}  # entities, facts of each
CHANGED = 0.12  # share of the facts whose value differs in the second version

Key = tuple[str, str]  # kind and name of an entity
Entities = dict[Key, Entity]


@dataclass(frozen=True)
class Fact:
    """One fact: kind, name and attribute of an entity, and its value."""

    kind: str
    entity: str
    attribute: str
    value: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What the fact is about, whatever its value: kind, entity and attribute."""
        return self.kind, self.entity, self.attribute


@dataclass(frozen=True)
class Company:
    """All entities as first written (`before`) and as updated (`after`), by kind and name."""

    seed: int = SEED
    before: Entities = field(default_factory=dict)
    after: Entities = field(default_factory=dict)

    def entities(self, kind: str, updated: bool = False) -> list[Entity]:
        """The entities of one kind, in one version."""
        return [e for e in (self.after if updated else self.before).values() if e.kind == kind]

    def facts(self, updated: bool = False) -> list[Fact]:
        """Every fact of one version."""
        return [f for e in (self.after if updated else self.before).values() for f in facts_of(e)]

    @cached_property
    def changed(self) -> set[tuple[str, str, str]]:
        """The (kind, entity, attribute) whose value differs between the versions."""
        pairs = zip(self.facts(), self.facts(updated=True), strict=True)
        return {a.key for a, b in pairs if a.value != b.value}


def make_company(
    seed: int = SEED, counts: Mapping[str, tuple[int, int]] | None = None, changed: float = CHANGED
) -> Company:
    """Draw the company; the same seed gives the same company.

    `counts` gives entities and facts of each by kind; `changed` is the share of facts that differ when updated.

    >>> make_company() == make_company()
    True
    """
    rng = random.Random(f"company:{seed}")
    before: Entities = {}
    for kind, (count, facts) in (counts or COUNTS).items():
        for _ in range(count):
            sites = [name for k, name in before if k == "site"]
            taken = [name for _, name in before]
            alike = rng.sample(taken, 1) if taken and rng.random() < 0.3 else []
            entity = invent(kind, rng, facts, sites, alike, company=True)
            if entity.name not in taken:
                before[kind, entity.name] = entity
    return Company(seed, before, updated(before, rng, changed))


def updated(before: Entities, rng: random.Random, share: float) -> Entities:
    """The entities with a share of their values drawn again; which site a thing belongs to never changes."""
    after = {key: Entity(e.kind, e.name, dict(e.facts)) for key, e in before.items()}
    free = [(key, a) for key, e in after.items() for a in e.facts if kinds()[e.kind][a].value != "site"]
    for key, a in rng.sample(free, round(share * len(free))):
        after[key].facts[a] = _other(kinds()[key[0]][a], after[key].facts[a], rng)
    return after


def _other(attribute: Attribute, old: str, rng: random.Random) -> str:
    while (new := draw(attribute.value, rng, company=True)) == old:
        pass
    return new


def facts_of(entity: Entity) -> list[Fact]:
    """The facts of an entity, in the order in which they were drawn."""
    return [Fact(entity.kind, entity.name, attribute, value) for attribute, value in entity.facts.items()]


def attribute_of(fact: Fact) -> Attribute:
    """The attribute that a fact states."""
    return kinds()[fact.kind][fact.attribute]
