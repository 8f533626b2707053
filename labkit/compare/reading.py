"""Choose what the model reads, and ask it over exactly that: what an experiment on prompts needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labkit.compare.arms import Answer, passages
from labkit.compare.training import holds
from labkit.rag.augment import Message, Passage, build_messages

if TYPE_CHECKING:
    from labkit.data import Item
    from labkit.lab import Lab
    from labkit.model import Model
    from labkit.rag.retrieve import Hit

Compose = Callable[[str, list[Passage]], list[Message]]


def read(
    lab: Lab,
    questions: Sequence[str],
    context: Sequence[Sequence[Hit]],
    compose: Compose = build_messages,
    model: Model | None = None,
) -> list[Answer]:
    """Answers of a model, the lab's if none is given, to questions over given passages, in their order.

    `compose` makes the messages from question and passages. No prompt is answered twice by one model.
    Introduced in 06_augment.

    >>> read(lab, ["Why?"], [lab.retriever().search("Why?")])[0].text
    """
    from tqdm import tqdm

    prompts = [compose(q, passages(hits)) for q, hits in zip(questions, context, strict=True)]
    with tqdm(total=len(prompts), unit="answer", disable=not lab.progress) as bar:
        room = lab.profile.max_new_tokens
        replies = (model or lab.model).generate(prompts, room, progress=bar.update, cache=lab.answered)
    return [
        Answer(q, g.text, tuple(hits), g.prompt_tokens, g.output_tokens, 0.0, g.seconds)
        for q, hits, g in zip(questions, context, replies, strict=True)
    ]


def at_position(gold: Hit, others: Sequence[Hit], position: int, size: int = 5) -> list[Hit]:
    """`size` passages with the one that proves the answer at `position`, counted from 1.

    Introduced in 06_augment.

    >>> at_position(gold, others, position=3)[2] is gold
    True
    """
    rest = list(others[: size - 1])
    return [*rest[: position - 1], gold, *rest[position - 1 :]]


def degrade(hits: Sequence[Hit], item: Item, lost: Sequence[bool], spare: Sequence[Hit]) -> list[Hit]:
    """The hits, less those that state a fact marked in `lost` (one for each piece of evidence); `spare` fills in.

    A spare passage must state nothing that is needed. Introduced in 06_augment.

    >>> degrade(hits, item, [True], spare) != hits
    True
    """
    losses = [fact for fact, is_lost in zip(item.evidence, lost, strict=True) if is_lost]
    others = iter(spare)
    return [next(others) if any(holds(hit, fact) for fact in losses) else hit for hit in hits]


def gold_hits(lab: Lab, item: Item) -> list[Hit] | None:
    """The passages that prove an answer, one for each fact, from its own document; None where chunks cut one in two.

    Introduced in 06_augment.

    >>> gold_hits(lab, lab.questions[0])[0].score
    1.0
    """
    from labkit.rag.retrieve import Hit  # which imports LangChain

    own = [[Hit(c, 1.0, 1) for c in lab.vectors.chunks if c.document_id == e.document] for e in item.evidence]
    proofs = [next((h for h in hits if holds(h, e)), None) for hits, e in zip(own, item.evidence, strict=True)]
    return None if None in proofs else list(dict.fromkeys(proofs))


def among(gold: Sequence[Hit], others: Sequence[Hit], size: int = 5) -> list[Hit]:
    """The proving passages among others that were retrieved, `size` in all, in an order that says nothing.

    Introduced in 06_augment.

    >>> len(among(gold, hits))
    5
    """
    ids = {hit.chunk.id for hit in gold}
    chosen = [*gold, *(hit for hit in others if hit.chunk.id not in ids)][:size]
    return sorted(chosen, key=lambda hit: hit.chunk.id)
