"""Greedy decoding in batches, with a key-value cache. Introduced in 00_start."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def plan(lengths: Sequence[int], room: int, batch_tokens: int) -> list[list[int]]:
    """Indices in batches of like length, longest first, each of at most `batch_tokens` or of one row.

    >>> plan([5, 90, 6], room=10, batch_tokens=100)
    [[1], [2, 0]]
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * (lengths[batches[-1][0]] + room) <= batch_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def left_padded(prompts: Sequence[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask (rows, longest), so that every prompt ends in the last column.

    >>> left_padded([[5, 6], [7]], pad=0)[0].tolist()
    [[5, 6], [0, 7]]
    """
    import torch

    width = max(len(prompt) for prompt in prompts)
    gaps = [width - len(prompt) for prompt in prompts]
    ids = torch.tensor([[pad] * gap + prompt for gap, prompt in zip(gaps, prompts, strict=True)])
    mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
    return ids, mask


def greedy(
    network: PreTrainedModel, prompts: Sequence[list[int]], ends: Collection[int], limit: int
) -> list[list[int]]:
    """The likeliest next id, again and again: per prompt at most `limit` ids, up to and with an end id.

    Rows that ended leave the batch once they are a quarter of it: copying the cache costs about a step.

    >>> greedy(network, [[1, 5, 9]], ends={2}, limit=1)
    [[7]]
    """
    import torch
    from transformers import DynamicCache

    outputs: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    cache = DynamicCache(config=network.config)
    ids, mask = (part.to(network.device) for part in left_padded(prompts, pad=0))
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        for _ in range(limit):
            ids = network(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache,
                use_cache=True, logits_to_keep=1,
            ).logits[:, -1].argmax(-1, keepdim=True)  # fmt: skip
            going = _extend(outputs, rows, ids[:, 0].tolist(), ends)
            if not going:
                break
            if len(going) <= 0.75 * len(rows):
                keep = torch.tensor(going, device=ids.device)
                cache.batch_select_indices(keep)
                ids, mask, rows = ids[keep], mask[keep], [rows[i] for i in going]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
            positions = mask.sum(1, keepdim=True) - 1
    return outputs


def _extend(outputs: list[list[int]], rows: Sequence[int], tokens: Sequence[int], ends: Collection[int]) -> list[int]:
    """Give each unfinished row its token; the places in the batch of the rows that go on."""
    going = []
    for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
        if not outputs[row] or outputs[row][-1] not in ends:
            outputs[row].append(token)
            if token not in ends:
                going.append(place)
    return going
