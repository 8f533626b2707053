"""Put what was retrieved into the prompt, and read the citations out of the answer. Introduced in 06_augment."""

import re
from collections.abc import Sequence

Message = dict[str, str]

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


def build_messages(question: str, passages: Sequence[tuple[str, str]] = (), form: str = "cited") -> list[Message]:
    """System and user message for one question over passages given as (title, text)."""
    system = FORMS[form] if passages else CLOSED_BOOK
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": build_prompt(question, passages)},
    ]


def cited(text: str) -> list[int]:
    """Numbers of the passages that an answer cites, in order, each once.

    >>> cited("It costs $10. [2][1] [2]")
    [2, 1]
    """
    return list(dict.fromkeys(int(n) for n in re.findall(r"\[(\d{1,2})\]", text)))
