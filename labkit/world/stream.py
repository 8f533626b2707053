"""The endless stream of conversations that teaches the pocket model to read: invented entities, passages, questions.

Nothing here touches the company: every name and value is drawn from the stream's half (see `facts.reserved`).
A conversation asks several questions of one set of passages, so that each passage read pays several times.
"""

import random
import re
from functools import cache

from labkit.rag.augment import ABSTAIN, CLOSED_BOOK, FORMS, FRAMED, Message, build_prompt
from labkit.world.curriculum import LEVELS as LEVELS
from labkit.world.curriculum import LONG, WHERE, Level, drill, reviews
from labkit.world.facts import ask, kinds, wording
from labkit.world.passages import invent
from labkit.world.scene import Scene, Turn


def written(turn: Turn, form: str, opening: str = "", closing: str = "") -> str:
    """The answer in the form that the system prompt asks for; a framed one between its opening and closing.

    The source stands first: whoever names the passage before speaking has found it before speaking.
    """
    marks = "".join(f"[{s}]" for s in dict.fromkeys(turn.sources))
    if form == "framed":
        return f"{opening} {written(turn, 'cited')} {closing}"
    if form == "json":
        source, answer = (turn.sources[0], f'"{turn.value}"') if turn.value else ("null", "null")
        return f'{{"source": {source}, "answer": {answer}}}'
    if turn.value is None:
        return ABSTAIN
    if form == "bullet" and turn.skill == "list":
        return "\n".join(f"- {name}" for name in turn.value.split(", "))
    said = {"cited": f"{marks} {turn.text}", "sentence": turn.text, "bullet": f"- {turn.text}"}
    return (said | {"value": turn.value, "where": marks})[form]


def conversation(rng: random.Random, level: Level) -> list[Message]:
    """One training conversation: a system prompt, then questions over one set of passages with their answers."""
    choice = rng.random()
    if choice < 0.02:
        return _blind(rng)
    if choice < 0.02 + level.drill:
        return drill(rng, level)
    if choice < 0.02 + level.drill + level.reviews:
        return reviews(rng)
    scene, form = Scene(LONG if level is LEVELS[-1] and rng.random() < 0.02 else level, rng), rng.choice(level.forms)
    opening, closing = _frame("openings", rng), _frame("closings", rng)
    systems = {**FORMS, "where": WHERE, "framed": FRAMED.format(opening=opening, closing=closing)}
    messages = [{"role": "system", "content": systems[form]}]
    passages = [(p.title, p.text) for p in scene.passages]
    turns = {turn.text if turn.value else turn.question: turn for turn in (scene.turn() for _ in range(level.turns))}
    for turn in turns.values():
        messages.append({"role": "user", "content": build_prompt(turn.question, passages)})
        messages.append({"role": "assistant", "content": written(turn, form, opening, closing)})
        passages = []
    return messages


def _frame(part: str, rng: random.Random) -> str:
    """A line to begin or end an answer with; half of them words in any order, so that the prompt must be copied."""
    if rng.random() < 0.5:
        return rng.choice(wording()[part])
    return " ".join(rng.sample(_words(), rng.randint(3, 7))).capitalize() + "."


@cache
def _words() -> list[str]:
    """Every word in small letters that any list of wordings holds: a model copies only words that it has copied."""
    found, rest = set(), [wording()]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            found |= set(re.findall(r"\b[a-z]{2,}\b", re.sub(r"{\w+}", "", one)))
        elif isinstance(one, dict | list):
            rest += one.values() if isinstance(one, dict) else one
    return sorted(found)


def _blind(rng: random.Random) -> list[Message]:
    """A question without passages, which the model is taught not to answer."""
    entity = invent(rng.choice(list(kinds())), rng, 1, [], [])
    question = ask(kinds()[entity.kind][next(iter(entity.facts))], entity.name, rng)
    return [
        {"role": "system", "content": CLOSED_BOOK},
        {"role": "user", "content": build_prompt(question, [])},
        {"role": "assistant", "content": "I do not know."},
    ]
