"""Put what was retrieved into the prompt, check what the answer cites, and say why an answer is wrong."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.metrics import contains
from labkit.model import Message

if TYPE_CHECKING:
    import pandas as pd

Passage = tuple[str, str]
"""Title and text, as a prompt shows them."""

# How an answer should look, asked for in the system prompt.
FORMS = {
    "cited": "Answer from the documents and cite the source.",
    "sentence": "Answer in one sentence.",
    "value": "Answer with the value only.",
    "bullet": "Answer as a bullet point.",
    "json": "Answer as JSON.",
}
FRAMED = "Answer from the documents and cite the source. Begin with: {opening} End with: {closing}"
CLOSED_BOOK = "Answer the question."
ABSTAIN = "The documents do not say."

_DATE = r"\d{1,2} [A-Z][a-z]+ \d{4}"
_NUMBER = r"[$€£]?\b(?:[A-Z]+-)?\d[\w.,:/-]*(?<![.,:/-])%?"
_NAME = r"[A-Z][\w'’-]*(?: [A-Z][\w'’-]*)*"
_STATED = re.compile(f"{_DATE}|{_NUMBER}|{_NAME}")
_CITED = re.compile(r"(?:\s*\[\d{1,2}\])+")
_PLAIN = set(
    "a an and are as at by for from has have in is it its no not of on or than that the to was were will".split()
)

CAUSES = ("right", "model misread", "retrieval missed", "should have abstained")
SAID = ("right", "wrong", "declined")


def build_prompt(question: str, passages: Sequence[Passage]) -> str:
    """The user's message: numbered passages as (title, text), then the question; without passages only the question.

    >>> build_prompt("Why?", [("Notes", "Because.")])
    'Documents:\\n[1] Notes: Because.\\n\\nQuestion: Why?'
    """
    if not passages:
        return f"Question: {question}"
    numbered = "\n".join(f"[{i}] {title}: {_one_line(text)}" for i, (title, text) in enumerate(passages, start=1))
    return f"Documents:\n{numbered}\n\nQuestion: {question}"


def _one_line(text: str) -> str:
    """A passage without line breaks, which end passages in the prompt; ` ; ` where a line ended no sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(line + (" " if line[-1] in ".?!:;" else " ; ") for line in lines).rstrip(" ;")


def build_messages(
    question: str, passages: Sequence[Passage] = (), form: str = "cited", system: str | None = None
) -> list[Message]:
    """System and user message for one question over passages given as (title, text); `system` in place of a form."""
    return [
        {"role": "system", "content": system or (FORMS[form] if passages else CLOSED_BOOK)},
        {"role": "user", "content": build_prompt(question, passages)},
    ]


def cited(text: str) -> list[int]:
    """Numbers of the passages that an answer cites, in order, each once.

    >>> cited("It costs $10. [2][1] [2]")
    [2, 1]
    """
    return list(dict.fromkeys(int(n) for n in re.findall(r"\[(\d{1,2})\]", text)))


@dataclass(frozen=True)
class Fitted:
    """The passages that fit, best first; the number of the one that was cut, if any; how many were dropped."""

    passages: tuple[Passage, ...]
    tokens: int
    dropped: int = 0
    cut: int | None = None

    def __str__(self) -> str:
        losses = [f"the end of passage {self.cut} cut"] * (self.cut is not None)
        losses += [f"the last {self.dropped} dropped"] * bool(self.dropped)
        return f"{self.tokens} tokens, {len(self.passages)} passages: {', '.join(losses) or 'nothing left out'}"


def most_that_fit(count: int, tokens: Callable[[int], int], budget: int) -> int:
    """How many of `count` passages, best first, a prompt of at most `budget` tokens holds; `tokens` is its size with so many.

    Raises LabError where the question alone is too long.
    """
    if tokens(count) <= budget:
        return count
    if tokens(0) > budget:
        raise LabError(f"the question alone has {tokens(0)} tokens, the budget is {budget}: raise it or ask less")
    # More passages are more tokens: halving finds the most that fit with few calls of a slow tokenizer.
    return bisect_right(range(1, count + 1), budget, key=tokens)


def fit(
    question: str,
    passages: Sequence[Passage],
    budget: int,
    count: Callable[[list[Message]], int],
    cut: bool = False,
) -> Fitted:
    """As many passages, best first, as a prompt of at most `budget` tokens holds; never less than the question.

    `count` gives a conversation's tokens, as `Model.count` does. Whole passages are dropped from the end; with `cut`
    the first that is too long stays up to the last word that fits. Raises LabError where the question alone is too
    long.
    """

    def tokens(chosen: Sequence[Passage]) -> int:
        """The size of a prompt over these passages."""
        return count(build_messages(question, chosen))

    kept = most_that_fit(len(passages), lambda n: tokens(passages[:n]), budget)
    chosen = list(passages[:kept])
    if cut and kept < len(passages):
        title, text = passages[kept]
        starts = [text[: match.end()] for match in re.finditer(r"\S+", text)]
        fitting = bisect_right(starts, budget, key=lambda start: tokens([*chosen, (title, start)]))
        chosen += [(title, start) for start in starts[:fitting][-1:]]
    shortened = kept + 1 if len(chosen) > kept else None
    return Fitted(tuple(chosen), tokens(chosen), len(passages) - len(chosen), shortened)


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

    >>> values("The Amber Falcon costs $1,240 since 8 May 2031.", "What does the Amber Falcon cost?")
    ['$1,240', '8 May 2031']
    """
    stated = [value for match in _STATED.finditer(text) if (value := _name(match, text))]
    new = [value for value in dict.fromkeys(stated) if not contains(question, value)]
    if new:
        return new
    words = [word for word in re.findall(r"[^\W\d_]{3,}", text.lower()) if word not in _PLAIN]
    return [word for word in dict.fromkeys(words) if not contains(question, word)]


def _name(match: re.Match[str], text: str) -> str:
    """What was matched, without the capital that only begins a sentence."""
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
    means the same in other words, or a sum that the answer worked out, counts as missing.

    >>> check_citations("It costs $10. [1]", [("Prices", "The pump costs $12.")])[0].verdict
    'holds nothing'
    """
    readings = [_read(text, passages, question, before) for before in (False, True)]
    return max(readings, key=lambda all: (sum(len(c.held) for c in all), sum(len(c.missing) for c in all)))


def _read(text: str, passages: Sequence[Passage], question: str, before: bool) -> list[Citation]:
    """The citations of an answer that cites before what it says, or behind it."""
    groups, citations = list(_CITED.finditer(text)), []
    ends = [0, *(group.end() for group in groups)]
    starts = [*(group.start() for group in groups), len(text)]
    for place, group in enumerate(groups):
        claim = text[ends[place + before] : starts[place + before]].strip()
        claimed = values(claim, question)
        for number in dict.fromkeys(map(int, re.findall(r"\d+", group[0]))):
            exists = 1 <= number <= len(passages)
            held = [value for value in claimed if exists and _holds(passages[number - 1], value)]
            missing = [value for value in claimed if value not in held]
            citations.append(Citation(number, claim, tuple(held), tuple(missing), exists))
    return citations


def unsupported(text: str, passages: Sequence[Passage], question: str = "") -> list[str]:
    """The values in an answer that no passage which it cites for them holds; all of them if it cites none.

    >>> unsupported("It costs $10, Ann Lee says. [1]", [("Prices", "Ann Lee: the pump costs $12.")])
    ['$10']
    """
    held = {value for citation in check_citations(text, passages, question) for value in citation.held}
    return [value for value in values(_CITED.sub(" ", text), question) if value not in held]


def _holds(passage: Passage, value: str) -> bool:
    """Whether title or text has the value; of a name of three words or more, its last two are enough."""
    whole, words = " ".join(passage), value.split()
    shorter = [" ".join(words[-2:])] * (len(words) > 2 and words[0][0].isalpha())
    return any(contains(whole, form) for form in [value, *shorter])


def attribute(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers with two columns more: `cause`, one of CAUSES, and `said`, one of SAID.

    A wrong answer to a question that no document answers should have been a refusal. Any other wrong answer, refusals
    among them, was misread where the passages held every fact needed, and else not found. `answers` has the columns
    answerable, correct, retrieved and abstained of `labkit.compare.score.score`; LabError without them.
    """
    import pandas as pd

    needed = ["answerable", "correct", "retrieved", "abstained"]
    if missing := [name for name in needed if name not in answers]:
        raise LabError(f"answers without {', '.join(missing)} have no cause: score them with labkit.compare.score")
    rows = list(answers[needed].itertuples(index=False))
    replies = ["right" if r.correct else "declined" if r.abstained else "wrong" for r in rows]
    causes = [
        "right" if r.correct
        else "should have abstained" if not r.answerable
        else "model misread" if r.retrieved == 1 else "retrieval missed"
        for r in rows
    ]  # fmt: skip
    return answers.assign(cause=pd.Categorical(causes, CAUSES), said=pd.Categorical(replies, SAID))


def causes(answers: pd.DataFrame, by: str = "arm") -> pd.DataFrame:
    """The share of each cause in each group: a row for each value of column `by`, a column for each of CAUSES."""
    import pandas as pd

    rows = attribute(answers)
    order = list(dict.fromkeys(answers[by]))
    return pd.crosstab(rows[by], rows.cause, normalize="index", dropna=False).reindex(order, columns=list(CAUSES))
