"""Names and values of the invented world, in two disjoint halves.

A CRC of every name and value decides whether the company may use it or the pocket model's pretraining stream may:
never both, so nothing that the company says can have been seen in training. Introduced in 00_start.
"""

import random
import zlib
from collections.abc import Callable

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
