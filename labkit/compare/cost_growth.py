"""How cost grows: with vectors, with shards, with the width of a model. Introduced in 14_cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from labkit.compare import small
from labkit.stats import Interval, bootstrap, bootstrap_mean

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SHARDS = (1, 2, 4, 8)
SHARDED = 100_000  # vectors that are spread over shards
WIDTHS = (128, 256, 512)
BATCH = 50_000
NEAREST = 10


def _real(lab: Lab) -> np.ndarray:
    return lab.vectors.index.vectors_at(np.arange(len(lab.vectors)))


def _asked(lab: Lab) -> np.ndarray:
    return lab.embedder.encode([item.question for item in lab.questions[:40]], query=True)


def _index(real: np.ndarray, count: int, first: int = 0) -> object:
    """A flat index in half precision over vectors like the real ones, made a batch at a time."""
    from labkit.rag.vectors import VectorIndex, more_vectors

    index = VectorIndex("SQfp16")
    for start in range(first, first + count, BATCH):
        size = min(BATCH, first + count - start)
        index.add(more_vectors(real, len(real) + size, seed=start)[len(real) :])
    return index


def vectors(lab: Lab) -> pd.DataFrame:
    """Milliseconds of each of 40 searches through more and more vectors, on one thread: columns vectors, question, ms."""

    def make() -> list[small.Row]:
        real, asked = _real(lab), _asked(lab)
        sizes = SIZES if lab.size == "full" else SIZES[:2]
        return [
            {"vectors": size, "question": number, "ms": spent}
            for size in sizes
            for number, spent in enumerate(_each(_index(real, size), asked))
        ]

    return small.kept(lab, "growth of vectors", make)


def _each(index: object, asked: np.ndarray) -> list[float]:
    """Milliseconds of each search, on one thread, after one to warm up."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index.search(asked[:1], NEAREST)
        spent = []
        for number in range(len(asked)):
            began = time.perf_counter()
            index.search(asked[number : number + 1], NEAREST)
            spent.append(1000 * (time.perf_counter() - began))
        return spent
    finally:
        faiss.omp_set_num_threads(threads)


def shards(lab: Lab) -> pd.DataFrame:
    """Recall of the ten nearest, and milliseconds of the slowest shard, with the same vectors on one to eight shards.

    Each shard gives its ten nearest, and the ten best of all are kept: columns shards, question, recall, ms.
    """

    def make() -> list[small.Row]:
        real, asked = _real(lab), _asked(lab)
        total = SHARDED if lab.size == "full" else 4_000
        whole = _index(real, total)
        rows, wanted = [], whole.search(asked, NEAREST)[1]
        stored = whole.vectors_at(np.arange(total))
        for count in SHARDS:
            parts = np.array_split(np.arange(total), count)
            scores, numbers, slowest = [], [], np.zeros(len(asked))
            for part in parts:
                shard = _of(stored[part])
                slowest = np.maximum(slowest, _each(shard, asked))
                found = shard.search(asked, NEAREST)
                scores.append(found[0])
                numbers.append(part[found[1]])
            best = np.argsort(-np.hstack(scores), axis=1)[:, :NEAREST]
            merged = np.take_along_axis(np.hstack(numbers), best, axis=1)
            for number, (row, right) in enumerate(zip(merged, wanted, strict=True)):
                recall = float(np.isin(right, row).mean())
                rows.append({"shards": count, "question": number, "recall": recall, "ms": float(slowest[number])})
        return rows

    return small.kept(lab, "growth of shards", make)


def _of(stored: np.ndarray) -> object:
    from labkit.rag.vectors import VectorIndex

    index = VectorIndex("SQfp16")
    index.add(stored)
    return index


def widths(lab: Lab) -> pd.DataFrame:
    """Seconds of a training step of models like the pocket one, but narrower and wider, untrained: width, step, seconds."""

    def make() -> list[small.Row]:
        import torch
        from transformers import Qwen3Config, Qwen3ForCausalLM

        rows = []
        for width in WIDTHS if lab.size == "full" else WIDTHS[:2]:
            torch.manual_seed(0)
            config = Qwen3Config(
                vocab_size=len(lab.model.tokenizer), hidden_size=width, intermediate_size=2 * width,
                num_hidden_layers=6, num_attention_heads=width // 64, num_key_value_heads=width // 64, head_dim=64,
                max_position_embeddings=2048, tie_word_embeddings=True, rope_theta=10000.0,
            )  # fmt: skip
            network = Qwen3ForCausalLM(config).train()
            optimizer = torch.optim.AdamW(network.parameters(), fused=True)
            ids = torch.randint(3, 1000, (16, 128), generator=torch.Generator().manual_seed(0))
            for step in range(-1, 5):
                began = time.perf_counter()
                network(input_ids=ids, labels=ids).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                rows += [{"width": width, "step": step, "seconds": time.perf_counter() - began}] * (step >= 0)
        return rows

    return small.kept(lab, "growth of width", make)


def per_doubling(wide: pd.DataFrame) -> Interval:
    """By how much a cost is multiplied when its cause doubles: columns are causes, rows repeated measurements."""
    causes, costs = np.log2(wide.columns.to_numpy(float)), wide.to_numpy(float)
    centred = causes - causes.mean()

    def slope(i: np.ndarray) -> np.ndarray:
        means = np.log2(np.median(costs[i], axis=1))
        return 2 ** ((means * centred).sum(-1) / (centred**2).sum())

    return bootstrap(slope, len(costs))


def growth_figures(lab: Lab) -> dict[str, Interval]:
    """What the claim about scale needs."""
    spread = shards(lab).pivot(index="question", columns="shards", values="recall")
    searched = vectors(lab).pivot(index="question", columns="vectors", values="ms")
    trained = widths(lab).pivot(index="step", columns="width", values="seconds")
    return {
        "recall with 8 shards less with one": bootstrap_mean(spread[8] - spread[1]),
        "search time per doubling of the vectors": per_doubling(searched),
        "training time per doubling of the width": per_doubling(trained),
    }
