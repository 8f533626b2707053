"""Training conversations for the tuned arm and for the hybrid, from the same pairs. Introduced in 11_hybrid."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labkit.compare.arms import passages
from labkit.data import dress
from labkit.metrics import contains
from labkit.rag.augment import ABSTAIN, Message, build_messages
from labkit.store import address, hash_source

if TYPE_CHECKING:
    from pathlib import Path

    from labkit.data import Evidence, Item
    from labkit.lab import Lab
    from labkit.profile import Profile
    from labkit.rag.retrieve import Hit, Retriever
    from labkit.tune.adapters import LoraSettings


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
    """The folder of the adapter of `tuned`, `hybrid` or `hybrid-N`, found by the address of all that makes it or trained now."""
    from labkit.tune.leaks import refuse_leaks

    def told() -> list[list[Message]]:
        pairs = lab.pairs if name == "tuned" else lab.hybrid_pairs
        refuse_leaks([item.question for item in pairs], [item.question for item in lab.questions])
        if name == "tuned":
            return closed_book(pairs)
        return with_context(pairs, lab.old_retriever(), lab.profile.top_k, seed, distractors_of(name))

    made_of = {"told": closed_book(lab.pairs)} if name == "tuned" else _hybrid_rows(lab)
    return kept_adapter(lab, name, lora_settings(lab.profile, name, seed), told, f"{name}, seed {seed}", **made_of)


def lora_settings(profile: Profile, name: str, seed: int) -> LoraSettings:
    """How the adapter of an arm is trained: as the profile says; a hub model in 4 bit where there is a CUDA GPU."""
    import torch

    from labkit.tune.adapters import LoraSettings

    p, tuned = profile, name == "tuned"
    return LoraSettings(
        epochs=p.tuned_epochs if tuned else p.hybrid_epochs,
        learning_rate=p.tuned_rate if tuned else p.hybrid_rate,
        batch_size=p.tuned_batch if tuned else p.hybrid_batch,
        seed=seed,
        rank=p.lora_rank,
        quantised=p.hub and torch.cuda.is_available(),
    )


def kept_adapter(
    lab: Lab, kind: str, settings: LoraSettings, talks: Callable[[], list[list[Message]]], name: str, **made_of: object
) -> Path:
    """The folder of the adapter that learns `talks`, under the address of base model, settings, code and `made_of`.

    Checkpoints lie outside it, so that a killed training goes on.
    """
    from labkit.tune.adapters import train_adapter
    from labkit.tune.prepare import Example, dataset

    def build(folder: Path) -> None:
        examples = [Example(messages) for messages in talks()]
        rows = dataset(examples, lab.model.tokenizer, min(lab.profile.context, lab.model.context)).rows
        train_adapter(lab.profile.model_path, rows, settings, folder, lab.progress, checkpoints=lab.runs / "training")

    code = hash_source(*TRAINING, "labkit.chat", "labkit.tune.prepare")
    return lab.artifacts.folder(
        build, name, kind=kind, base=lab.model.fingerprint, settings=settings, code=code, **made_of
    )


def _hybrid_rows(lab: Lab) -> dict[str, str]:
    """What decides the rows of the hybrid: pairs, chunks and search settings (processors may differ in near ties)."""
    from labkit.rag.chunk import chunk_documents

    p = lab.profile
    chunks = chunk_documents(lab.original.documents, lab.embedder.tokenizer, size=p.chunk_size, overlap=p.chunk_overlap)
    search = [p.method, p.top_k, lab.embedder.fingerprint.split(":")[0]]
    texts = [[chunk.title, chunk.text] for chunk in chunks]
    code = hash_source("labkit.compare.training", "labkit.data", *READING)
    return {"data": address(pairs=lab.hybrid_pairs, texts=texts, search=search), "reading": code}


def distractors_of(name: str) -> int | None:
    """How many distractors an arm's training shows beside the proof: "hybrid-2" two, "hybrid" whatever is retrieved."""
    return int(name.partition("-")[2]) if "-" in name else None
