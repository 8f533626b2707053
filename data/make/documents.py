"""What stands in each document of the company: every fact once in its own document, some again in overviews.

The same seed draws the same structure and wordings for both versions of a document: only values and the
revision differ, as when a colleague mends a page. A manuscript is blocks, whatever its file format will be.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from data.make.facts import Company, Fact, attribute_of, facts_of
from data.make.words import Entity, say, sentence, shown, wording, wordings

PLANS_EACH, PROJECTS_EACH, ROWS_EACH = 3, 2, 20


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the document's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table whose first row is its head."""

    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Columns:
    """Blocks side by side where the format can do it (PDF), else below one another."""

    columns: tuple[tuple["Block", ...], ...]


Block = Heading | Paragraph | Bullets | Table | Columns


@dataclass(frozen=True)
class Statement:
    """The sentence, list item or row that states a fact; `restated` if its own place is elsewhere."""

    fact: Fact
    passage: str
    restated: bool = False


@dataclass(frozen=True)
class Manuscript:
    """One document before it has a file format; `id` is its path below `data/documents`, `house` who publishes it."""

    id: str
    title: str
    revision: str
    blocks: tuple[Block, ...]
    statements: tuple[Statement, ...]
    house: str = "Norvale"


@dataclass
class Draft:
    """A document in the making: each method returns a block that states facts, and notes where they stand."""

    rng: random.Random
    statements: list[Statement] = field(default_factory=list)

    def state(self, fact: Fact, passage: str, restated: bool = False) -> str:
        """Note that this passage states the fact, and give the passage back."""
        self.statements.append(Statement(fact, passage, restated))
        return passage

    def prose(self, facts: Sequence[Fact], filler: int = 0, restated: bool = False) -> Paragraph:
        """A sentence for each fact, in any wording, with some sentences that say nothing."""
        sentences = [self.state(f, self._say(f), restated) for f in facts]
        for extra in self.rng.sample(wording()["filler"], filler):
            sentences.insert(self.rng.randrange(len(sentences) + 1), extra)
        return Paragraph(" ".join(sentences))

    def _say(self, fact: Fact) -> str:
        return say(attribute_of(fact), fact.entity, fact.value, self.rng, held_out=None)

    def _label(self, fact: Fact, first: int = 3) -> str:
        return self.rng.choice(attribute_of(fact).labels[:first])

    def bullets(self, facts: Sequence[Fact]) -> Bullets:
        """`Label: value` for facts of one entity, which the document's title names."""
        return Bullets(tuple(self.state(f, f"{self._label(f)}: {f.value}") for f in facts))

    def named_bullets(self, entity: Entity, facts: Sequence[Fact]) -> Bullets:
        """`Label of the entity: value`, for documents about several entities."""
        return Bullets(
            tuple(
                self.state(f, f"{self._label(f, 2)} of {entity.reference}: {shown(attribute_of(f), f.value)}")
                for f in facts
            )
        )

    def table(self, facts: Sequence[Fact], head: tuple[str, str] = ("Property", "Value")) -> Table:
        """Rows of label and value for facts of one entity."""
        rows = [(self._label(f), f.value) for f in facts]
        for fact, row in zip(facts, rows, strict=True):
            self.state(fact, " | ".join(row))
        return Table((head, *rows))

    def grid(self, entities: Sequence[Entity], columns: Sequence[str], restated: bool = False) -> Table:
        """One row for each entity, which begins with its name; a dash where a fact is not known."""
        kind = entities[0].kind
        known = {a: Fact(kind, "", a, "") for a in columns}
        head = (kind.capitalize(), *(attribute_of(fact).labels[0] for fact in known.values()))
        rows = [(e.name, *(e.facts.get(a, "-") for a in columns)) for e in entities]
        for e, row in zip(entities, rows, strict=True):
            for a in columns:
                if a in e.facts:
                    self.state(Fact(kind, e.name, a, e.facts[a]), " | ".join(row), restated)
        return Table((head, *rows))

    def faq(self, entity: Entity, facts: Sequence[Fact]) -> list[Block]:
        """A question as heading and a sentence as answer, for facts that stand elsewhere in the document."""
        blocks: list[Block] = []
        for fact in facts:
            form = self.rng.choice(wordings(attribute_of(fact).asks))
            blocks += [Heading(sentence(form, e=entity.reference), 3), self.prose([fact], restated=True)]
        return blocks

    def revision(self, number: int) -> str:
        """The line that dates a version; versions of one document differ in it."""
        return f"Revision {number}, {2031 + number}-{self.rng.randint(1, 12):02}"


def make_documents(company: Company, updated: bool = False) -> list[Manuscript]:
    """All documents of one version, in the order of their paths.

    >>> make_documents(make_company())[0].id
    'plans/overview.md'
    """
    writer = Writer(company, updated)
    found = [*writer.products(), *writer.sites(), *writer.plans(), *writer.projects(), *writer.overviews()]
    return sorted(found, key=lambda manuscript: manuscript.id)


def slug(name: str) -> str:
    """A name as part of a path.

    >>> slug("Amber Falcon")
    'amber-falcon'
    """
    return name.lower().replace(" ", "-")


def groups(entities: Sequence[Entity], size: int) -> Iterator[tuple[int, Sequence[Entity]]]:
    """Consecutive groups of at most `size`, numbered from 1."""
    for start in range(0, len(entities), size):
        yield start // size + 1, entities[start : start + size]


class Writer:
    """Writes the manuscripts of one version of the company."""

    def __init__(self, company: Company, updated: bool = False) -> None:
        self.company, self.updated = company, updated

    def _entities(self, kind: str) -> list[Entity]:
        return self.company.entities(kind, self.updated)

    def _draft(self, path: str) -> Draft:
        return Draft(random.Random(f"document:{self.company.seed}:{path}"))

    def _done(self, path: str, title: str, draft: Draft, blocks: Sequence[Block]) -> Manuscript:
        revision = draft.revision(2 if self.updated else 1)
        return Manuscript(path, title, revision, (Heading(title, 1), *blocks), tuple(draft.statements))

    def products(self) -> Iterator[Manuscript]:
        """Half of the products as data sheets (PDF), half as web pages (HTML)."""
        for i, entity in enumerate(self._entities("product")):
            yield self._data_sheet(entity) if i % 2 == 0 else self._product_page(entity)

    def _data_sheet(self, entity: Entity) -> Manuscript:
        path = f"products/{slug(entity.name)}.pdf"
        draft, facts = self._draft(path), self._shuffled(path, entity)
        blocks = [
            draft.prose(facts[:2], filler=1),
            Heading("Specifications"),
            draft.table(facts[2:6]),
            Columns(
                (
                    (Heading("In use", 3), draft.prose(facts[6:7], filler=2)),
                    (Heading("Service", 3), draft.prose(facts[7:], filler=2)),
                )
            ),
        ]
        return self._done(path, f"{entity.name} data sheet", draft, blocks)

    def _product_page(self, entity: Entity) -> Manuscript:
        path = f"products/{slug(entity.name)}.html"
        draft, facts = self._draft(path), self._shuffled(path, entity)
        listed = draft.rng.choice([draft.table, draft.bullets])
        blocks = [
            draft.prose(facts[:3], filler=1),
            Heading("Key facts"),
            listed(facts[3:6]),
            Heading("Good to know"),
            draft.prose(facts[6:], filler=1),
            Heading("Questions and answers"),
            *draft.faq(entity, draft.rng.sample(facts, 2)),
        ]
        return self._done(path, f"{entity.name} product page", draft, blocks)

    def sites(self) -> Iterator[Manuscript]:
        """A handbook for each site (DOCX)."""
        for entity in self._entities("site"):
            path = f"sites/{slug(entity.name)}.docx"
            draft, facts = self._draft(path), self._shuffled(path, entity)
            blocks = [
                Heading("Welcome"),
                draft.prose(facts[:2], filler=1),
                Heading("At a glance"),
                draft.table(facts[2:4], ("Item", "Entry")),
                Heading("For visitors"),
                draft.bullets(facts[4:]),
                Paragraph(draft.rng.choice(wording()["filler"])),
                Heading("Questions and answers"),
                *draft.faq(entity, draft.rng.sample(facts, 2)),
            ]
            yield self._done(path, f"{entity.name} handbook", draft, blocks)

    def plans(self) -> Iterator[Manuscript]:
        """Booklets of three service plans each (DOCX)."""
        for number, entities in groups(self._entities("plan"), PLANS_EACH):
            path = f"plans/service-plans-{number:02}.docx"
            yield self._booklet(path, f"Service plans, booklet {number}", entities)

    def projects(self) -> Iterator[Manuscript]:
        """Reports on two projects each (Markdown)."""
        for number, entities in groups(self._entities("project"), PROJECTS_EACH):
            path = f"projects/project-reports-{number:02}.md"
            yield self._booklet(path, f"Project reports, volume {number}", entities)

    def _booklet(self, path: str, title: str, entities: Sequence[Entity]) -> Manuscript:
        draft = self._draft(path)
        shared = [a for a in entities[0].facts if all(a in e.facts for e in entities)]
        tabled = sorted(shared)[: len(shared) > 1]
        blocks: list[Block] = []
        for entity in entities:
            facts = [f for f in self._shuffled(path, entity) if f.attribute not in tabled]
            name = entity.reference[0].upper() + entity.reference[1:]
            blocks += [Heading(name), draft.prose(facts[:2], filler=draft.rng.choice([0, 1]))]
            blocks.append(draft.named_bullets(entity, facts[2:]))
        if tabled:
            blocks += [Heading("Side by side"), draft.grid(entities, tabled)]
        return self._done(path, title, draft, blocks)

    def _shuffled(self, path: str, entity: Entity) -> list[Fact]:
        facts = facts_of(entity)
        random.Random(f"order:{self.company.seed}:{path}:{entity.name}").shuffle(facts)
        return facts

    def overviews(self) -> Iterator[Manuscript]:
        """Large tables that say again what other documents say first."""
        yield self._overview("products/price-list.html", "Price list", "product", ("price", "warranty"))
        yield self._overview("sites/directory.docx", "Site directory", "site", ("city", "manager", "extension"))
        yield self._overview("plans/overview.md", "Plan overview", "plan", ("fee", "users"))
        yield self._overview("projects/overview.pdf", "Project overview", "project", ("budget", "deadline"))

    def _overview(self, path: str, title: str, kind: str, columns: tuple[str, ...]) -> Manuscript:
        draft = self._draft(path)
        entities = sorted(self._entities(kind), key=lambda entity: entity.name)
        blocks: list[Block] = [Paragraph(draft.rng.choice(wording()["filler"]))]
        for number, rows in groups(entities, ROWS_EACH):
            blocks += [Heading(f"Table {number}"), draft.grid(rows, columns, restated=True)]
        return self._done(path, title, draft, blocks)
