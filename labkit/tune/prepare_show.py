"""See what a row teaches, token by token, and what a length limit would cut off. Introduced in 07_prepare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from labkit.tune.prepare import IGNORED, Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEARNED, READ = "background:#F6C9A8;color:#000", "background:#E8E8E8;color:#555"


@dataclass(frozen=True)
class Masked:
    """The tokens of a row as text, each with whether its loss counts; a notebook shows them coloured.

    Learned tokens are bold as well, for those who see no colour and for pages that strip it.
    """

    tokens: list[tuple[str, bool]]

    @property
    def share(self) -> float:
        """Share of the tokens that are learned."""
        return sum(learned for _, learned in self.tokens) / len(self.tokens)

    def __repr__(self) -> str:
        counts = f"{sum(learned for _, learned in self.tokens)} of {len(self.tokens)} tokens are learned: "
        return counts + "|".join(text for text, learned in self.tokens if learned)

    def _repr_html_(self) -> str:
        return f"<p style='line-height:2;text-align:left'>{' '.join(_cell(*token) for token in self.tokens)}</p>"


def _cell(text: str, learned: bool) -> str:
    shown = escape(text.replace(" ", "·").replace("\n", "⏎"))
    name, look = ("b", LEARNED) if learned else ("span", READ)
    return f"<{name} style='{look};padding:2px'>{shown}</{name}>" + ("<br>" if "\n" in text else "")


def masked(row: Row, tokenizer: PreTrainedTokenizerBase) -> Masked:
    """Every token of a row and whether it is learned; a space is shown as a dot, half a character as a lozenge.

    >>> masked(rows[0], tokenizer).share
    0.5
    """
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    return Masked([(tokenizer.decode([token]), label != IGNORED) for token, label in pairs])


@dataclass(frozen=True)
class Cut:
    """What cutting rows at `limit` tokens would do to them, by row number.

    `over` are longer; of these `shortened` lose a part of what is learned, its end too, and `emptied` all of it.
    """

    limit: int
    rows: int
    over: list[int]
    shortened: list[int]
    emptied: list[int]

    def __str__(self) -> str:
        if not self.over:
            return f"at {self.limit} tokens: all {self.rows} rows fit"
        return (
            f"at {self.limit} tokens: {len(self.over)} of {self.rows} rows are too long; cut, {len(self.shortened)} "
            f"would never learn where an answer ends, and {len(self.emptied)} nothing at all"
        )


def cut(rows: Sequence[Row], limit: int) -> Cut:
    """What `truncation=True` at `limit` tokens would do; `labkit.tune.prepare.dataset` refuses or drops instead.

    >>> print(cut(rows, 64))
    at 64 tokens: 2 of 48 rows are too long; cut, 2 would never learn where an answer ends, and 0 nothing at all
    """
    over = [n for n, row in enumerate(rows) if len(row["input_ids"]) > limit]
    taken = [n for n in over if any(label != IGNORED for label in rows[n]["labels"][limit:])]
    emptied = [n for n in taken if all(label == IGNORED for label in rows[n]["labels"][:limit])]
    return Cut(limit, len(rows), over, [n for n in taken if n not in emptied], emptied)
