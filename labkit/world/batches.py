"""Batches of the pretraining stream, the same ones for the same seed, level and number. Introduced in 00_start."""

import random
from typing import TYPE_CHECKING

from labkit.world import stream
from labkit.world.pocket import encode

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

BATCH_TOKENS = (2048, 2048, 3072, 4096, 4096)  # by level
POOL = 16  # batches that are drawn together and sorted by length


def batches(
    tokenizer: "PreTrainedTokenizerFast", level: int, pool: int, seed: int
) -> list[list[tuple[list[int], list[int]]]]:
    """The batches of one pool: conversations of this level and, for a quarter, of lower ones, sorted by length."""
    rng = random.Random(f"stream:{seed}:{level}:{pool}")
    rows, total = [], 0
    while total < POOL * BATCH_TOKENS[level]:
        lower = level > 0 and rng.random() < 0.25
        rows.append(
            encode(tokenizer, stream.conversation(rng, stream.LEVELS[rng.randrange(level) if lower else level]))
        )
        total += len(rows[-1][0])
    rows.sort(key=lambda row: len(row[0]))
    made: list[list[tuple[list[int], list[int]]]] = [[] for _ in range(POOL)]
    before = 0
    for row in rows:
        made[before * POOL // total].append(row)
        before += len(row[0])
    made = [batch for batch in made if batch]
    rng.shuffle(made)
    return made


def tensors(batch: list[tuple[list[int], list[int]]]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Ids and answer numbers, padded on the right to (rows, longest)."""
    import torch

    width = -(-max(len(ids) for ids, _ in batch) // 32) * 32
    x, a = torch.zeros(len(batch), width, dtype=torch.long), torch.full((len(batch), width), -1)
    for i, (ids, answers) in enumerate(batch):
        x[i, : len(ids)], a[i, : len(ids)] = torch.tensor(ids), torch.tensor(answers)
    return x, a
