"""Training conversations for the tuned arm and for the hybrid, from the same pairs. Introduced in 11_hybrid."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.compare.arms import passages
from labkit.metrics import contains
from labkit.rag.augment import ABSTAIN, Message, build_messages
from labkit.store import address, hash_source
from labkit.world.style import dress

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.lab import Lab
    from labkit.rag.retrieve import Hit, Retriever
    from labkit.tune.adapters import LoraSettings
    from labkit.world.data import Evidence, Item


TRAINING = ("labkit.tune.train", "labkit.tune.loop", "labkit.tune.adapters", "labkit.checkpoint")
"""The modules that decide what an adapter becomes of its rows."""

READING = ("labkit.rag.retrieve", "labkit.rag.retrieve_base", "labkit.rag.retrieve_fusion", "labkit.rag.augment")
"""The modules that decide which passages the hybrid's rows show, and how."""


def holds(hit: Hit, evidence: Evidence) -> bool:
    """Whether a passage states a fact: the value in the fact's own document, or entity and value in one that restates it."""
    chunk, there = hit.chunk, contains(hit.chunk.text, evidence.value)
    restated = chunk.document_id in evidence.also and evidence.entity in chunk.text
    return there and (chunk.document_id == evidence.document or restated)


def supporting(hits: Sequence[Hit], item: Item) -> list[int] | None:
    """Numbers of the passages that prove the answer, one for each fact needed; None where one is missing."""
    numbers = [next((i for i, hit in enumerate(hits, start=1) if holds(hit, e)), None) for e in item.evidence]
    return None if None in numbers else list(dict.fromkeys(numbers))


def closed_book(items: Sequence[Item]) -> list[list[Message]]:
    """Question and answer in house style, without context: what the tuned arm learns from."""
    return [[*build_messages(item.question), _reply(item.answer)] for item in items]


def with_context(
    items: Sequence[Item], retriever: Retriever, top_k: int, seed: int = 0, distractors: int | None = None
) -> list[list[Message]]:
    """Passages, question and a cited answer in house style: what the hybrid learns from (RAFT, Zhang et al. 2024).

    The passages are those really retrieved, or with `distractors` the ones that prove the answer and the best so many
    others. Where they do not hold the answer, the reply abstains: the model is never taught to answer what it cannot read.
    """
    found = retriever.search_batch([item.question for item in items], top_k)
    rng = random.Random(seed)
    rows = []
    for item, hits in zip(items, found, strict=True):
        if distractors is not None:
            proof = [hits[n - 1] for n in (supporting(hits, item) if item.evidence else None) or []]
            hits = proof + [hit for hit in hits if hit not in proof][: distractors + (not proof)]
        hits = rng.sample(hits, len(hits))
        numbers = supporting(hits, item) if item.evidence else None
        text = f"{''.join(f'[{n}]' for n in numbers)} {item.answer}" if numbers else ABSTAIN
        rows.append([*build_messages(item.question, passages(hits)), _reply(text)])
    return rows


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": dress(text)}


def adapter(lab: Lab, name: str, seed: int = 0) -> Path:
    """The folder of the adapter of `tuned`, `hybrid` or `hybrid-N`, found by the address of all that makes it or trained now.

    The address holds base model, training rows (token ids and loss mask), settings and code.
    """
    from labkit.tune.adapters import LoraSettings

    p = lab.profile
    epochs, rate, batch = (p.tuned_epochs, p.tuned_rate, p.tuned_batch)
    if name != "tuned":
        epochs, rate, batch = (p.hybrid_epochs, p.hybrid_rate, p.hybrid_batch)
    settings = LoraSettings(epochs=epochs, learning_rate=rate, batch_size=batch, seed=seed, rank=p.lora_rank)
    made_of = _tuned_rows(lab) if name == "tuned" else _hybrid_rows(lab)
    return lab.artifacts.folder(
        lambda folder: _train(lab, name, settings, folder),
        name=f"{name}, seed {seed}",
        kind=name,
        base=lab.model.fingerprint,
        settings=settings,
        code=hash_source(*TRAINING),
        **made_of,
    )


def _tuned_rows(lab: Lab) -> dict[str, str]:
    """What decides the rows of the tuned arm: the conversations themselves and how they are cut into tokens."""
    told = closed_book(lab.pairs)
    return {"data": address(told=told), "reading": hash_source("labkit.chat", "labkit.tune.prepare")}


def _hybrid_rows(lab: Lab) -> dict[str, str]:
    """What decides the rows of the hybrid: pairs, chunks and search settings (processors may differ in near ties)."""
    from labkit.rag.chunk import chunk_documents

    p = lab.profile
    chunks = chunk_documents(lab.original.documents, lab.embedder.tokenizer, size=p.chunk_size, overlap=p.chunk_overlap)
    search = [p.method, p.top_k, lab.embedder.fingerprint.split(":")[0]]
    texts = [[chunk.title, chunk.text] for chunk in chunks]
    code = hash_source("labkit.chat", "labkit.tune.prepare", "labkit.compare.training", "labkit.world.style", *READING)
    return {"data": address(pairs=lab.hybrid_pairs, texts=texts, search=search), "reading": code}


def distractors_of(name: str) -> int | None:
    """How many distractors an arm's training shows beside the proof: "hybrid-2" two, "hybrid" whatever is retrieved."""
    return int(name.partition("-")[2]) if "-" in name else None


def _train(lab: Lab, name: str, settings: LoraSettings, folder: Path) -> None:
    """Fill `folder` with the adapter; checkpoints lie outside it, so that a killed training goes on."""
    from labkit.tune.adapters import train_adapter
    from labkit.tune.leaks import refuse_leaks
    from labkit.tune.prepare import Example, dataset

    p = lab.profile
    items = lab.pairs if name == "tuned" else lab.hybrid_pairs
    refuse_leaks([item.question for item in items], [item.question for item in lab.questions])
    if name == "tuned":
        told = closed_book(items)
    else:
        told = with_context(items, lab.old_retriever(), p.top_k, settings.seed, distractors_of(name))
    rows = dataset([Example(messages) for messages in told], lab.model.tokenizer, p.context).rows
    train_adapter(p.model_path, rows, settings, folder, lab.progress, checkpoints=lab.runs / "training")
