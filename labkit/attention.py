"""Attention in blocks of queries, for networks that compute in bfloat16 on a processor: there it is faster than PyTorch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BLOCK = 256  # queries that attend together
NAME = "in_blocks"
PLAIN = ("llama", "mistral", "qwen2", "qwen3")  # architectures whose attention is nothing but what stands here


def in_blocks(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float = 1.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of (rows, heads, new tokens, width) to keys and values of (rows, key heads, tokens, width).

    The mask (rows, 1, new tokens, tokens) is True where a token may be seen; without one each sees those before it.
    Keys that no query of a block may see are not compared. Gives (rows, new tokens, heads, width).
    """
    import torch
    from transformers.integrations.sdpa_attention import pack_gqa, repeat_kv

    (rows, heads, new, width), groups = query.shape, query.shape[1] // key.shape[1]
    before, made = key.shape[2] - new, []
    if new == 1:  # the queries of the heads that share a key stand together: nothing is copied
        query = pack_gqa(query, groups)
    elif groups > 1:
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    for start in range(0, new, BLOCK):
        block, seen = slice(start, start + BLOCK), before + min(new, start + BLOCK)
        scores = (query[:, :, block] * scaling) @ key[:, :, :seen].transpose(-1, -2)
        if attention_mask is not None:
            hidden = ~attention_mask[:, :, block, :seen]
        else:
            hidden = torch.arange(seen)[None, :] > torch.arange(before + start, seen)[:, None]
        lowest = torch.finfo(scores.dtype).min  # not -inf: a row of padding sees nothing
        made.append(torch.softmax(scores.masked_fill(hidden, lowest), -1) @ value[:, :, :seen])
    return torch.cat(made, 2).reshape(rows, heads, new, width).transpose(1, 2).contiguous(), None


def use_blocks(network: PreTrainedModel) -> None:
    """Let a network that computes in bfloat16 on a processor attend in blocks; in float32 PyTorch's kernel is faster."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if network.config.model_type in PLAIN and (network.device.type, str(network.dtype)) == ("cpu", "torch.bfloat16"):
        AttentionInterface.register(NAME, in_blocks)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        network.set_attn_implementation(NAME)
