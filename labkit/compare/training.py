"""Training conversations for the tuned arm and for the hybrid, from the same pairs. Introduced in 11_hybrid."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.compare.arms import passages
from labkit.metrics import contains
from labkit.rag.augment import ABSTAIN, Message, build_messages
from labkit.world.style import dress

if TYPE_CHECKING:
    from labkit.rag.retrieve import Hit, Retriever
    from labkit.world.data import Evidence, Item


def holds(hit: Hit, evidence: Evidence) -> bool:
    """Whether a passage comes from a document that states a fact, and holds its value."""
    return hit.chunk.document_id in (evidence.document, *evidence.also) and contains(hit.chunk.text, evidence.value)


def supporting(hits: Sequence[Hit], item: Item) -> list[int] | None:
    """Numbers of the passages that prove the answer, one for each fact needed; None where one is missing."""
    numbers = [next((i for i, hit in enumerate(hits, start=1) if holds(hit, e)), None) for e in item.evidence]
    return None if None in numbers else list(dict.fromkeys(numbers))


def closed_book(items: Sequence[Item]) -> list[list[Message]]:
    """Question and answer in house style, without context: what the tuned arm learns from."""
    return [[*build_messages(item.question), _reply(item.answer)] for item in items]


def with_context(items: Sequence[Item], retriever: Retriever, top_k: int, seed: int = 0) -> list[list[Message]]:
    """Passages, question and a cited answer in house style: what the hybrid learns from (RAFT, Zhang et al. 2024).

    The passages are those really retrieved, distractors and all. Where they do not hold the answer, the reply abstains:
    the model is never taught to answer what it cannot read.
    """
    found = retriever.search_batch([item.question for item in items], top_k)
    rng = random.Random(seed)
    rows = []
    for item, hits in zip(items, found, strict=True):
        hits = rng.sample(hits, len(hits))
        numbers = supporting(hits, item) if item.evidence else None
        text = f"{item.answer} {''.join(f'[{n}]' for n in numbers)}" if numbers else ABSTAIN
        rows.append([*build_messages(item.question, passages(hits)), _reply(text)])
    return rows


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": dress(text)}
