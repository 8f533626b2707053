"""The data of the article's five use cases: documents, their second versions, test questions and training pairs.

Three jobs look things up in pages, of which some change after the pairs were written. Two turn material that is handed
to them into a set form, about other products in the test than in the pairs.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from data.make.documents import slug
from data.make.facts import Company, Entities, Fact, facts_of, make_company
from data.make.questions import Question, comparison, distinct, missing, single, two_hop
from data.make.stream import review_set
from data.make.words import GROWTH, Entity, capital, draw, kinds, number, sentence, shown, unit, wording, wordings
from labkit.data import Evidence, Item
from labkit.metrics import contains

TESTS, PAIRS = 40, 40  # of each job that transforms; a job that looks up has a pair for every fact
ROWS = list[dict[str, Any]]
HARD = {"two-hop": two_hop, "numeric comparison": comparison}
SUMMARY = re.compile(r"Reviewers of the (.+) praise its (\w+) and dislike its (\w+)\.")


@dataclass(frozen=True)
class LookUp:
    """A job that looks things up: entities by kind, how a page states a fact, and test questions by kind.

    Each entity has some facts, and a share of all facts changes after the pairs were written.
    """

    entities: dict[str, int]
    line: str
    asked: dict[str, int]
    facts: int = 4
    changed: float = 0.35


LOOK_UPS = {
    "support_bot": LookUp(
        {"product": 10}, "{ask} {say}", {"single fact": 18, "changed fact": 12, "not in the documents": 10},
    ),
    "legal_assistant": LookUp(
        {"plan": 10}, "Clause {n}: {say}",
        {"single fact": 16, "numeric comparison": 6, "changed fact": 8, "not in the documents": 10},
    ),
    "kb_qa": LookUp(
        {"site": 5, "project": 8}, "{say}",
        {"single fact": 12, "two-hop": 6, "changed fact": 14, "not in the documents": 8},
    ),
}  # fmt: skip


def make_use_cases(seed: int) -> dict[str, ROWS]:
    """Rows of every JSON-lines file below `data/use_cases`, by path; the same seed gives the same rows.

    >>> sorted(make_use_cases(2026))[0]
    'financial_report/documents.jsonl'
    """
    made: dict[str, ROWS] = {}
    for n, (name, job) in enumerate(LOOK_UPS.items(), start=1):
        made |= {f"{name}/{file}.jsonl": rows for file, rows in _look_up(name, job, seed + n).items()}
    taken: set[str] = set()
    for name, make in (("review_summariser", _summary), ("financial_report", _report)):
        rng = random.Random(f"{name}:{seed}")
        for file, wanted in (("questions", TESTS), ("pairs", PAIRS)):
            drawn = [make(f"{file[0]}{n:03}", rng, taken) for n in range(1, wanted + 1)]
            made[f"{name}/{file}.jsonl"] = [asdict(item) for item, _ in drawn]
            made.setdefault(f"{name}/documents.jsonl", []).extend(page for _, pages in drawn for page in pages)
    return made


def _look_up(name: str, job: LookUp, seed: int) -> dict[str, ROWS]:
    rng = random.Random(f"{name}:{seed}")
    company = make_company(seed, {kind: (n, job.facts) for kind, n in job.entities.items()}, job.changed)
    old, new = ({e.name: Page(name, job.line, e) for e in found.values()} for found in (company.before, company.after))
    questions = _questions(company, job, rng)
    return {
        "documents": [page.row() for page in old.values()],
        "updates": [page.row() for page in new.values() if page.text != old[page.entity.name].text],
        "questions": _items("q", questions, new),
        "pairs": _items("p", _pairs(company, job, rng, questions), old),
    }


class Page:
    """What one document says of an entity, a line for each fact; both versions use the same words."""

    def __init__(self, job: str, line: str, entity: Entity) -> None:
        rng = random.Random(f"{job}:{entity.name}")
        self.entity, self.id = entity, slug(entity.name)
        self.title = rng.choice(wording()[entity.kind]["titles"]).format(name=entity.name)
        self.lines = {key: self._line(line, n, key, rng) for n, key in enumerate(entity.facts, start=1)}
        self.text = "\n".join(self.lines.values())

    def _line(self, line: str, n: int, key: str, rng: random.Random) -> str:
        e, attribute = self.entity, kinds()[self.entity.kind][key]
        form, asked = rng.choice(attribute.says), rng.choice(attribute.asks)
        said = sentence(form, e=e.reference, v=shown(attribute, e.facts[key]), name=e.name)
        return line.format(n=n, say=said, ask=sentence(asked, e=e.reference))

    def row(self) -> dict[str, str]:
        """The document as it is kept."""
        return {"id": self.id, "title": self.title, "text": self.text}

    def proof(self, fact: Fact) -> Evidence:
        """That this page states a fact."""
        return Evidence(self.id, fact.value, self.lines[fact.attribute], fact.kind, fact.entity, fact.attribute)


def _questions(company: Company, job: LookUp, rng: random.Random) -> list[Question]:
    steady = {
        key: Entity(e.kind, e.name, {f.attribute: f.value for f in facts_of(e) if f.key not in company.changed})
        for key, e in company.before.items()
    }
    now = rng.sample(facts := company.facts(updated=True), len(facts))
    makers = {
        "single fact": (single(f, "single fact", rng, False) for f in now if f.key not in company.changed),
        "changed fact": (single(f, "changed fact", rng, False) for f in now if f.key in company.changed),
        "not in the documents": _drawn(missing, company.after, rng),
        **{kind: _drawn(make, steady, rng) for kind, make in HARD.items()},
    }
    taken: set = set()
    return [q for kind, n in job.asked.items() for q in distinct(makers[kind], n, taken)]


def _pairs(company: Company, job: LookUp, rng: random.Random, tests: Sequence[Question]) -> list[Question]:
    """A question for every fact of the first version, never in a test's words, and some that are hard or unanswerable."""
    texts = {test.text for test in tests}
    known = [
        next(q for _ in count() if (q := single(fact, "single fact", rng, False)).text not in texts)
        for fact in company.facts()
    ]
    taken = {test.topic for test in tests} | texts
    others = [distinct(_drawn(missing, company.after, rng), 8, taken)]
    others += [distinct(_drawn(HARD[kind], company.before, rng), 6, taken) for kind in job.asked if kind in HARD]
    return known + [question for found in others for question in found]


def _drawn(make: Callable, entities: Entities, rng: random.Random) -> Iterator[Question | None]:
    """Many questions of one kind; None where a draw made none."""
    return (make(entities, rng) for _ in range(2000))


def _items(letter: str, questions: Sequence[Question], pages: dict[str, Page]) -> ROWS:
    made = []
    for n, q in enumerate(questions, start=1):
        evidence = tuple(pages[fact.entity].proof(fact) for fact in q.evidence)
        made.append(asdict(Item(f"{letter}{n:03}", q.kind, q.text, q.gold, q.answer, q.rivals, evidence)))
    return made


def _summary(name: str, rng: random.Random, taken: set[str]) -> tuple[Item, ROWS]:
    """Three reviews of one product, and what they praise and dislike."""
    while True:
        reviews, question, told = review_set(rng, None, company=True)
        found = SUMMARY.fullmatch(told)
        if found and found[1] not in taken and len(reviews) == 3:
            break
    product, good, bad = found.groups()
    taken.add(product)
    pages = [{"id": f"{name}/{n}", "title": t, "text": text} for n, (t, text) in enumerate(reviews, start=1)]
    evidence = []
    for part, aspect in (("pros", good), ("cons", bad)):
        page = next(page for page in pages if contains(page["text"], aspect))
        evidence.append(Evidence(page["id"], aspect, page["text"], "product", product, part))
    answer = f"Pros: {good}. Cons: {bad}."
    return Item(name, "review summary", question, good, answer, (bad,), tuple(evidence)), pages


def _report(name: str, rng: random.Random, taken: set[str]) -> tuple[Item, ROWS]:
    """A sheet with the sales of three products in two years, and the report on one of them."""
    rows: dict[str, list[str]] = {}
    while len(rows) < 3:
        product, figures = draw("name", rng, company=True), [draw("sales", rng, company=True) for _ in GROWTH]
        gap = abs(number(figures[0]) - number(figures[1]))
        if product not in taken and gap and unit(figures[0], gap) not in figures:
            rows[product] = figures
    taken.update(rows)
    product, (first, last) = rng.choice(list(rows.items()))
    lines = {key: " | ".join([key, *figures]) for key, figures in rows.items()}
    text = "\n".join(["Name | Sales 2030 | Sales 2031", *lines.values()])
    change, way = unit(first, abs(number(last) - number(first))), "up" if number(last) > number(first) else "down"
    answer = f"2030: {first}. 2031: {last}. Change: {way} {change}."
    evidence = tuple(
        Evidence(f"{name}/1", figure, lines[product], "product", product, key)
        for key, figure in zip(GROWTH, (first, last), strict=True)
    )
    question = capital(rng.choice(wordings(wording()["growth"]["asks"])).format(e=f"the {product}"))
    sheet = {"id": f"{name}/1", "title": "Sales sheet", "text": text}
    return Item(name, "growth", question, change, answer, (), evidence), [sheet]
