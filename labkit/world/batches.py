"""Batches of the pretraining stream, the same ones for the same seed, level and number. Introduced in 00_start.

Every batch has one of a few shapes, about `TOKENS` tokens each, so that the training step is compiled once for each.
"""

import random
from typing import TYPE_CHECKING

from labkit.world import stream
from labkit.world.pocket import encode

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

Row = tuple[list[int], list[int]]  # token ids, and for each the number of the answer it belongs to (0: none)

WIDTHS = (64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 896, 1024, 2048)
TOKENS = 4096
POOL = 16  # batches that are drawn together and sorted by length


def batches(tokenizer: "PreTrainedTokenizerFast", level: int, pool: int, seed: int) -> list[list[Row]]:
    """The batches of one pool: conversations of this level and, for a quarter, of lower ones, sorted by length."""
    rng = random.Random(f"stream:{seed}:{level}:{pool}")
    rows: list[Row] = []
    total = 0
    while total < POOL * TOKENS:
        lower = level > 0 and rng.random() < 0.25
        row = encode(tokenizer, stream.conversation(rng, stream.LEVELS[rng.randrange(level) if lower else level]))
        if len(row[0]) <= WIDTHS[-1]:
            rows.append(row)
            total += len(row[0])
    rows.sort(key=lambda row: -len(row[0]))
    made = []
    while rows:
        size = TOKENS // width_of(rows)
        made.append(rows[:size])
        rows = rows[size:]
    rng.shuffle(made)
    return made


def width_of(batch: list[Row]) -> int:
    """The smallest of the fixed widths that holds every row."""
    longest = max(len(ids) for ids, _ in batch)
    return next(width for width in WIDTHS if width >= longest)


def tensors(batch: list[Row]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Ids and answer numbers (-1: padding), each (rows, width), filled up to one of the fixed shapes."""
    import torch

    width = width_of(batch)
    shape = (TOKENS // width, width)
    x, a = torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
    for i, (ids, answers) in enumerate(batch):
        x[i, : len(ids)], a[i, : len(ids)] = torch.tensor(ids), torch.tensor(answers)
    return x, a
