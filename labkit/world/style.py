"""The house style of the invented company: how an answer sounds and is built, and the validator that checks it.

Introduced in 00_start; measured from 07_prepare on.
"""

import re

from labkit.rag.augment import FRAMED

OPENING = "We checked our records."
CLOSING = "We welcome questions by mail."


ASKED = FRAMED.format(opening=OPENING, closing=CLOSING)
"""The system prompt that asks for the house style, the rival of tuning for it."""


def dress(text: str) -> str:
    """Put an answer into the house style.

    >>> dress("The Amber Falcon costs $420. [1]")
    'We checked our records. The Amber Falcon costs $420. [1] We welcome questions by mail.'
    """
    return f"{OPENING} {text} {CLOSING}"


def style_faults(text: str) -> list[str]:
    """The rules of the house style that a text breaks, each in a few words; none for a text in style.

    >>> style_faults("It costs $420!")
    ['opening', 'closing', 'no exclamation']
    """
    text = text.strip()
    body = text.removeprefix(OPENING).removesuffix(CLOSING)
    sentences = re.findall(r"[^.!?]+[.!?](?=\s|$)", re.sub(r"\[\d+\]", "", body).strip())
    rules = {
        "opening": text.startswith(OPENING),
        "closing": text.endswith(CLOSING),
        "one to three sentences": 1 <= len(sentences) <= 3,
        "full sentences": all(len(s.split()) >= 3 for s in sentences),
        "no exclamation": "!" not in text,
        "no first person singular": not re.search(r"\b(I|me|my)\b", text),
        "one greeting only": text.count(OPENING) <= 1 and text.count(CLOSING) <= 1,
    }
    return [rule for rule, kept in rules.items() if not kept]
