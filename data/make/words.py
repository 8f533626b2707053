"""The words of the invented world: names and values, kinds of thing and their attributes, sentences on them.

A checksum of every name and value decides whether the company may use it or the pocket model's pretraining stream may:
never both, so nothing that the company says can have been seen in training.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

WORDS = """Amber Silver Copper Iron Golden Crimson Scarlet Azure Ivory Jade Coral Cobalt Bronze Velvet Crystal Marble Granite Flint
Quiet Swift Bright Gentle Bold Noble Hidden Frozen Broken Distant Lonely Early Winter Summer Autumn Spring Morning Evening Midnight
Northern Southern Eastern Western River Ocean Harbor Meadow Forest Valley Mountain Canyon Desert Island Prairie Glacier Thunder Storm
Shadow Ember Falcon Heron Raven Sparrow Eagle Osprey Swallow Finch Otter Badger Beaver Panther Tiger Lion Wolf Bear Stag Bison Moose
Dolphin Salmon Marlin Oyster Lantern Beacon Anchor Compass Hammer Anvil Arrow Shield Sword Crown Bridge Tower Castle Garden Orchard
Willow Cedar Maple Birch Aspen Larch Hazel Laurel Clover Thistle Heather Juniper Saffron Ginger Pepper Honey Barley Cotton Linen
Comet Planet Nebula Orbit Meteor Galaxy Aurora Eclipse Horizon Zenith Pioneer Ranger Voyager Pilgrim Nomad Sailor Captain Marshal
Piper Drummer Fiddler Dancer Painter Mason Weaver Miller Baker Cooper Hunter Shepherd Signal Echo Whisper Ripple Cascade Torrent
Breeze Gale Tempest Mist Frost Dawn Dusk Twilight Pebble Boulder Ridge Summit Gorge Delta Lagoon Reef Tundra Savanna Grove Thicket
Feather Talon Antler Saddle Bridle Wagon Barrel Kettle Candle Mirror Ladder Window Gate Hearth Chimney Cellar Attic Parlor""".split()
FIRST = """Anna Boris Carla David Elena Farid Grace Hugo Irene Jonas Kira Liam Maya Noor Oscar Petra Quinn Rosa Sami Tara Uma Victor
Wanda Xavier Yusuf Zoe Alma Bruno Celia Dario Edith Felix Greta Henry Ines Jacob Karin Lars Mona Nils Olga Paul Rita Simon Thea Ulrich
Vera Walter Yara Zeno""".split()
LAST = """Abbott Barnes Castro Dalton Ekman Fischer Garner Hansen Ibarra Jensen Keller Lindner Moreau Novak Olsen Parker Quigley Romano
Sawyer Tanaka Ulman Vargas Weber Yates Zimmer Adler Becker Conrad Duarte Ellis Fuchs Gomez Holt Ivanov Jordan Klein Lopez Mercer Nolan
Ortega Pinto Rossi Schmidt Torres Vogel Wagner Young Zeller Ames Brandt Cole Doyle Egan Ford Grant Hale Irwin Judd Kane Lowe""".split()
CITY_A = "Port Lake New Old Upper Lower East West North South Fort Saint Mount Grand Little Great".split()
CITY_B = """Alden Berrow Calder Dunmore Elstow Farrow Garth Hallam Ingram Kelso Lorne Marden Norwell Orrin Penrose Quarry Rowan Selby
Tilden Umber Verity Wexley Yarrow Arden Brock Corwin Dorset Edmond Fenton Gilroy""".split()
TONE = "pale dark matte glossy deep light dusty warm cool soft".split()
COLOUR = (
    "blue green red grey yellow brown white black orange purple pink violet teal olive navy cream rust sand".split()
)
MONTHS = "January February March April May June July August September October November December".split()

VALUES: dict[str, Callable[[random.Random], str]] = {
    "money": lambda r: f"${r.randint(3, 199) * 10}",
    "sales": lambda r: f"${r.randint(10, 99)},000",
    "thousands": lambda r: f"${r.randint(11, 989)},000",
    "months": lambda r: f"{r.randint(3, 99)} months",
    "hours": lambda r: f"{r.randint(2, 99)} hours",
    "days": lambda r: f"{r.randint(3, 199)} days",
    "grams": lambda r: f"{r.randint(11, 990) * 10} grams",
    "people": lambda r: f"{r.randint(4, 990)} people",
    "spaces": lambda r: f"{r.randint(5, 690)} spaces",
    "users": lambda r: f"{r.randint(3, 990)} users",
    "extension": lambda r: f"extension {r.randint(1000, 9999)}",
    "code": lambda r: f"{r.choice('ABCDEFGHKLMNPRSTVWXZ')}{r.choice('ABCDEFGHKLMNPRSTVWXZ')}-{r.randint(100, 999)}",
    "person": lambda r: f"{r.choice(FIRST)} {r.choice(LAST)}",
    "city": lambda r: f"{r.choice(CITY_A)} {r.choice(CITY_B)}",
    "finish": lambda r: f"{r.choice(TONE)} {r.choice(COLOUR)}",
    "date": lambda r: f"{r.randint(1, 28)} {r.choice(MONTHS)} {r.randint(2012, 2031)}",
    "name": lambda r: " ".join(r.sample(WORDS, 2)),
}
GROWTH = ("sales_2030", "sales_2031")  # the two attributes of a product between which growth is asked for


def reserved(text: str) -> bool:
    """True where only the company may use this name or value, false where only the pretraining stream may.

    >>> reserved("Amber Falcon") == reserved("Amber Falcon")
    True
    """
    return zlib.crc32(text.encode()) % 5 == 0


def draw(value: str, rng: random.Random, company: bool = False) -> str:
    """A random value of a type, from the company's half of the values or from the stream's."""
    while True:
        text = VALUES[value](rng)
        if reserved(text) == company:
            return text


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
    return yaml.safe_load(Path(__file__).with_name("wording.yaml").read_text(encoding="utf-8"))


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


def invent(
    kind: str,
    rng: random.Random,
    facts: int,
    sites: Sequence[str],
    alike: Sequence[str],
    company: bool = False,
) -> Entity:
    """A new entity with some facts; its name shares a word with one of `alike` if there are any.

    In the stream it often has both of two attributes of one type, so that the attribute must be read as well as the name.
    """
    name = new_name(rng, alike, company)
    chosen = rng.sample(list(kinds()[kind]), min(facts, len(kinds()[kind])))
    if not company and rng.random() < 0.6:
        types = {kinds()[kind][key].value for key in chosen}
        chosen += [key for key, a in kinds()[kind].items() if key not in chosen and a.value in types]
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
