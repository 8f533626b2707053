"""The endless stream of conversations that teaches the pocket model to read: invented entities, passages, questions.

Nothing here touches the company: every name and value is drawn from the stream's half (see `facts.reserved`).
A conversation asks several questions of one set of passages, so that each passage read pays several times.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.rag.augment import ABSTAIN, CLOSED_BOOK, FORMS, Message, build_prompt
from labkit.world.facts import (
    WORDS,
    Attribute,
    Entity,
    draw,
    kinds,
    number,
    refer,
    reserved,
    sentence,
    shown,
    wording,
)


@dataclass(frozen=True)
class Level:
    """One step of the curriculum: how many passages, entities, facts and turns, and which questions and forms."""

    passages: tuple[int, int]
    facts: tuple[int, int]
    turns: int
    forms: tuple[str, ...] = ("value",)
    abstain: float = 0.0
    hard: float = 0.0  # share of two-hop and comparison questions
    alike: float = 0.0  # share of entities that share a word with another


LEVELS = (
    Level((1, 1), (1, 3), 3),
    Level((1, 2), (2, 4), 4, ("value", "cited"), 0.05, 0.0, 0.2),
    Level((1, 3), (2, 5), 5, ("value", "cited", "cited", "sentence"), 0.15, 0.15, 0.4),
    Level((1, 5), (2, 6), 6, ("cited", "cited", "cited", "value", "sentence", "bullet", "json"), 0.2, 0.25, 0.5),
)


@dataclass(frozen=True)
class Turn:
    """A question with its answer's core value (None: not in the documents), full sentence and passages used."""

    question: str
    value: str | None
    text: str
    sources: tuple[int, ...]
    skill: str


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
    return frame + (text if frame.endswith(", ") else _capital(text))


def invent(kind: str, rng: random.Random, facts: int, sites: Sequence[str], alike: Sequence[str], company: bool = False) -> Entity:
    """A new entity with some facts; its name shares a word with one of `alike` if there are any."""
    name = new_name(rng, alike, company)
    chosen = rng.sample(list(kinds()[kind]), min(facts, len(kinds()[kind])))
    values = {}
    for key in chosen:
        attribute = kinds()[kind][key]
        link = attribute.value == "site"
        values[key] = (rng.choice(sites) if sites else draw("name", rng, company)) if link else draw(attribute.value, rng, company)
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
        text = _cut(text, entity, rng, held_out)
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
    return "\n".join(f"{ask(a, entity.name, rng, held_out)} {rng.choice([_capital(shown(a, v)) + '.', say(a, entity.name, v, rng, held_out)])}" for a, v in facts)


def _named(entity: Entity, facts: list, rng: random.Random, held_out: bool | None) -> str:
    return "\n".join(f"{rng.choice(a.labels)} of {entity.reference}: {shown(a, v)}" for a, v in facts)


_SHAPES = {"prose": _prose, "lines": _lines, "bullets": _bullets, "faq": _faq, "named": _named}


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _cut(text: str, entity: Entity, rng: random.Random, held_out: bool | None) -> str:
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
    title = rng.choice([f"List of {kind}s", f"All {kind}s at a glance", f"{_capital(kind)} table"])
    facts = frozenset((kind, e.name, c) for e in entities for c in columns if c in e.facts)
    return Passage(title, "\n".join([head, *rows]), facts)


class Scene:
    """Some entities, the passages about them, and the questions that can be asked."""

    def __init__(self, level: Level, rng: random.Random, held_out: bool | None = False):
        self.level, self.rng, self.held_out = level, rng, held_out
        self.entities = self._entities()
        self.passages = self._passages()
        self.stated = [(e, a, e.facts[a]) for e in self.entities for a in e.facts if self.sources(e, a)]

    def _entities(self) -> list[Entity]:
        rng, level = self.rng, self.level
        count = rng.randint(*level.passages)
        kind = rng.choice(list(kinds()))
        entities: list[Entity] = []
        for _ in range(count):
            kind = kind if rng.random() < 0.6 else rng.choice(list(kinds()))
            alike = [e.name for e in entities] if rng.random() < level.alike else []
            sites = [e.name for e in entities if e.kind == "site"]
            entities.append(invent(kind, rng, rng.randint(*level.facts), sites, alike))
            links = [v for a, v in entities[-1].facts.items() if kinds()[kind][a].value == "site" and v not in sites]
            if links and rng.random() < level.hard * 2:
                facts = invent("site", rng, rng.randint(2, 5), [], []).facts
                entities.append(Entity("site", links[0], facts))
        return entities

    def _passages(self) -> list[Passage]:
        rng, limit = self.rng, max(len(self.entities), self.level.passages[1])
        made = [passage([e], rng, self.held_out) for e in self.entities]
        same = [e for e in self.entities if e.kind == self.entities[0].kind]
        if len(same) > 1 and rng.random() < 0.15:
            made = [p for p in made if not any(p.facts & {(e.kind, e.name, a) for a in e.facts} for e in same)]
            made.append(passage(same, rng, self.held_out))
        while len(made) < limit and rng.random() < 0.35:
            made.append(passage([rng.choice(self.entities)], rng, self.held_out, limit=3))
        rng.shuffle(made)
        return made

    def sources(self, entity: Entity, attribute: str) -> tuple[int, ...]:
        """Numbers of the passages that state a fact, the first being 1."""
        fact = (entity.kind, entity.name, attribute)
        return tuple(i for i, p in enumerate(self.passages, start=1) if fact in p.facts)

    def turn(self) -> Turn:
        """One question of a kind drawn by the level's shares."""
        draw_ = self.rng.random()
        if draw_ < self.level.abstain:
            return self._missing()
        made = self._hop() or self._compare() if draw_ < self.level.abstain + self.level.hard / 2 else None
        if draw_ < self.level.abstain + self.level.hard and made is None:
            made = self._compare() or self._hop()
        return made or self._single()

    def _single(self) -> Turn:
        entity, key, value = self.rng.choice(self.stated)
        attribute = kinds()[entity.kind][key]
        return Turn(ask(attribute, entity.name, self.rng, self.held_out), value, answer(attribute, entity.name, value),
                    self.sources(entity, key)[:1], "single")  # fmt: skip

    def _missing(self) -> Turn:
        rng = self.rng
        entity = rng.choice(self.entities)
        absent = [a for a in kinds()[entity.kind] if not self.sources(entity, a)]
        name = entity.name
        if rng.random() < 0.4 or not absent:
            name = new_name(rng, [e.name for e in self.entities] if rng.random() < 0.7 else [])
            absent = list(kinds()[entity.kind])
        return Turn(ask(kinds()[entity.kind][rng.choice(absent)], name, rng, self.held_out), None, ABSTAIN, (), "missing")

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
        question = self.rng.choice(wording()["hops"][f"{entity.kind}.{key}"][second]).format(e=entity.reference)
        first_text = answer(kinds()[entity.kind][key], entity.name, site.name)
        text = f"{first_text} {answer(kinds()['site'][second], site.name, site.facts[second])}"
        return Turn(_capital(question), site.facts[second], text, self.sources(entity, key)[:1] + self.sources(site, second)[:1], "hop")

    def _compare(self) -> Turn | None:
        pairs = [(a, b, key) for a, key, _ in self.stated for b, other, _ in self.stated
                 if other == key and a.kind == b.kind and a.name != b.name and kinds()[a.kind][key].compare
                 and number(a.facts[key]) != number(b.facts[key])]  # fmt: skip
        if not pairs:
            return None
        a, b, key = self.rng.choice(pairs)
        attribute = kinds()[a.kind][key]
        question = self.rng.choice(attribute.compare).format(a=a.reference, b=b.reference)
        text, winner = compared(attribute, a, b)
        return Turn(_capital(question), winner, text, self.sources(a, key)[:1] + self.sources(b, key)[:1], "compare")


def answer(attribute: Attribute, name: str, value: str) -> str:
    """The full sentence that answers a question for a fact."""
    return sentence(attribute.answer, e=refer(attribute.kind, name), v=shown(attribute, value))


def compared(attribute: Attribute, a: Entity, b: Entity) -> tuple[str, str]:
    """The sentence that compares two entities, both values first, and the name of the larger."""
    first, second = a.facts[attribute.name], b.facts[attribute.name]
    larger = a if number(first) > number(second) else b
    gap = unit(first, abs(number(first) - number(second)))
    return f"{_capital(first)} against {second}: {attribute.more.format(a=larger.reference)}, by {gap}.", larger.name


def unit(like: str, amount: int) -> str:
    """An amount written in the unit of another value, e.g. `$120` or `30 grams`."""
    if like.startswith("$"):
        return f"${amount // 1000},000" if like.endswith(",000") else f"${amount}"
    return f"{amount} {like.split()[-1]}"


def written(turn: Turn, form: str) -> str:
    """The answer in the form that the system prompt asks for."""
    marks = "".join(f"[{s}]" for s in dict.fromkeys(turn.sources))
    if form == "json":
        return f'{{"answer": "{turn.value}", "source": {turn.sources[0]}}}' if turn.value else '{"answer": null}'
    if turn.value is None:
        return ABSTAIN
    if form == "value":
        return turn.value
    return {"cited": f"{turn.text} {marks}", "sentence": turn.text, "bullet": f"- {turn.text}"}[form]


def conversation(rng: random.Random, level: Level) -> list[Message]:
    """One training conversation: a system prompt, then questions over one set of passages with their answers."""
    if rng.random() < 0.03:
        entity = invent(rng.choice(list(kinds())), rng, 1, [], [])
        question = ask(kinds()[entity.kind][next(iter(entity.facts))], entity.name, rng)
        return [{"role": "system", "content": CLOSED_BOOK}, {"role": "user", "content": build_prompt(question, [])},
                {"role": "assistant", "content": "I do not know."}]  # fmt: skip
    scene, form = Scene(level, rng), rng.choice(level.forms)
    messages = [{"role": "system", "content": FORMS[form]}]
    passages = [(p.title, p.text) for p in scene.passages]
    turns = {turn.text if turn.value else turn.question: turn for turn in (scene.turn() for _ in range(level.turns))}
    for turn in turns.values():
        messages.append({"role": "user", "content": build_prompt(turn.question, passages)})
        messages.append({"role": "assistant", "content": written(turn, form)})
        passages = []
    return messages
