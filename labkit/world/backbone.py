"""What makes the pocket model's training fast: compiled shapes, attention in blocks, bf16 beside fp32 weights, Muon.

Introduced in 00_start.
"""

import shutil
from collections.abc import Callable
from itertools import compress
from typing import TYPE_CHECKING

from labkit.attention import in_blocks
from labkit.world.batches import WIDTHS

if TYPE_CHECKING:
    from transformers import Qwen3ForCausalLM


def backbone(model: "Qwen3ForCausalLM", device: str) -> Callable:
    """The model up to its last hidden states, compiled once for each shape of batch where a compiler is at hand."""
    import torch
    from transformers import AttentionInterface

    AttentionInterface.register("in_blocks_unmasked", in_blocks)  # padding stands on the right and is never scored
    model.set_attn_implementation("in_blocks_unmasked" if device == "cpu" else "sdpa")
    torch._dynamo.config.recompile_limit = 2 * len(WIDTHS)
    return torch.compile(model.model, dynamic=False) if device == "cuda" or shutil.which("g++") else model.model


class Weights:
    """A bf16 model to compute with and fp32 weights to add small steps to: a third faster on a CPU than autocast.

    Hidden matrices are trained by Muon (Jordan et al. 2024, steps as long as AdamW's: Liu et al. 2025), the rest by AdamW.
    """

    def __init__(self, model: "Qwen3ForCausalLM", peak: float):
        import torch

        self.master = [p.detach().clone().float().requires_grad_() for p in model.parameters()]
        self.model = model.bfloat16().train()
        hidden = [p.dim() == 2 and len(p) != model.config.vocab_size for p in self.master]
        self.optimizers = (
            torch.optim.Muon(list(compress(self.master, hidden)), peak, 0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(
                [p for p, inner in zip(self.master, hidden, strict=True) if not inner],
                peak, betas=(0.9, 0.98), weight_decay=0.05, fused=True,
            ),
        )  # fmt: skip

    def step(self, learning_rate: float) -> None:
        """One optimiser step from the gradients that stand in the model."""
        import torch

        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
        for fp32, p in zip(self.master, self.model.parameters(), strict=True):
            fp32.grad, p.grad = p.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self.master, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.spread()

    def spread(self) -> None:
        """Copy the fp32 weights into the model."""
        import torch

        with torch.no_grad():
            for fp32, p in zip(self.master, self.model.parameters(), strict=True):
                p.copy_(fp32)
