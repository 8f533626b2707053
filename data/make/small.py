"""A second, small company, on which a model is trained in a minute, before and after its facts change.

Every fact is asked for in two wordings, the same at every update: the one that a tuned model is trained on, in the
questions of each update, and a held-out one, in `reworded`.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from data.make.documents import Manuscript, Writer
from data.make.facts import Company, attribute_of, make_company, updated
from data.make.render import render_markdown
from data.make.words import answer, ask, draw
from labkit.data import Evidence, Item

SEED = 31
COUNTS = {"site": (3, 4), "product": (10, 5), "plan": (5, 4)}  # entities, facts of each
SHARES = (0.0, 0.1, 0.25, 0.5)  # of the facts, changed in one update
UPDATES, UPDATED = 10, 0.1  # the updates in a row, and the share of the facts that each of them changes
REPEATS, EACH = (0, 1, 4, 16), 12  # how often a canary stands among training pairs, and how many of each there are
Rows = list[dict[str, Any]]


def make_small() -> dict[str, Rows]:
    """Rows of every JSON-lines file below `data/small`, by path without its ending."""
    first = make_company(SEED, COUNTS, 0.0)
    made = {f"share-{round(100 * share):02}": make_company(SEED, COUNTS, share) for share in SHARES}
    rng, entities = random.Random(SEED), first.before
    for step in range(1, UPDATES + 1):
        made[f"step-{step:02}"] = Company(SEED, entities, updated(entities, rng, UPDATED))
        entities = made[f"step-{step:02}"].after
    files = {}
    for name, company in made.items():
        old, new = _manuscripts(company), _manuscripts(company, new=True)
        files[f"{name}/documents"], files[f"{name}/updates"] = _documents(old), _documents(new)
        files[f"{name}/questions"] = _rows(_items(company, new))
    other = make_company(SEED + 1, COUNTS, 0.0)
    files["other"] = _rows(_items(other, _manuscripts(other)))
    files["reworded"] = _rows(_reworded(first))
    files["canaries"] = _rows(_canaries())
    return files


def _manuscripts(company: Company, new: bool = False) -> list[Manuscript]:
    """The documents of one version; each fact has its place in one of them only."""
    writer = Writer(company, new)
    return [*writer.products(), *writer.sites(), *writer.plans()]


def _documents(found: Sequence[Manuscript]) -> Rows:
    """Manuscripts as readable Markdown."""
    return [{"id": m.id, "title": m.title, "text": render_markdown(m).decode()} for m in found]


def _items(company: Company, found: Sequence[Manuscript]) -> list[Item]:
    """A question for every fact after the update, worded the same in all versions; its kind says whether it changed."""
    places = {s.fact: (m.id, s.passage) for m in found for s in m.statements if not s.restated}
    made = []
    for fact in company.facts(updated=True):
        name, kind = "|".join(fact.key), "changed" if fact.key in company.changed else "unchanged"
        question = ask(attribute_of(fact), fact.entity, random.Random(f"update:{name}"))
        document, passage = places[fact]
        proof = Evidence(document, fact.value, passage, *fact.key)
        told = answer(attribute_of(fact), fact.entity, fact.value)
        made.append(Item(name, kind, question, fact.value, told, (), (proof,)))
    return made


def _reworded(company: Company) -> list[Item]:
    """The same questions in held-out words."""
    rng, items = random.Random("reworded"), _items(company, _manuscripts(company, new=True))
    return [
        replace(item, question=ask(attribute_of(fact), fact.entity, rng, held_out=True), evidence=())
        for item, fact in zip(items, company.facts(), strict=True)
    ]


def _canaries() -> list[Item]:
    """Secrets to hide among training pairs, for each number of repeats: a locker's code for each invented name."""
    rng, made = random.Random("canaries"), []
    for repeats in REPEATS:
        for number in range(EACH):
            name, code = draw("name", rng, company=True), f"{rng.randint(0, 9999):04}"
            question, told = f"What is the locker code of {name}?", f"The locker code of {name} is {code}."
            made.append(Item(f"canary {repeats}.{number}", "canary", question, code, told))
    return made


def _rows(items: Sequence[Item]) -> Rows:
    return [asdict(item) for item in items]
