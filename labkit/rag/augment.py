"""Put what was retrieved into the prompt, and read the citations out of the answer. Introduced in 06_augment."""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labkit.errors import LabError

Message = dict[str, str]
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


def build_prompt(question: str, passages: Sequence[tuple[str, str]]) -> str:
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
    question: str, passages: Sequence[tuple[str, str]] = (), form: str = "cited", system: str | None = None
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
        lost = [f"the end of passage {self.cut} cut"] * (self.cut is not None)
        lost += [f"the last {self.dropped} dropped"] * bool(self.dropped)
        return f"{self.tokens} tokens, {len(self.passages)} passages: {', '.join(lost) or 'nothing left out'}"


def fit(
    question: str,
    passages: Sequence[Passage],
    budget: int,
    count: Callable[[list[Message]], int],
    form: str = "cited",
    cut: bool = False,
) -> Fitted:
    """As many passages, best first, as a prompt of at most `budget` tokens holds; never less than the question.

    `count` gives a conversation's tokens, as `Model.count` does. Whole passages are dropped from the end; with `cut`
    the first that is too long stays up to the last word that fits. Raises LabError where the question alone is too
    long. Introduced in 06_augment.

    >>> fit("Why?", [("Notes", "Because.")], budget=100, count=lambda messages: 10 * len(messages)).dropped
    0
    """

    def tokens(chosen: Sequence[Passage]) -> int:
        return count(build_messages(question, chosen, form))

    if tokens(()) > budget:
        raise LabError(f"the question alone has {tokens(())} tokens, the budget is {budget}: raise it or ask less")
    kept = bisect_right(range(1, len(passages) + 1), budget, key=lambda n: tokens(passages[:n]))
    chosen = list(passages[:kept])
    if cut and kept < len(passages):
        title, text = passages[kept]
        starts = [text[: match.end()] for match in re.finditer(r"\S+", text)]
        fitting = bisect_right(starts, budget, key=lambda start: tokens([*chosen, (title, start)]))
        chosen += [(title, start) for start in starts[:fitting][-1:]]
    shortened = kept + 1 if len(chosen) > kept else None
    return Fitted(tuple(chosen), tokens(chosen), len(passages) - len(chosen), shortened)
