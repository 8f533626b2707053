"""The invented world: kinds of entity, their attributes, and the sentences that state and ask them.

Introduced in 00_start.
"""

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import yaml

GROWTH = ("sales_2030", "sales_2031")  # the two attributes of a product between which growth is asked for


@dataclass(frozen=True)
class Attribute:
    """One thing that can be said of a kind of entity, with all its wordings."""

    kind: str
    name: str
    value: str
    labels: tuple[str, ...]
    says: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str
    compare: tuple[str, ...] = ()
    more: str = ""

    @property
    def key(self) -> str:
        """Unique name, e.g. `product.price`."""
        return f"{self.kind}.{self.name}"


@dataclass(frozen=True)
class Entity:
    """A named thing and its facts: attribute name to value."""

    kind: str
    name: str
    facts: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def reference(self) -> str:
        """How a sentence names it, e.g. `the Amber Falcon`."""
        return refer(self.kind, self.name)


@cache
def wording() -> dict:
    """The sentence forms of `wording.yaml`."""
    return yaml.safe_load((files("labkit.world") / "wording.yaml").read_text(encoding="utf-8"))


@cache
def kinds() -> dict[str, dict[str, Attribute]]:
    """Attributes by kind of entity and name."""
    return {
        kind: {name: _attribute(kind, name, entry) for name, entry in entry["attributes"].items()}
        for kind, entry in wording().items()
        if isinstance(entry, dict) and "attributes" in entry
    }


def _attribute(kind: str, name: str, entry: dict) -> Attribute:
    compare = entry.get("compare", {})
    return Attribute(
        kind,
        name,
        entry["value"],
        tuple(entry["label"]),
        tuple(entry["says"]),
        tuple(entry["asks"]),
        entry["answer"],
        tuple(compare.get("asks", ())),
        compare.get("more", ""),
    )


@cache
def held_out(forms: tuple[str, ...]) -> frozenset[str]:
    """The tenth of a list of wordings (one at least) that the stream never uses, told by checksum and not by place.

    The form of an answer is never among them, because the stream's answers use it.
    """
    free = [form for form in forms if form not in _answers()]
    ranked = sorted(free, key=lambda form: zlib.crc32(form.encode()))
    return frozenset(ranked[: max(1, len(forms) // 10)])


@cache
def _answers() -> frozenset[str]:
    return frozenset(attribute.answer for group in kinds().values() for attribute in group.values())


def wordings(forms: Sequence[str], held: bool | None = False) -> list[str]:
    """The wordings that the stream uses (False), those held out (True), or all (None)."""
    kept = held_out(tuple(forms))
    return [form for form in forms if held is None or (form in kept) == held]


def refer(kind: str, name: str) -> str:
    """The entity as it stands in a sentence."""
    return wording()[kind]["reference"].format(name=name)


def number(text: str) -> int:
    """The number in a value such as `$1240` or `18 months`."""
    return int("".join(filter(str.isdigit, text)))


def shown(attribute: Attribute, value: str) -> str:
    """The value as it stands in a sentence: a site's name becomes a reference to it."""
    return refer("site", value) if attribute.value == "site" else value


def sentence(form: str, **slots: str) -> str:
    """Fill a sentence form and begin it with a capital letter."""
    return capital(form.format(**slots))


def answer(attribute: Attribute, name: str, value: str) -> str:
    """The full sentence that answers a question for a fact."""
    return sentence(attribute.answer, e=refer(attribute.kind, name), v=shown(attribute, value))


def compared(attribute: Attribute, a: Entity, b: Entity) -> tuple[str, str]:
    """The sentence that compares two entities, both values first, and the name of the larger."""
    first, second = a.facts[attribute.name], b.facts[attribute.name]
    larger = a if number(first) > number(second) else b
    gap = unit(first, abs(number(first) - number(second)))
    return (
        f"{capital(first)} against {second}: {attribute.more.format(a=larger.reference)}, by {gap}.",
        larger.name,
    )


def grown(a: Entity) -> tuple[str, str]:
    """The sentence that reports how the sales of a product changed between two years, both figures first, and the change."""
    first, last = (a.facts[key] for key in GROWTH)
    gap = unit(first, abs(number(last) - number(first)))
    way = "rose" if number(last) > number(first) else "fell"
    return f"From {first} to {last}: sales of {a.reference} {way} by {gap}.", gap


def unit(like: str, amount: int) -> str:
    """An amount written in the unit of another value, e.g. `$120`, `£3,000` or `30 grams`."""
    sign = like[0] if like[0] in "$£" else ""
    if like.endswith(",000"):
        return f"{sign}{amount // 1000},000"
    return f"{amount} {like.split()[-1]}" if " " in like else f"{sign}{amount}"


def capital(text: str) -> str:
    """Begin with a capital letter, the rest as it is."""
    return text[0].upper() + text[1:]


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
    """Put a frame before a form; a form after a comma goes on in lower case unless it begins with a name."""
    if frame.endswith(", ") and not form.startswith("{"):
        form = form[0].lower() + form[1:]
    text = form.format(**slots)
    return frame + (text if frame.endswith(", ") else capital(text))
