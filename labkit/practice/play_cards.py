"""The playground's cards: what an arm answered, what it cost, and the passages, with what supports it marked.

Introduced in 12_compare.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from labkit.compare.arms import Answer, arm_class, passages
from labkit.data import CLOSING, OPENING, style_faults
from labkit.metrics import abstained, contains
from labkit.rag.augment import check_citations, cited, values

SHOWN = 300
"""So many characters of the question stand above the cards."""


def cards(question: str, replies: Mapping[str, Answer | str], gold: str | None = None) -> str:
    """HTML with a card for each arm; `gold` is the value that a right answer holds, where it is known.

    A reply that is a string is shown as what went wrong. Everything is escaped. Introduced in 12_compare.

    >>> cards("Why?", {"rag": "no adapter yet"}).count("<article")
    1
    """
    asked = question if len(question) <= SHOWN else f"{question[:SHOWN]} …"
    known = f"<p class='play-soft'>A right answer holds <b>{escape(gold)}</b></p>" if gold else ""
    made = "".join(_card(name, reply) for name, reply in replies.items())
    return f"<section><h2>{escape(asked)}</h2>{known}<div class='play-cards'>{made}</div></section>"


def _card(name: str, reply: Answer | str) -> str:
    what = (arm_class(name).__doc__ or "").strip()
    head = f"<h3>{escape(name)}</h3><p class='play-soft'>{escape(what)}</p>"
    if isinstance(reply, str):
        return f"<article>{head}<p class='play-error'>{escape(reply)}</p></article>"
    broken = style_faults(reply.text)
    facts = {
        "Seconds": f"{reply.retrieval_seconds:.2f} searching, " * bool(reply.hits)
        + f"{reply.generation_seconds:.2f} answering",
        "Tokens": f"{reply.prompt_tokens} read, {reply.output_tokens} written",
        "House style": f"✗ breaks: {', '.join(broken)}" if broken else "✓ kept",
    }
    rows = "".join(f"<dt>{fact}</dt><dd>{told}</dd>" for fact, told in facts.items())
    text = escape(reply.text.strip()) or "(no answer)"
    return f"<article>{head}<p class='play-answer'>{text}</p><dl>{rows}</dl>{_sources(reply)}</article>"


def _sources(answer: Answer) -> str:
    """What was cited, open, with what it holds of the answer; what else was read, folded."""
    if not answer.hits:
        return "<p class='play-soft'>Reads no documents: all it says comes from its weights.</p>"
    text, count = answer.text.strip().removeprefix(OPENING).removesuffix(CLOSING), len(answer.hits)
    said = [] if abstained(text) else values(re.sub(r"\[\d+\]", " ", text), answer.question)
    verdicts = {c.number: c.verdict for c in check_citations(text, passages(answer.hits), answer.question)}
    listed = {n: _passage(n, answer, said, verdicts.get(n, "")) for n in range(1, count + 1)}
    shown = "".join(listed.pop(n) for n in cited(text) if n in listed)
    wrong = "".join(f"<p class='play-error'>Cites [{n}]: {verdicts[n]}.</p>" for n in verdicts if not 1 <= n <= count)
    top = f"<h4>Cited</h4><ol>{shown}</ol>" if shown else "<p class='play-soft'>Cites no passage.</p>"
    rest = f"<details><summary>Read, not cited: {len(listed)}</summary><ol>{''.join(listed.values())}</ol></details>"
    return top + wrong + rest * bool(listed)


def _passage(number: int, answer: Answer, said: Sequence[str], verdict: str) -> str:
    chunk = answer.hits[number - 1].chunk
    where = escape(chunk.document_id) + (f", page {chunk.page}" if chunk.page else "")
    told = f"<span class='play-soft'>{verdict} of the answer</span>" if verdict else ""
    return f"<li value='{number}'><b>{where}</b> {told}<blockquote>{marked(chunk.text, said)}</blockquote></li>"


def marked(text: str, said: Sequence[str]) -> str:
    """The text escaped, with <mark> around each sentence or line that holds one of the values said.

    Introduced in 12_compare.

    >>> marked("It is <red>. It costs $10.", ["$10"])
    'It is &lt;red&gt;. <mark>It costs $10.</mark>'
    """
    parts = re.split(r"((?<=[.!?])\s+|\s*\n\s*)", text.strip())
    return "".join(f"<mark>{escape(p)}</mark>" if any(contains(p, v) for v in said) else escape(p) for p in parts)


def line(text: str, wrong: bool = False) -> str:
    """One line of HTML about what happens, escaped; `wrong` for what went wrong. Introduced in 12_compare.

    >>> line("3 of 4 answered")
    "<p class='play-soft' role='status'>3 of 4 answered</p>"
    """
    kind, role = ("error", "alert") if wrong else ("soft", "status")
    return f"<p class='play-{kind}' role='{role}'>{escape(' '.join(text.split())[:300])}</p>"
