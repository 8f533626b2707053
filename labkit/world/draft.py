"""The blocks that a document is made of, whatever its file format, and the drafting of facts into them.

Introduced in 00_start.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from labkit.world.company import Fact, attribute_of
from labkit.world.facts import Entity, say, sentence, shown, wording, wordings


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
