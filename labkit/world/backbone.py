"""What makes the pocket model's training fast on a CPU: compiled shapes, attention in blocks, bf16 beside fp32 weights.

Introduced in 00_start.
"""

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.world.batches import WIDTHS

if TYPE_CHECKING:
    import torch
    from transformers import Qwen3ForCausalLM

BLOCK = 256  # queries that attend together


def in_blocks(
    module: "torch.nn.Module",
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None" = None,
    scaling: float = 1.0,
    **_: object,
) -> "tuple[torch.Tensor, None]":
    """Causal attention over (batch, heads, tokens, width), block by block of queries: half the work of a full matrix.

    Once compiled it trains faster on a CPU than PyTorch's fused attention. Padding stands on the right and is never scored.
    """
    import torch

    length, made = query.shape[2], []
    for start in range(0, length, BLOCK):
        end = min(length, start + BLOCK)
        scores = (query[:, :, start:end] * scaling) @ key[:, :, :end].transpose(-1, -2)
        ahead = torch.arange(end)[None, :] > torch.arange(start, end)[:, None]
        made.append(torch.softmax(scores.masked_fill(ahead, float("-inf")), -1) @ value[:, :, :end])
    return torch.cat(made, 2).transpose(1, 2).contiguous(), None


def backbone(model: "Qwen3ForCausalLM", device: str) -> Callable:
    """The model up to its last hidden states, compiled once for each shape of batch where a compiler is at hand."""
    import torch
    from transformers import AttentionInterface

    AttentionInterface.register("in_blocks", in_blocks)
    model.set_attn_implementation("in_blocks" if device == "cpu" else "sdpa")
    torch._dynamo.config.recompile_limit = 2 * len(WIDTHS)
    return torch.compile(model.model, dynamic=False) if device == "cuda" or shutil.which("g++") else model.model


class Weights:
    """A bf16 model to compute with and fp32 weights to add small steps to: a third faster on a CPU than autocast."""

    def __init__(self, model: "Qwen3ForCausalLM", peak: float):
        import torch

        self.master = [p.detach().clone().float().requires_grad_() for p in model.parameters()]
        self.model = model.bfloat16().train()
        self.optimizer = torch.optim.AdamW(self.master, peak, betas=(0.9, 0.98), weight_decay=0.05, fused=True)

    def step(self, learning_rate: float) -> None:
        """One optimiser step from the gradients that stand in the model."""
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        for fp32, p in zip(self.master, self.model.parameters(), strict=True):
            fp32.grad, p.grad = p.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self.master, 1.0)
        self.optimizer.step()
        self.spread()

    def spread(self) -> None:
        """Copy the fp32 weights into the model."""
        import torch

        with torch.no_grad():
            for fp32, p in zip(self.master, self.model.parameters(), strict=True):
                p.copy_(fp32)
