"""The invented company: its facts in two versions, the questions about them and the training pairs, all from one seed.

`python -m labkit.world.company` writes everything under `data/`, byte for byte the same every time.
"""

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from labkit.rag.augment import ABSTAIN
from labkit.world.facts import WORDS, Attribute, Entity, draw, kinds, number, refer, wording
from labkit.world.stream import answer, ask, compared, invent, new_name
from labkit.world.style import dress

SEED = 2026
COUNTS = {"site": (16, 5), "product": (70, 8), "plan": (30, 4), "project": (36, 5)}  # entities, facts of each
CHANGED = 0.12
QUESTIONS = {"single fact": 70, "new wording": 50, "two-hop": 35, "numeric comparison": 35, "not in the documents": 40, "changed fact": 30}
PAIRS = {"single fact": 480, "two-hop": 40, "numeric comparison": 40, "not in the documents": 60}


@dataclass(frozen=True)
class Fact:
    """One fact: kind, name and attribute of an entity, and its value."""

    kind: str
    entity: str
    attribute: str
    value: str


@dataclass(frozen=True)
class Question:
    """A question with its gold value (None: not in the documents), the facts that prove it, and losing names of comparisons."""

    kind: str
    text: str
    gold: str | None
    answer: str
    evidence: tuple[Fact, ...] = ()
    rivals: tuple[str, ...] = ()

    @property
    def topic(self) -> tuple:
        """What it asks about, whatever the wording: two questions of one topic have one answer."""
        return (self.kind == "two-hop", *sorted((f.kind, f.entity, f.attribute) for f in self.evidence)) if self.evidence else (self.text,)


@dataclass(frozen=True)
class Company:
    """All entities as first written (`before`) and as updated (`after`), by kind and name."""

    seed: int = SEED
    before: dict[tuple[str, str], Entity] = field(default_factory=dict)
    after: dict[tuple[str, str], Entity] = field(default_factory=dict)

    def facts(self, updated: bool = False) -> list[Fact]:
        """Every fact of one version."""
        entities = (self.after if updated else self.before).values()
        return [Fact(e.kind, e.name, a, v) for e in entities for a, v in e.facts.items()]

    @cached_property
    def changed(self) -> set[tuple[str, str, str]]:
        """The (kind, entity, attribute) whose value differs between the versions."""
        pairs = zip(self.facts(), self.facts(updated=True), strict=True)
        return {(a.kind, a.entity, a.attribute) for a, b in pairs if a.value != b.value}


def make_company(seed: int = SEED) -> Company:
    """Draw the company; the same seed gives the same company."""
    rng = random.Random(f"company:{seed}")
    before: dict[tuple[str, str], Entity] = {}
    for kind, (count, facts) in COUNTS.items():
        for _ in range(count):
            sites = [name for k, name in before if k == "site"]
            taken = [name for _, name in before]
            alike = rng.sample(taken, 1) if taken and rng.random() < 0.3 else []
            entity = invent(kind, rng, facts, sites, alike, company=True)
            if entity.name not in taken:
                before[kind, entity.name] = entity
    after = {key: Entity(e.kind, e.name, dict(e.facts)) for key, e in before.items()}
    free = [(key, a) for key, e in after.items() for a in e.facts if kinds()[e.kind][a].value != "site"]
    for key, a in rng.sample(free, round(CHANGED * len(free))):
        old = after[key].facts[a]
        after[key].facts[a] = next(v for v in iter(lambda: draw(kinds()[key[0]][a].value, rng, True), None) if v != old)  # noqa: B023
    return Company(seed, before, after)


def attribute_of(fact: Fact) -> Attribute:
    """The attribute that a fact states."""
    return kinds()[fact.kind][fact.attribute]


def single(fact: Fact, kind: str, rng: random.Random, held_out: bool) -> Question:
    """A question for one fact, in a wording that the pocket model trained on or in the held-out one."""
    text = ask(attribute_of(fact), fact.entity, rng, held_out)
    return Question(kind, text, fact.value, answer(attribute_of(fact), fact.entity, fact.value), (fact,))


def missing(entities: dict, rng: random.Random) -> Question:
    """A question that no document answers: an attribute nobody states, or a look-alike that does not exist."""
    entity = rng.choice(list(entities.values()))
    absent = [a for a in kinds()[entity.kind] if a not in entity.facts]
    name = entity.name if rng.random() < 0.6 else new_name(rng, [entity.name], company=True)
    if name != entity.name:
        absent = list(kinds()[entity.kind])
    if any(n == name and n != entity.name for _, n in entities) or not absent:
        return missing(entities, rng)
    return Question("not in the documents", ask(kinds()[entity.kind][rng.choice(absent)], name, rng), None, ABSTAIN)


def two_hop(entities: dict, rng: random.Random) -> Question | None:
    """A question over a fact that names a site, and a fact of that site."""
    entity = rng.choice([e for e in entities.values() if e.kind in ("product", "project")])
    link = "site" if entity.kind == "product" else "base"
    site = entities.get(("site", entity.facts.get(link)))
    forms = wording()["hops"][f"{entity.kind}.{link}"]
    second = [a for a in forms if site and a in site.facts]
    if not second:
        return None
    a = rng.choice(second)
    first, last = Fact(entity.kind, entity.name, link, site.name), Fact("site", site.name, a, site.facts[a])
    text = rng.choice(forms[a]).format(e=entity.reference)
    full = f"{answer(attribute_of(first), first.entity, first.value)} {answer(attribute_of(last), last.entity, last.value)}"
    return Question("two-hop", text, last.value, full, (first, last))


def comparison(entities: dict, rng: random.Random) -> Question | None:
    """Which of two entities of one kind has more of something; the gold value is the winner's name."""
    a, b = rng.sample(list(entities.values()), 2)
    keys = [k for k in a.facts if a.kind == b.kind and k in b.facts and kinds()[a.kind][k].compare and number(a.facts[k]) != number(b.facts[k])]
    if not keys:
        return None
    attribute = kinds()[a.kind][rng.choice(keys)]
    text = rng.choice(attribute.compare).format(a=a.reference, b=b.reference)
    full, winner = compared(attribute, a, b)
    evidence = tuple(Fact(e.kind, e.name, attribute.name, e.facts[attribute.name]) for e in (a, b))
    return Question("numeric comparison", text, winner, full, evidence, ({a.name, b.name} - {winner}).pop() and tuple({a.name, b.name} - {winner}))


def distinct(makers: Iterable[Question | None], count: int, taken: set) -> list[Question]:
    """The first `count` questions whose topic is not taken yet; their topics are taken from then on."""
    chosen: list[Question] = []
    for question in makers:
        if question and question.topic not in taken and question.text[0].upper() + question.text[1:] not in taken:
            taken.update({question.topic, question.text})
            chosen.append(question)
        if len(chosen) == count:
            return chosen
    return chosen


def make_questions(company: Company) -> list[Question]:
    """The test questions. Only `changed fact` asks for facts that differ between the versions."""
    rng = random.Random(f"questions:{company.seed}")
    steady = {key: Entity(e.kind, e.name, {a: v for a, v in e.facts.items() if (*key, a) not in company.changed})
              for key, e in company.before.items()}  # fmt: skip
    facts = [f for f in company.facts(updated=True) if (f.kind, f.entity, f.attribute) not in company.changed]
    changed = [f for f in company.facts(updated=True) if (f.kind, f.entity, f.attribute) in company.changed]
    makers = {
        "single fact": (single(f, "single fact", rng, False) for f in rng.sample(facts, len(facts))),
        "new wording": (single(f, "new wording", rng, True) for f in rng.sample(facts, len(facts))),
        "two-hop": (two_hop(steady, rng) for _ in itertools.count()),
        "numeric comparison": (comparison(steady, rng) for _ in itertools.count()),
        "not in the documents": (missing(company.after, rng) for _ in itertools.count()),
        "changed fact": (single(f, "changed fact", rng, False) for f in rng.sample(changed, len(changed))),
    }
    taken: set = set()
    return [q for kind, count in QUESTIONS.items() for q in distinct(makers[kind], count, taken)]


def make_pairs(company: Company, questions: Sequence[Question]) -> list[Question]:
    """Training questions over the first version: every fact that a test asks for is covered, never in the test's words.

    Two-hop and comparison pairs, and questions without an answer, are about other entities than the tests'.
    """
    rng = random.Random(f"pairs:{company.seed}")
    texts = {q.text for q in questions}
    asked = {(f.kind, f.entity, f.attribute) for q in questions for f in q.evidence}
    facts = company.facts()
    rng.shuffle(facts)
    facts.sort(key=lambda f: (f.kind, f.entity, f.attribute) not in asked)
    covered = [fresh(lambda f=f: single(f, "single fact", rng, False), texts) for f in facts[: PAIRS["single fact"]]]
    taken = {q.topic for q in questions} | texts
    others = {
        "two-hop": (two_hop(company.before, rng) for _ in itertools.count()),
        "numeric comparison": (comparison(company.before, rng) for _ in itertools.count()),
        "not in the documents": (missing(company.after, rng) for _ in itertools.count()),
    }
    return covered + [q for kind, makers in others.items() for q in distinct(makers, PAIRS[kind], taken)]


def fresh(make: "callable", texts: set[str]) -> Question:
    """Draw again until the question's text is not one of the test's."""
    while True:
        question = make()
        if question.text not in texts:
            return question
