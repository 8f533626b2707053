"""What stands in each document of the company: every fact once in its own document, some again in overviews.

The same seed draws the same structure and wordings for both versions of a document: only values and the
revision differ, as when a colleague mends a page. Introduced in 00_start, read in 01_ingest.
"""

import random
from collections.abc import Iterator, Sequence

from labkit.world.company import Company, Fact, facts_of
from labkit.world.draft import Block, Columns, Draft, Heading, Manuscript, Paragraph
from labkit.world.facts import Entity, wording

PLANS_EACH, PROJECTS_EACH, ROWS_EACH = 3, 2, 20


def make_documents(company: Company, updated: bool = False) -> list[Manuscript]:
    """All documents of one version, in the order of their paths. Introduced in 00_start.

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
