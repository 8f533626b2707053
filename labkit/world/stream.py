"""The endless stream of conversations that teaches the pocket model to read: invented entities, passages, questions.

Nothing here touches the company: every name and value is drawn from the stream's half (see `facts.reserved`).
A conversation asks several questions of one set of passages, so that each passage read pays several times.
"""

import random
from dataclasses import dataclass

from labkit.rag.augment import ABSTAIN, CLOSED_BOOK, FORMS, Message, build_prompt
from labkit.world.curriculum import LEVELS as LEVELS
from labkit.world.curriculum import Level, drill
from labkit.world.facts import Entity, answer, capital, compared, kinds, number, wording
from labkit.world.passages import Passage, ask, invent, new_name, passage


@dataclass(frozen=True)
class Turn:
    """A question with its answer's core value (None: not in the documents), full sentence and passages used."""

    question: str
    value: str | None
    text: str
    sources: tuple[int, ...]
    skill: str


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
        return Turn(
            ask(attribute, entity.name, self.rng, self.held_out),
            value,
            answer(attribute, entity.name, value),
            self.sources(entity, key)[:1],
            "single",
        )

    def _missing(self) -> Turn:
        rng = self.rng
        entity = rng.choice(self.entities)
        absent = [a for a in kinds()[entity.kind] if not self.sources(entity, a)]
        name = entity.name
        if rng.random() < 0.4 or not absent:
            name = new_name(rng, [e.name for e in self.entities] if rng.random() < 0.7 else [])
            absent = list(kinds()[entity.kind])
        return Turn(
            ask(kinds()[entity.kind][rng.choice(absent)], name, rng, self.held_out),
            None,
            ABSTAIN,
            (),
            "missing",
        )

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
        return Turn(
            capital(question),
            site.facts[second],
            text,
            self.sources(entity, key)[:1] + self.sources(site, second)[:1],
            "hop",
        )

    def _compare(self) -> Turn | None:
        pairs = [
            (a, b, key)
            for a, key, _ in self.stated
            for b, other, _ in self.stated
            if other == key
            and a.kind == b.kind
            and a.name != b.name
            and kinds()[a.kind][key].compare
            and number(a.facts[key]) != number(b.facts[key])
        ]
        if not pairs:
            return None
        a, b, key = self.rng.choice(pairs)
        attribute = kinds()[a.kind][key]
        question = self.rng.choice(attribute.compare).format(a=a.reference, b=b.reference)
        text, winner = compared(attribute, a, b)
        return Turn(capital(question), winner, text, self.sources(a, key)[:1] + self.sources(b, key)[:1], "compare")


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
        return [
            {"role": "system", "content": CLOSED_BOOK},
            {"role": "user", "content": build_prompt(question, [])},
            {"role": "assistant", "content": "I do not know."},
        ]
    if rng.random() < level.drill:
        return drill(rng)
    scene, form = Scene(level, rng), rng.choice(level.forms)
    messages = [{"role": "system", "content": FORMS[form]}]
    passages = [(p.title, p.text) for p in scene.passages]
    turns = {turn.text if turn.value else turn.question: turn for turn in (scene.turn() for _ in range(level.turns))}
    for turn in turns.values():
        messages.append({"role": "user", "content": build_prompt(turn.question, passages)})
        messages.append({"role": "assistant", "content": written(turn, form)})
        passages = []
    return messages
