"""The pocket model's curriculum: from bare lists to passages of look-alikes. Introduced in 00_start."""

import random
from dataclasses import dataclass

from labkit.rag.augment import FORMS, Message, build_prompt
from labkit.world.facts import VALUES, draw


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
    drill: float = 0.05  # share of bare lists to look things up in


LEVELS = (
    Level((1, 1), (1, 1), 1, drill=1.0),
    Level((1, 1), (1, 3), 3, ("sentence", "sentence", "value"), drill=0.15),
    Level((1, 2), (2, 4), 4, ("value", "cited"), 0.05, 0.0, 0.2),
    Level((1, 3), (2, 5), 5, ("value", "cited", "cited", "sentence"), 0.15, 0.15, 0.4),
    Level((1, 5), (2, 6), 6, ("cited", "cited", "cited", "value", "sentence", "bullet", "json"), 0.2, 0.25, 0.5),
)


def drill(rng: random.Random) -> list[Message]:
    """A bare list of names and values, asked for name by name: the shortest way to learn looking up and copying.

    Most replies repeat the line, so that the value follows the name as it does in the list; the others give the value.
    """
    names = {draw("name", rng): draw(rng.choice(list(VALUES)), rng) for _ in range(rng.randint(2, 8))}
    gap, whole = rng.choice([":", " |", " is", ","]), rng.random() < 0.7
    lines = {name: f"{name}{gap} {value}" for name, value in names.items()}
    asked = rng.sample(list(names), len(names))
    messages = [{"role": "system", "content": FORMS["sentence" if whole else "value"]}]
    for n, name in enumerate(asked):
        passages = [("List", " ; ".join(lines.values()))] if n == 0 else []
        messages.append({"role": "user", "content": build_prompt(f"{name}?", passages)})
        messages.append({"role": "assistant", "content": lines[name] if whole else names[name]})
    return messages
