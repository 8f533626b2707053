"""Choose what the model reads, or falsify it, and ask over exactly that: what an experiment on prompts needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from labkit.compare.arms import Answer, passages
from labkit.compare.lab import Lab
from labkit.compare.training import holds
from labkit.data import Evidence, Item
from labkit.model import Message
from labkit.quiet import bar
from labkit.rag.augment import Passage, build_messages
from labkit.rag.retrieve import Hit

Compose = Callable[[str, list[Passage]], list[Message]]


def read(
    lab: Lab, questions: Sequence[str], context: Sequence[Sequence[Hit]], compose: Compose = build_messages
) -> list[Answer]:
    """Answers of the lab's model to questions over given passages, in their order.

    `compose` makes the messages from question and passages. No prompt is answered twice.
    """
    prompts = [compose(q, passages(hits)) for q, hits in zip(questions, context, strict=True)]
    with bar(len(prompts), "answers", lab.progress) as steps:
        room = lab.profile.max_new_tokens
        replies = lab.model.generate(prompts, room, progress=steps.update, cache=lab.answered)
    return [
        Answer(q, g.text, tuple(hits), g.prompt_tokens, g.output_tokens, 0.0, g.seconds)
        for q, hits, g in zip(questions, context, replies, strict=True)
    ]


def gold_hits(lab: Lab, item: Item) -> list[Hit] | None:
    """The passages that prove an answer, one for each fact, from its own document; None where chunks cut one in two."""
    own = [[Hit(c, 1.0, 1) for c in lab.vectors.chunks if c.document_id == e.document] for e in item.evidence]
    proofs = [next((h for h in hits if holds(h, e)), None) for hits, e in zip(own, item.evidence, strict=True)]
    return None if None in proofs else list(dict.fromkeys(proofs))


def among(gold: Sequence[Hit], others: Sequence[Hit], size: int = 5) -> list[Hit]:
    """The proving passages among others that were retrieved, `size` in all, in an order that says nothing."""
    ids = {hit.chunk.id for hit in gold}
    chosen = [*gold, *(hit for hit in others if hit.chunk.id not in ids)][:size]
    return sorted(chosen, key=lambda hit: hit.chunk.id)


def falsify(hits: Sequence[Hit], fact: Evidence, value: str) -> list[Hit]:
    """The hits with another value wherever they state a fact."""
    chunks = [replace(hit.chunk, text=hit.chunk.text.replace(fact.value, value)) for hit in hits]
    return [replace(hit, chunk=false) if holds(hit, fact) else hit for hit, false in zip(hits, chunks, strict=True)]


def lie_for(item: Item, pool: Sequence[Item]) -> str | None:
    """Another thing's value of the attribute that the question asks for; None where the pool has none."""
    fact = item.evidence[-1]
    attribute = (fact.kind, fact.attribute)
    values = [e.value for other in pool for e in other.evidence if (e.kind, e.attribute) == attribute]
    return next((value for value in values if value != fact.value), None)
