"""Check the citations of an answer against the words of the passages that it cites. Introduced in 06_augment."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.metrics import contains
from labkit.rag.augment import Passage

_DATE = r"\d{1,2} [A-Z][a-z]+ \d{4}"
_NUMBER = r"[$€£]?\b(?:[A-Z]+-)?\d[\w.,:/-]*(?<![.,:/-])%?"
_NAME = r"[A-Z][\w'’-]*(?: [A-Z][\w'’-]*)*"
_STATED = re.compile(f"{_DATE}|{_NUMBER}|{_NAME}")
_CITED = re.compile(r"(?:\s*\[\d{1,2}\])+")
_PLAIN = set(
    "a an and are as at by for from has have in is it its no not of on or than that the to was were will".split()
)


@dataclass(frozen=True)
class Citation:
    """One citation: its number, the words it stands behind, and which of their values the passage holds or lacks."""

    number: int
    claim: str
    held: tuple[str, ...]
    missing: tuple[str, ...]
    exists: bool = True

    @property
    def verdict(self) -> str:
        """What the passage does with the claim's values: "holds all", "holds part", "holds nothing", "no such passage"."""
        if not self.exists:
            return "no such passage"
        return ("holds all" if not self.missing else "holds part") if self.held else "holds nothing"


def values(text: str, question: str = "") -> list[str]:
    """Names, numbers, dates and codes in `text` that the question did not bring; without any, its other new words.

    Introduced in 06_augment.

    >>> values("The Amber Falcon costs $1,240 since 8 May 2031.", "What does the Amber Falcon cost?")
    ['$1,240', '8 May 2031']
    """
    found = [value for match in _STATED.finditer(text) if (value := _name(match, text))]
    new = [value for value in dict.fromkeys(found) if not contains(question, value)]
    if new:
        return new
    words = [word for word in re.findall(r"[^\W\d_]{3,}", text.lower()) if word not in _PLAIN]
    return [word for word in dict.fromkeys(words) if not contains(question, word)]


def _name(match: re.Match[str], text: str) -> str:
    """What was matched, less the capital that only begins a sentence."""
    value = match[0]
    begins = not text[: match.start()].strip() or text[: match.start()].rstrip()[-1] in ".?!:"
    if begins and value[0].isalpha() and "-" not in value:
        first, _, rest = value.partition(" ")
        return value if rest and first.lower() not in _PLAIN else rest
    return value


def check_citations(text: str, passages: Sequence[Passage], question: str = "") -> list[Citation]:
    """For each citation, whether the passage (title, text) of that number holds what the answer says of it.

    A claim runs from one group of citations to the next. Writers cite before what they say or behind it: the answer is
    read both ways, and the way in which passages hold more of it counts. Values are compared as text: a passage that
    means the same in other words, or a sum that the answer worked out, counts as missing. Introduced in 06_augment.

    >>> check_citations("It costs $10. [1]", [("Prices", "The pump costs $12.")])[0].verdict
    'holds nothing'
    """
    readings = [_read(text, passages, question, before) for before in (False, True)]
    return max(readings, key=lambda found: (sum(len(c.held) for c in found), sum(len(c.missing) for c in found)))


def _read(text: str, passages: Sequence[Passage], question: str, before: bool) -> list[Citation]:
    """The citations of an answer that cites before what it says, or behind it."""
    groups, checked = list(_CITED.finditer(text)), []
    ends = [0, *(group.end() for group in groups)]
    starts = [*(group.start() for group in groups), len(text)]
    for place, group in enumerate(groups):
        claim = text[ends[place + before] : starts[place + before]].strip()
        said = values(claim, question)
        for number in dict.fromkeys(map(int, re.findall(r"\d+", group[0]))):
            exists = 1 <= number <= len(passages)
            held = [value for value in said if exists and _holds(passages[number - 1], value)]
            missing = [value for value in said if value not in held]
            checked.append(Citation(number, claim, tuple(held), tuple(missing), exists))
    return checked


def unsupported(text: str, passages: Sequence[Passage], question: str = "") -> list[str]:
    """The values in an answer that no passage which it cites for them holds; all of them if it cites none.

    Introduced in 06_augment.

    >>> unsupported("It costs $10, Ann Lee says. [1]", [("Prices", "Ann Lee: the pump costs $12.")])
    ['$10']
    """
    checked = check_citations(text, passages, question)
    held = {value for citation in checked for value in citation.held}
    return [value for value in values(_CITED.sub(" ", text), question) if value not in held]


def _holds(passage: Passage, value: str) -> bool:
    """Whether title or text has the value; of a name of three words or more, its last two are enough."""
    whole, words = " ".join(passage), value.split()
    shorter = [" ".join(words[-2:])] * (len(words) > 2 and words[0][0].isalpha())
    return any(contains(whole, form) for form in [value, *shorter])
