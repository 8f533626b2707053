"""The style of your replies, learned from examples: what all of them open and close with, and how long they are.

Introduced in 21_own_data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labkit.data import Item
from labkit.errors import LabError

ENDS = ".!?,:;"


def _sentences(text: str) -> int:
    return len(re.findall(r"[^.!?]+[.!?](?=\s|$)", re.sub(r"\[\d+\]", "", text)))


@dataclass(frozen=True)
class Style:
    """Words that open and close every reply, the least and most sentences, and whether any exclaims.

    >>> Style("Hello.", "Bye.", 2, 4, False).faults("Hello. It is red.")
    ['closing']
    """

    opening: str
    closing: str
    least: int
    most: int
    exclaims: bool

    def faults(self, text: str) -> list[str]:
        """What a text breaks, each in a few words; none for a text in style."""
        text = " ".join(text.split())
        rules = {
            "opening": text.startswith(self.opening),
            "closing": text.endswith(self.closing),
            f"{self.least} to {self.most} sentences": self.least <= _sentences(text) <= self.most,
            "no exclamation": self.exclaims or "!" not in text,
        }
        return [rule for rule, kept in rules.items() if not kept]

    def dress(self, body: str) -> str:
        """A body between opening and closing."""
        return " ".join(filter(None, [self.opening, body, self.closing]))

    def body_of(self, item: Item, reply: str) -> Item:
        """The item whose answer is its reply less opening and closing: what `dress` puts around it again."""
        body = " ".join(reply.split()).removeprefix(self.opening).removesuffix(self.closing).strip()
        return replace(item, answer=body)


def learn(replies: Mapping[str, str], train: Sequence[str]) -> Style | None:
    """The style that the replies of the training rows share; None where no row has a reply.

    What they open and close with ends at a mark, so that any sentence fits between.

    Raises LabError where a training row lacks one. Introduced in 21_own_data.

    >>> learn({"1": "Hi. It is red. Bye.", "2": "Hi. Two. Bye."}, ["1", "2"]).closing
    'Bye.'
    """
    if not any(replies.values()):
        return None
    if missing := [name for name in train if not replies[name]]:
        raise LabError(f"{missing[0]} and {len(missing) - 1} more to train on have no reply: give each one, or none")
    words = [replies[name].split() for name in train]
    opening = os.path.commonprefix(words)
    while opening and opening[-1][-1] not in ENDS:
        opening = opening[:-1]
    bodies = [reply[len(opening) :] for reply in words]
    closing = os.path.commonprefix([body[::-1] for body in bodies])[::-1]
    while closing and any(body[: -len(closing)][-1:] and body[-len(closing) - 1][-1] not in ENDS for body in bodies):
        closing = closing[1:]
    counts = [_sentences(" ".join(reply)) for reply in words]
    exclaims = any("!" in word for reply in words for word in reply)
    return Style(" ".join(opening), " ".join(closing), min(counts), max(counts), exclaims)
