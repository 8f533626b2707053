"""The endless stream of conversations that teaches the pocket model to read, and its curriculum.

From bare lists to chunks about look-alikes. Nothing here touches the company: every name and value is of the stream's
half (`words.reserved`). A conversation asks several questions of one set of passages, so that each passage read pays
several times.
"""

import random
import re
from functools import cache

from data.make.scenes import Level, Scene, Turn
from data.make.words import (
    VALUES,
    Entity,
    answer,
    ask,
    draw,
    invent,
    kinds,
    new_name,
    number,
    refer,
    say,
    shown,
    unit,
    wording,
    wordings,
)
from labkit.model import Message
from labkit.rag.augment import ABSTAIN, CLOSED_BOOK, FORMS, FRAMED, build_prompt

LEVELS = (
    Level((1, 1), (1, 1), 1, 1, drill=1.0),
    Level((1, 1), (1, 3), 1, 3, ("sentence", "sentence", "value"), drill=0.25),
    Level((1, 1), (1, 3), 1, 3, ("sentence", "value", "cited"), (60, 120), 0.2, drill=0.9),
    Level((1, 2), (2, 4), 2, 5, ("value", "cited", "sentence"), (60, 120), 0.2, 0.0, 0.3, 0.3, drill=0.9),
    Level((1, 2), (2, 4), 2, 5, ("value", "cited", "sentence"), (60, 120), 0.1, 0.0, 0.3, 0.3, 0.35, 0.02),
    Level((1, 4), (2, 5), 4, 8, ("value", "cited", "cited", "framed", "sentence"), (40, 100), 0.2, 0.2, 0.5, 0.4, 0.3, 0.03),
    Level(
        (2, 6), (3, 8), 5, 10, ("cited", "cited", "where", "where", "framed", "value", "sentence", "bullet", "json"),
        (30, 95), 0.25, 0.25, 0.5, 0.4, 0.45, 0.03,
    ),
)  # fmt: skip
WHERE = "Answer with the number of the passage only."
LONG = Level((6, 14), (3, 8), 14, 10, LEVELS[-1].forms, (40, 160), 0.25, 0.25, 0.5, 0.4, 0.0)


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


def drill(rng: random.Random, level: Level) -> list[Message]:
    """A bare list of names and values, asked for name by name: the shortest way to learn looking up and copying.

    Most replies repeat the line, so that the value follows the name as it does in the list. Above the first level the
    list may lie in several passages, whose number the reply cites or is, lack the name asked for, or hold two figures to
    compare.
    """
    first = not level.abstain
    if level.several and (choice := rng.random()) < 0.75:
        return _sums(rng) if choice < 0.45 else _facts(rng)
    kinds_of_value = [*VALUES, *["code"] * (0 if first else len(VALUES))]  # a code's letters are rare tokens
    names = {draw("name", rng): draw(rng.choice(kinds_of_value), rng) for _ in range(rng.randint(2, 8))}
    gap = rng.choice([":", " |", " is", ","])
    weights = [0.7, 0.3, 0.0, 0.0] if first else [0.1, 0.1, 0.4, 0.4]
    form = rng.choices(["sentence", "value", "cited", "where"], weights)[0]
    lines = {name: f"{name}{gap} {value}" for name, value in names.items()}
    groups = _split(list(names), rng, 1 if first else 5)
    source = {name: i for i, group in enumerate(groups, start=1) for name in group}
    replies = {
        n: {"sentence": lines[n], "value": v, "cited": f"[{source[n]}] {lines[n]}", "where": f"[{source[n]}]"}[form]
        for n, v in names.items()
    }
    for _ in range(0 if first else rng.randint(0, 4)):
        replies.setdefault(new_name(rng, list(names)), ABSTAIN)
    passages = [("List", " ; ".join(lines[name] for name in group)) for group in groups]
    return _rounds(form, passages, {f"{n}?": replies[n] for n in rng.sample(list(replies), len(replies))})


def _split(names: list[str], rng: random.Random, most: int) -> list[list[str]]:
    """Cut a list into at most `most` pieces, none of them empty."""
    cuts = sorted(rng.sample(range(1, len(names)), min(len(names) - 1, rng.randint(0, most - 1))))
    return [names[a:b] for a, b in zip([0, *cuts], [*cuts, len(names)], strict=True)]


def _facts(rng: random.Random) -> list[Message]:
    """Sentences or lines of `label of the entity: value` about look-alikes, asked by entity and attribute: both must match.

    Each line read is asked for, so that choosing among look-alikes is supervised as densely as looking up was. Some
    questions ask for what no line says.
    """
    kind = rng.choice(list(kinds()))
    entities: dict[str, Entity] = {}
    for _ in range(rng.randint(2, 5)):
        entity = invent(kind, rng, rng.randint(2, 4), [], list(entities) * (rng.random() < 0.6))
        entities.setdefault(entity.name, entity)
    facts = [(e, kinds()[kind][a]) for e in entities.values() for a in e.facts]
    rng.shuffle(facts)
    labels = {(e.name, a.name): f"{rng.choice(a.labels)} of {e.reference}" for e, a in facts}
    natural, prose = rng.random() < 0.6, rng.random()
    lines = {}
    for (name, key), label in labels.items():
        a, value = kinds()[kind][key], entities[name].facts[key]
        told = natural and rng.random() < prose
        lines[name, key] = say(a, name, value, rng) if told else f"{label}: {shown(a, value)}"
    groups = _split(list(lines), rng, 5)
    source = {key: i for i, group in enumerate(groups, start=1) for key in group}
    form = rng.choice(["cited", "cited", "where", "where", "sentence", "value"])
    replies = {}
    for e, a in rng.sample(facts, min(len(facts), 10)):
        key, value = (e.name, a.name), e.facts[a.name]
        said = answer(a, e.name, value) if natural else lines[key]
        question = ask(a, e.name, rng) if natural else f"{labels[key]}?"
        mark = f"[{source[key]}]"
        replies[question] = {"sentence": said, "value": value, "cited": f"{mark} {said}", "where": mark}[form]
    for _ in range(rng.randint(0, 6)):
        e, a = rng.choice(facts)[0], rng.choice(list(kinds()[kind].values()))
        name = new_name(rng, list(entities)) if rng.random() < 0.5 else e.name
        if name not in entities or a.name not in entities[name].facts:
            question = ask(a, name, rng) if natural else f"{rng.choice(a.labels)} of {refer(kind, name)}?"
            replies[question] = ABSTAIN
    passages = [("List", "\n".join(lines[key] for key in group)) for group in groups]
    return _rounds(form, passages, dict(rng.sample(list(replies.items()), len(replies))))


def _sums(rng: random.Random) -> list[Message]:
    """Rows of two figures, mostly bare ones of any two up to 99; the reply repeats both and says by how much they differ."""
    kind = rng.choice([*["bare"] * 8, "sales", "money", "months", "people"])
    zeros = ",000" * (kind == "bare" and rng.random() < 0.8)
    pound = "£" if zeros and rng.random() < 0.6 else ""
    pairs = [
        [draw(kind, rng) if kind in VALUES else f"{pound}{rng.randint(1, 99)}{zeros}" for _ in "ab"]
        for _ in range(rng.randint(3, 12))
    ]
    rows = {draw("name", rng): pair for pair in pairs}
    replies = {}
    for name, (a, b) in rows.items():
        way = "rose" if number(b) > number(a) else "fell"
        replies[f"{name}?"] = f"From {a} to {b}: {way} by {unit(a, abs(number(b) - number(a)))}."
    lines = " ; ".join(f"{name} | {a} | {b}" for name, (a, b) in rows.items())
    return _rounds("sentence", [("List", f"Name | 2030 | 2031 ; {lines}")], replies)


def _rounds(form: str, passages: list[tuple[str, str]], replies: dict[str, str]) -> list[Message]:
    messages = [{"role": "system", "content": WHERE if form == "where" else FORMS[form]}]
    for asked, reply in replies.items():
        messages.append({"role": "user", "content": build_prompt(asked, passages)})
        messages.append({"role": "assistant", "content": reply})
        passages = []
    return messages


def review_set(rng: random.Random, held: bool | None = False, company: bool = False) -> tuple[list, str, str]:
    """Reviews of one product as (title, text), a question for their summary, and the summary in one sentence."""
    forms, name = wording()["reviews"], draw("name", rng, company)
    good, bad = rng.sample(forms["aspects"], 2)
    wanted = rng.choice(["answer", "answer", "only_good", "only_bad"])
    reviews = []
    for _ in range(rng.randint(2, 5)):
        said = [(forms["praise"], good)] * (wanted != "only_bad") + [(forms["complaint"], bad)] * (
            wanted != "only_good"
        )
        said = rng.sample(said, rng.randint(1, len(said))) if reviews else said
        lines = [rng.choice(wordings(f, held)).format(aspect=a, e=refer("product", name)) for f, a in said]
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(forms["neutral"]))
        reviews.append((rng.choice(forms["titles"]).format(name=name), " ".join(lines)))
    rng.shuffle(reviews)
    slots = {"e": refer("product", name), "good": good, "bad": bad}
    question = rng.choice(wordings(forms["asks"], held)).format(**slots)
    return reviews, question, forms[wanted].format(**slots)


def reviews(rng: random.Random) -> list[Message]:
    """A conversation that sums up a set of reviews."""
    passages, question, summary = review_set(rng)
    return _rounds("sentence", passages, {question: summary})
