"""The stream never meets the company, and every answer it teaches can be read off the passages it shows."""

import json
import random
import re

import pytest

from data.make.facts import make_company
from data.make.scenes import Scene
from data.make.stream import LEVELS, conversation, written
from data.make.words import VALUES, draw, held_out, kinds, new_name, refer, reserved, wordings
from labkit.metrics import contains
from labkit.rag.augment import ABSTAIN, FORMS, cited

COMPANY = make_company()
NAMES = {name for _, name in COMPANY.before}
VALUES_SAID = {fact.value for fact in COMPANY.facts() + COMPANY.facts(updated=True)}
CONVERSATIONS = 20_000


def scenes(count: int, seed: str):
    rng = random.Random(seed)
    return (Scene(rng.choice(LEVELS), rng) for _ in range(count))


def turns(count: int):
    return ((scene, scene.turn()) for scene in scenes(count, "turns") for _ in range(scene.level.turns))


@pytest.mark.slow
def test_no_name_or_value_of_the_company_is_streamed():
    names, values = set(), set()
    for scene in scenes(CONVERSATIONS, "decontamination"):
        names |= {entity.name for entity in scene.entities}
        values |= {value for entity in scene.entities for value in entity.facts.values()}
    assert len(names) > 10_000 and len(values) > 20_000
    assert names.isdisjoint(NAMES | VALUES_SAID) and values.isdisjoint(NAMES | VALUES_SAID)
    assert not [text for text in names | values if reserved(text)]


def test_no_name_of_the_company_stands_in_a_streamed_text():
    """Names in questions without an answer, and two words that merely meet, count too."""
    rng = random.Random("texts")
    for _ in range(2_000):
        for message in conversation(rng, rng.choice(LEVELS)):
            pairs = re.findall(r"(?=\b([A-Z][a-z]+ [A-Z][a-z]+)\b)", message["content"])
            assert NAMES.isdisjoint(pairs)


@pytest.mark.parametrize("value", VALUES)
def test_values_are_drawn_from_one_half_only(value):
    rng = random.Random(value)
    assert all(reserved(draw(value, rng, company=True)) for _ in range(200))
    assert not any(reserved(draw(value, rng)) for _ in range(200))


def test_names_alike_are_of_the_same_half():
    rng = random.Random("alike")
    for name in sorted(NAMES):
        assert reserved(new_name(rng, [name], company=True)) and not reserved(new_name(rng, [name]))


def test_an_answer_stands_in_the_passages_that_it_cites():
    for scene, turn in turns(600):
        if turn.skill == "missing":
            continue
        texts = [scene.passages[source - 1].text for source in turn.sources]
        assert turn.sources and turn.text and turn.value
        if turn.skill == "single":
            assert contains(texts[0], turn.value) and contains(turn.text, turn.value)
        elif turn.skill == "hop":
            assert contains(texts[-1], turn.value) and contains(turn.text, turn.value)


def test_what_no_passage_states_has_no_source():
    missing = [(scene, turn) for scene, turn in turns(900) if turn.skill == "missing"]
    assert len(missing) > 100
    for _, turn in missing:
        assert (turn.value, turn.text, turn.sources) == (None, ABSTAIN, ())
        assert all(written(turn, form) == ABSTAIN for form in FORMS if form != "json")
        assert json.loads(written(turn, "json")) == {"source": None, "answer": None}


def test_a_missing_question_asks_for_nothing_that_is_stated():
    for scene, turn in turns(900):
        for entity, key, _ in scene.stated if turn.skill == "missing" else []:
            forms = kinds()[entity.kind][key].asks
            assert not any(form.format(e=entity.reference).lower() in turn.question.lower() for form in forms)


def test_every_form_of_an_answer_says_the_value_and_cites_by_number():
    for _, turn in turns(100):
        if turn.value:
            bullets = written(turn, "bullet").replace("\n- ", ", ")
            assert all(
                contains(said, turn.value) for said in [bullets, *(written(turn, f) for f in FORMS if f != "bullet")]
            )
            assert cited(written(turn, "cited")) == list(dict.fromkeys(turn.sources))
            assert json.loads(written(turn, "json"))["source"] == turn.sources[0]


def test_all_kinds_of_questions_are_taught():
    assert {turn.skill for _, turn in turns(400)} == {"single", "missing", "hop", "compare", "growth", "list"}


def test_the_same_seed_streams_the_same():
    def text(seed):
        rng = random.Random(seed)
        return [conversation(rng, level) for level in LEVELS for _ in range(5)]

    assert text(1) == text(1) != text(2)


def sentence_like(attribute, form):
    """What a form looks like in lower case, with any name and any value in it."""
    entity = re.escape(refer(attribute.kind, "NAME").lower()).replace("name", "[a-z]+ [a-z]+")
    value = r"(?:the [a-z]+ [a-z]+ site|[a-z]+-\d+|extension \d+|\$[\d,]+|\d+ [a-z]+(?: \d{4})?|[a-z]+ [a-z]+)"
    slots = {r"\{e\}": entity, r"\{v\}": value, r"\{a\}": entity, r"\{b\}": entity}
    pattern = re.escape(form.lower())
    for slot, meaning in slots.items():
        pattern = pattern.replace(slot, meaning)
    return re.compile(rf"(?:^|[.?;,] ){pattern}")


def test_held_out_wordings_are_never_streamed():
    """No statement or question of the stream is in a wording that is held out, whatever stands in its slots."""
    lists = [
        (a, forms) for of in kinds().values() for a in of.values() for forms in (a.says, a.asks, a.compare) if forms
    ]
    held = [sentence_like(a, form) for a, forms in lists for form in held_out(forms)]
    used = [sentence_like(a, form) for a, forms in lists for form in wordings(forms)[:1]]
    rng = random.Random("held out")
    text = "\n".join(m["content"] for _ in range(600) for m in conversation(rng, LEVELS[-1])).lower()
    assert len(held) > 80 and sum(bool(pattern.search(text)) for pattern in used) > len(used) * 0.7
    assert not [pattern.pattern for pattern in held if pattern.search(text)]
