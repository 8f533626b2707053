"""Passages about invented entities: one fact in many wordings, many shapes, torn at the edges like real chunks."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.world.facts import WORDS, Attribute, Entity, capital, draw, kinds, refer, reserved, shown, wording


@dataclass(frozen=True)
class Passage:
    """Title and text with the facts that it states, as (kind, entity, attribute)."""

    title: str
    text: str
    facts: frozenset[tuple[str, str, str]]


def wordings(forms: Sequence[str], held_out: bool | None) -> Sequence[str]:
    """The trained forms (False), the held-out last one (True), or all (None)."""
    return forms if held_out is None else forms[-1:] if held_out else forms[:-1]


def say(attribute: Attribute, name: str, value: str, rng: random.Random, held_out: bool | None = False) -> str:
    """One sentence that states a fact, in a random wording and frame."""
    form = rng.choice(wordings(attribute.says, held_out))
    slots = {"e": refer(attribute.kind, name), "v": shown(attribute, value), "name": name}
    return _framed(form, slots, rng.choice(wording()["frames"]["says"]))


def ask(attribute: Attribute, name: str, rng: random.Random, held_out: bool | None = False) -> str:
    """One question for a fact, in a random wording and frame."""
    form = rng.choice(wordings(attribute.asks, held_out))
    return _framed(form, {"e": refer(attribute.kind, name)}, rng.choice(wording()["frames"]["asks"]))


def _framed(form: str, slots: dict[str, str], frame: str) -> str:
    """Put a frame before a form; a sentence after a comma goes on in lower case unless it begins with a name."""
    if frame.endswith(", ") and not form.startswith("{"):
        form = form[0].lower() + form[1:]
    text = form.format(**slots)
    return frame + (text if frame.endswith(", ") else capital(text))


def invent(
    kind: str,
    rng: random.Random,
    facts: int,
    sites: Sequence[str],
    alike: Sequence[str],
    company: bool = False,
) -> Entity:
    """A new entity with some facts; its name shares a word with one of `alike` if there are any."""
    name = new_name(rng, alike, company)
    chosen = rng.sample(list(kinds()[kind]), min(facts, len(kinds()[kind])))
    values = {}
    for key in chosen:
        attribute = kinds()[kind][key]
        link = attribute.value == "site"
        values[key] = (
            (rng.choice(sites) if sites else draw("name", rng, company))
            if link
            else draw(attribute.value, rng, company)
        )
    return Entity(kind, name, values)


def new_name(rng: random.Random, alike: Sequence[str] = (), company: bool = False) -> str:
    """Two words; where look-alikes are given, one of the words is theirs."""
    while alike:
        first, second = rng.choice(alike).split()
        name = rng.choice([f"{first} {rng.choice(WORDS)}", f"{rng.choice(WORDS)} {second}"])
        if reserved(name) == company and name not in alike and len(set(name.split())) == 2:
            return name
    return draw("name", rng, company)


def passage(entities: Sequence[Entity], rng: random.Random, held_out: bool | None = False, limit: int = 6) -> Passage:
    """A passage about one entity in a random shape, or a table over several of one kind."""
    kind = entities[0].kind
    if len(entities) > 1:
        return _table(entities, rng)
    entity = entities[0]
    facts = [(kinds()[kind][a], v) for a, v in rng.sample(list(entity.facts.items()), min(limit, len(entity.facts)))]
    title = rng.choice(wording()[kind]["titles"]).format(name=entity.name)
    shape = rng.choice(["prose", "prose", "prose", "prose", "lines", "bullets", "faq", "named"])
    text = _SHAPES[shape](entity, facts, rng, held_out)
    if rng.random() < 0.3:
        text = _cut(text, rng)
    return Passage(title, text, frozenset((kind, entity.name, a.name) for a, _ in facts))


def _prose(entity: Entity, facts: list, rng: random.Random, held_out: bool | None) -> str:
    sentences = [say(a, entity.name, v, rng, held_out) for a, v in facts]
    for _ in range(rng.choice([0, 0, 1, 2])):
        sentences.insert(rng.randrange(len(sentences) + 1), rng.choice(wording()["filler"]))
    return rng.choice([" ", " ", " ", "\n"]).join(sentences)


def _lines(entity: Entity, facts: list, rng: random.Random, held_out: bool | None) -> str:
    gap = rng.choice([": ", " ", " | "])
    return "\n".join(f"{rng.choice(a.labels)}{gap}{v}" for a, v in facts)


def _bullets(entity: Entity, facts: list, rng: random.Random, held_out: bool | None) -> str:
    head = rng.choice([f"{entity.name}\n", "", "Key facts\n", "Details\n"])
    return head + "\n".join(f"- {rng.choice(a.labels)}: {v}" for a, v in facts)


def _faq(entity: Entity, facts: list, rng: random.Random, held_out: bool | None) -> str:
    return "\n".join(
        f"{ask(a, entity.name, rng, held_out)} {rng.choice([capital(shown(a, v)) + '.', say(a, entity.name, v, rng, held_out)])}"
        for a, v in facts
    )


def _named(entity: Entity, facts: list, rng: random.Random, held_out: bool | None) -> str:
    return "\n".join(f"{rng.choice(a.labels)} of {entity.reference}: {shown(a, v)}" for a, v in facts)


_SHAPES = {"prose": _prose, "lines": _lines, "bullets": _bullets, "faq": _faq, "named": _named}


def _cut(text: str, rng: random.Random) -> str:
    """Add the torn edges of a chunk: the end of a sentence before, or the beginning of one after."""
    edge = rng.choice(wording()["filler"]).split()
    at = rng.randrange(1, len(edge))
    return " ".join(edge[at:]) + " " + text if rng.random() < 0.5 else text + " " + " ".join(edge[:at])


def _table(entities: Sequence[Entity], rng: random.Random) -> Passage:
    kind = entities[0].kind
    shared = [a for a in entities[0].facts if all(a in e.facts for e in entities)] or list(entities[0].facts)
    columns = rng.sample(shared, min(len(shared), rng.randint(1, 3)))
    head = " | ".join(["Name", *(kinds()[kind][c].labels[0] for c in columns)])
    rows = [" | ".join([e.name, *(e.facts.get(c, "-") for c in columns)]) for e in entities]
    title = rng.choice([f"List of {kind}s", f"All {kind}s at a glance", f"{capital(kind)} table"])
    facts = frozenset((kind, e.name, c) for e in entities for c in columns if c in e.facts)
    return Passage(title, "\n".join([head, *rows]), facts)
