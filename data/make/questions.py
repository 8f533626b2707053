"""The test questions about the invented company, and the training pairs, in wordings that never meet."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from data.make.facts import Company, Entities, Fact, attribute_of, facts_of
from data.make.words import (
    GROWTH,
    Entity,
    answer,
    ask,
    capital,
    compared,
    grown,
    kinds,
    new_name,
    number,
    wording,
    wordings,
)
from labkit.rag.augment import ABSTAIN

QUESTIONS = {
    "single fact": 70, "new wording": 50, "two-hop": 35, "numeric comparison": 35, "growth": 20,
    "not in the documents": 40, "changed fact": 30,
}  # fmt: skip
PAIRS = {"single fact": 480, "two-hop": 40, "numeric comparison": 40, "growth": 10, "not in the documents": 60}


@dataclass(frozen=True)
class Question:
    """A question with its gold value (None: not in the documents) and the facts that prove it.

    `rivals` are the losing names of a comparison.
    """

    kind: str
    text: str
    gold: str | None
    answer: str
    evidence: tuple[Fact, ...] = ()
    rivals: tuple[str, ...] = ()

    @property
    def topic(self) -> tuple:
        """What it asks about, whatever the wording: two questions of one topic have one answer."""
        if not self.evidence:
            return (self.text,)
        return (self.kind == "two-hop", *sorted(fact.key for fact in self.evidence))


def single(fact: Fact, kind: str, rng: random.Random, held_out: bool) -> Question:
    """A question for one fact, in a wording that the pocket model trained on or in the held-out one."""
    text = ask(attribute_of(fact), fact.entity, rng, held_out)
    return Question(kind, text, fact.value, _said(fact), (fact,))


def _said(fact: Fact) -> str:
    return answer(attribute_of(fact), fact.entity, fact.value)


def missing(entities: Entities, rng: random.Random) -> Question:
    """A question without an answer: on an attribute nobody states, or a look-alike that does not exist."""
    entity = rng.choice(list(entities.values()))
    absent = [a for a in kinds()[entity.kind] if a not in entity.facts]
    name = entity.name if rng.random() < 0.6 else new_name(rng, [entity.name], company=True)
    if name != entity.name:
        absent = list(kinds()[entity.kind])
    if any(n == name and n != entity.name for _, n in entities) or not absent:
        return missing(entities, rng)
    text = ask(kinds()[entity.kind][rng.choice(absent)], name, rng)
    return Question("not in the documents", text, None, ABSTAIN)


def two_hop(entities: Entities, rng: random.Random) -> Question | None:
    """A question over a fact that names a site, and a fact of that site."""
    entity = rng.choice([e for e in entities.values() if e.kind in ("product", "project")])
    link = "site" if entity.kind == "product" else "base"
    site = entities.get(("site", entity.facts.get(link, "")))
    forms = wording()["hops"][f"{entity.kind}.{link}"]
    second = [a for a in forms if site and a in site.facts]
    if not site or not second:
        return None
    a = rng.choice(second)
    first, last = Fact(entity.kind, entity.name, link, site.name), Fact("site", site.name, a, site.facts[a])
    text = rng.choice(forms[a]).format(e=entity.reference)
    return Question("two-hop", text, last.value, f"{_said(first)} {_said(last)}", (first, last))


def comparison(entities: Entities, rng: random.Random) -> Question | None:
    """Which of two entities of one kind has more of something; the gold value is the winner's name."""
    a, b = rng.sample(list(entities.values()), 2)
    keys = [key for key in a.facts if a.kind == b.kind and key in b.facts and _differ(a, b, key)]
    if not keys:
        return None
    attribute = kinds()[a.kind][rng.choice(keys)]
    text = rng.choice(attribute.compare).format(a=a.reference, b=b.reference)
    full, winner = compared(attribute, a, b)
    evidence = tuple(fact for e in (a, b) for fact in facts_of(e) if fact.attribute == attribute.name)
    loser = b.name if winner == a.name else a.name
    return Question("numeric comparison", text, winner, full, evidence, (loser,))


def _differ(a: Entity, b: Entity, key: str) -> bool:
    return bool(kinds()[a.kind][key].compare) and number(a.facts[key]) != number(b.facts[key])


def growth(entities: Entities, rng: random.Random) -> Question | None:
    """By how much the sales of a product changed between two years; the gold value is the change."""
    entity = rng.choice([e for e in entities.values() if e.kind == "product"])
    first, last = (entity.facts.get(key, "") for key in GROWTH)
    if not first or not last or first == last:
        return None
    full, gap = grown(entity)
    text = rng.choice(wording()["growth"]["asks"]).format(e=entity.reference)
    evidence = tuple(Fact(entity.kind, entity.name, key, entity.facts[key]) for key in GROWTH)
    return Question("growth", text, gap, full, evidence)


def distinct(makers: Iterable[Question | None], count: int, taken: set) -> list[Question]:
    """The first `count` questions whose topic is not taken yet; their topics are taken from then on."""
    chosen: list[Question] = []
    for question in makers:
        if question and question.topic not in taken and capital(question.text) not in taken:
            taken.update({question.topic, question.text})
            chosen.append(question)
        if len(chosen) == count:
            return chosen
    return chosen


def make_questions(company: Company) -> list[Question]:
    """The test questions. Only `changed fact` asks for facts that differ between the versions.

    >>> len(make_questions(make_company()))
    280
    """
    rng = random.Random(f"questions:{company.seed}")
    steady = {
        key: Entity(e.kind, e.name, {f.attribute: f.value for f in facts_of(e) if f.key not in company.changed})
        for key, e in company.before.items()
    }
    facts = [f for f in company.facts(updated=True) if f.key not in company.changed]
    changed = [f for f in company.facts(updated=True) if f.key in company.changed]
    makers = {
        "single fact": _singles(facts, "single fact", rng, held_out=False),
        "new wording": _singles(facts, "new wording", rng, held_out=True),
        **_others(steady, company.after, rng),
        "changed fact": _singles(changed, "changed fact", rng, held_out=False),
    }
    taken: set = set()
    return [q for kind, count in QUESTIONS.items() for q in distinct(makers[kind], count, taken)]


def _singles(facts: list[Fact], kind: str, rng: random.Random, held_out: bool) -> Iterable[Question]:
    order = rng.sample(facts, len(facts))
    return (single(fact, kind, rng, held_out) for fact in order)


def _others(entities: Entities, known: Entities, rng: random.Random) -> dict[str, Iterator[Question | None]]:
    return {
        "two-hop": (two_hop(entities, rng) for _ in itertools.count()),
        "numeric comparison": (comparison(entities, rng) for _ in itertools.count()),
        "growth": (growth(entities, rng) for _ in itertools.count()),
        "not in the documents": (missing(known, rng) for _ in itertools.count()),
    }


def make_pairs(company: Company, questions: Sequence[Question]) -> list[Question]:
    """Training questions over the first version: all facts that a test asks for, never in the test's words.

    No two-hop or comparison pair combines the facts that a test combines.
    """
    rng = random.Random(f"pairs:{company.seed}")
    texts = {question.text for question in questions}
    asked = {fact.key for question in questions for fact in question.evidence}
    facts = company.facts()
    rng.shuffle(facts)
    facts.sort(key=lambda fact: fact.key not in asked)
    covered = [
        _fresh(lambda f=fact: single(f, "single fact", rng, False), texts) for fact in facts[: PAIRS["single fact"]]
    ]
    taken = {question.topic for question in questions} | texts
    others = _others(company.before, company.after, rng)
    return covered + [q for kind, makers in others.items() for q in distinct(makers, PAIRS[kind], taken)]


def _fresh(make: Callable[[], Question], texts: set[str]) -> Question:
    """Draw again until the question's text is not one of the test's."""
    while (question := make()).text in texts:
        pass
    return question


def make_rewordings(
    company: Company, questions: Sequence[Question], pairs: Sequence[Question], more: int = 4
) -> list[Question]:
    """Other ways to ask for each fact that a test asks for and a pair covers, none in the words of a test or a pair.

    With its pair, each such fact is asked for in `more` + 1 wordings: every form of asking once, in a random frame, then again.
    """
    rng = random.Random(f"wordings:{company.seed}")
    asked = {fact.key for question in questions for fact in question.evidence}
    texts = {question.text for question in (*questions, *pairs)}
    found = []
    for pair in pairs:
        fact = pair.evidence[0] if pair.kind == "single fact" else None
        if fact and fact.key in asked:
            attribute = attribute_of(fact)
            forms = wordings(attribute.asks)
            order = [replace(attribute, asks=(form,)) for _ in range(more) for form in rng.sample(forms, len(forms))]
            drawn = [ask(form, fact.entity, rng, None) for form in order]
            fresh = [text for text in dict.fromkeys(drawn) if text not in texts][:more]
            found += [Question("single fact", text, fact.value, pair.answer, (fact,)) for text in fresh]
    return found
