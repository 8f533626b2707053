"""The style of your replies, learned from those of the training rows: how each opens and closes, and how long it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labkit.data import Item, sentences
from labkit.errors import LabError


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
            f"{self.least} to {self.most} sentences": self.least <= len(sentences(text)) <= self.most,
            "no exclamation": self.exclaims or "!" not in text,
        }
        return [rule for rule, kept in rules.items() if not kept]

    def dress(self, body: str) -> str:
        """A body between opening and closing."""
        return " ".join(filter(None, [self.opening, body, self.closing]))

    def body_of(self, item: Item, reply: str) -> Item:
        """The item whose answer is its reply without opening and closing: what `dress` puts around it again."""
        body = " ".join(reply.split()).removeprefix(self.opening).removesuffix(self.closing).strip()
        return replace(item, answer=body)


def learn(replies: Mapping[str, str], train: Sequence[str]) -> Style | None:
    """The style that the replies of the training rows share; None where no row has a reply.

    What they open and close with ends at a mark, so that any sentence fits between. Raises LabError where a training
    row lacks one.

    >>> learn({"1": "Hi. It is red. Bye.", "2": "Hi. Two. Bye."}, ["1", "2"]).closing
    'Bye.'
    """
    if not any(replies.values()):
        return None
    if missing := [name for name in train if not replies[name]]:
        raise LabError(f"{missing[0]} and {len(missing) - 1} more to train on have no reply: give each one, or none")
    ends, words = tuple(".!?,:;"), [replies[name].split() for name in train]
    opening = os.path.commonprefix(words)
    while opening and not opening[-1].endswith(ends):
        opening = opening[:-1]
    bodies = [reply[len(opening) :] for reply in words]
    closing = os.path.commonprefix([body[::-1] for body in bodies])[::-1]
    while closing and not all(body[-len(closing) - 1].endswith(ends) for body in bodies if len(body) > len(closing)):
        closing = closing[1:]
    counts = [len(sentences(" ".join(reply))) for reply in words]
    exclaims = any("!" in word for reply in words for word in reply)
    return Style(" ".join(opening), " ".join(closing), min(counts), max(counts), exclaims)
