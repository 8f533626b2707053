"""Training conversations for the tuned arm and for the hybrid, from the same pairs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.compare.arms import passages
from labkit.data import Evidence, Item, dress
from labkit.metrics import contains
from labkit.model import Message
from labkit.profile import Profile
from labkit.rag.augment import ABSTAIN, build_messages
from labkit.rag.retrieve import Hit, Search
from labkit.store import address
from labkit.tune.leaks import refuse_leaks
from labkit.tune.prepare import Example, Row, dataset, tokenise

if TYPE_CHECKING:
    from labkit.compare.lab import Lab
    from labkit.tune.adapters import LoraSettings

RECIPE = "adapter/1"
"""Raised by hand whenever the same base, settings and rows train to another adapter; a test holds a loss trace to it."""
SHARED = 0.5  # of a quote's words, in threes, that a passage must hold to count as stating it


def holds(hit: Hit, evidence: Evidence) -> bool:
    """Whether a passage states a fact: the value in the fact's own document, or entity and value in one that restates it.

    Evidence without a value is a quote: half of its words, in threes, must stand in a passage of its document.
    """
    chunk = hit.chunk
    if not evidence.value:
        shared = evidence.passage in chunk.text or _shared(evidence.passage, chunk.text) >= SHARED
        return chunk.document_id == evidence.document and shared
    restated = chunk.document_id in evidence.also and evidence.entity in chunk.text
    return (chunk.document_id == evidence.document or restated) and contains(chunk.text, evidence.value)


def _shared(quote: str, text: str) -> float:
    """The share of a quote's runs of three words that stand in a text."""
    runs, there = ({tuple(w[i : i + 3]) for i in range(max(1, len(w) - 2))} for w in (quote.split(), text.split()))
    return len(runs & there) / len(runs)


def supporting(hits: Sequence[Hit], item: Item) -> list[int] | None:
    """Numbers of the passages that prove the answer, one for each fact needed; None where one is missing."""
    numbers = [next((i for i, hit in enumerate(hits, start=1) if holds(hit, e)), None) for e in item.evidence]
    return None if None in numbers else list(dict.fromkeys(numbers))


def closed_book(items: Sequence[Item], style: Callable[[str], str] = dress) -> list[list[Message]]:
    """Question and answer in a style, without context: what the tuned arm learns from."""
    return [[*build_messages(item.question), _reply(style(item.answer))] for item in items]


def with_context(
    items: Sequence[Item], retriever: Search, top_k: int, seed: int = 0, distractors: int | None = None,
    style: Callable[[str], str] = dress, fits: Callable[[list[Message]], bool] = lambda talk: True,
    missing: float = 0.0,
) -> list[list[Message]]:  # fmt: skip
    """Passages, question and a cited answer in a style: what the hybrid learns from (RAFT, Zhang et al. 2024).

    The passages are those really retrieved, or with `distractors` the ones that prove the answer and the best so many
    others; those that prove nothing are dropped, the worst first, until the conversation `fits`. Where they do not hold
    the answer, the reply abstains: the model is never taught to answer what it cannot read. A share `missing` of the
    questions loses its proof on purpose, so that declining is learned from passages that look as if they answered.
    """
    rankings = retriever.search_batch([item.question for item in items], top_k)
    rng, drawn = random.Random(seed), random.Random(f"missing {seed}")
    rows = []
    for item, hits in zip(items, rankings, strict=True):
        if drawn.random() < missing:
            hits = [hit for hit in hits if not any(holds(hit, evidence) for evidence in item.evidence)]
        if distractors is not None:
            proof = [hits[n - 1] for n in (supporting(hits, item) if item.evidence else None) or []]
            hits = proof + [hit for hit in hits if hit not in proof][: distractors + (not proof)]
        hits = rng.sample(hits, len(hits))  # else the model learns that the proof stands first
        while not fits(talk := _cited(item, hits, style)) and hits:
            # The proof goes last, once nothing else is left to drop.
            needed = set(supporting(hits, item) or []) if item.evidence else set()
            spare = [hit for n, hit in enumerate(hits, start=1) if n not in needed] or hits
            hits.remove(max(spare, key=lambda hit: hit.rank))
        rows.append(talk)
    return rows


def _cited(item: Item, hits: Sequence[Hit], style: Callable[[str], str]) -> list[Message]:
    numbers = supporting(hits, item) if item.evidence else None
    text = f"{''.join(f'[{n}]' for n in numbers)} {item.answer}" if numbers else ABSTAIN
    return [*build_messages(item.question, passages(hits)), _reply(style(text))]


def _reply(text: str) -> Message:
    return {"role": "assistant", "content": text}


def conversations(lab: Lab, name: str, seed: int = 0) -> list[list[Message]]:
    """What `tuned`, `hybrid` or `hybrid-N` learns from, in the lab's style; LabError for a pair that asks what a test asks."""
    pairs = lab.tuned_pairs if name == "tuned" else lab.hybrid_pairs
    refuse_leaks([item.question for item in pairs], [item.question for item in lab.questions])
    if name == "tuned":
        return closed_book(pairs, lab.dress)

    def fits(talk: list[Message]) -> bool:
        """Whether a conversation is no longer than a training row may be."""
        return len(tokenise(Example(talk), lab.model.tokenizer, 10**9)[0]) <= _limit(lab)

    p, distractors = lab.profile, int(name.partition("-")[2]) if "-" in name else None  # else whatever is retrieved
    return with_context(pairs, lab.old_retriever(), p.top_k, seed, distractors, lab.dress, fits, p.hybrid_missing)


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


def tokenised(lab: Lab, talks: Sequence[Sequence[Message]]) -> list[Row]:
    """Conversations as rows of token ids and labels; LabError for one that the model's context does not hold."""
    return dataset([Example(list(talk)) for talk in talks], lab.model.tokenizer, _limit(lab)).rows


def _limit(lab: Lab) -> int:
    """The most tokens of a training row."""
    return min(lab.profile.context, lab.model.context)


def kept_adapter(lab: Lab, settings: LoraSettings, talks: Sequence[Sequence[Message]], name: str) -> Path:
    """The folder of the adapter that learns `talks`, under the address of the recipe, the base, the settings and the rows.

    The base and the rows are hashed as they cross into the training, whatever code made them. Checkpoints lie outside
    the folder, so that a killed training goes on.
    """
    from labkit.tune.adapters import train_adapter

    rows = tokenised(lab, talks)

    def build(folder: Path) -> None:
        """Train into this folder."""
        train_adapter(lab.profile.model_path, rows, settings, folder, lab.progress, checkpoints=lab.runs / "training")

    made_of = {"base": lab.model.fingerprint, "settings": settings, "rows": address(rows=rows)}
    return lab.artifacts.folder(build, name, recipe=RECIPE, **made_of)
