"""Train the pocket model from nothing on the stream of `data/make/stream.py`: resumable, on a CPU or a GPU.

    python -m data.make.pretrain --steps 18000       # three hours on one core; rerun after any kill to go on

The next level of the curriculum begins when the model answers enough of the present one exactly.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data.make.pocket import TOKENS, WIDTHS, batches, make_model, make_tokenizer, tensors
from labkit.model import precision
from labkit.tune.train import in_blocks

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

ADVANCE = (0.50, 0.60, 0.75, 0.65, 0.50, 0.35)  # exact answers that end each level but the last
OTHER = (0.2, 0.2, 0.2, 0.05, 0.05, 0.05, 0.0)  # weight of what is no answer: it teaches to read, and then is noise


def backbone(model: "Qwen3ForCausalLM", device: str) -> Callable:
    """The model up to its last hidden states, compiled once for each shape of batch where a compiler is at hand."""
    import torch
    from transformers import AttentionInterface

    AttentionInterface.register("in_blocks", in_blocks)
    model.set_attn_implementation("in_blocks" if device == "cpu" else "sdpa")
    torch._dynamo.config.recompile_limit = 2 * len(WIDTHS)
    return torch.compile(model.model, dynamic=False) if device == "cuda" or shutil.which("g++") else model.model


class Weights:
    """A bf16 model to compute with and fp32 weights to add small steps to: a third faster on a CPU than autocast.

    Hidden matrices are trained by Muon (Jordan et al. 2024, steps as long as AdamW's: Liu et al. 2025), the rest by AdamW.
    A processor without bf16, which would emulate it slowly, computes in fp32.
    """

    def __init__(self, model: "Qwen3ForCausalLM", peak: float):
        import torch

        half = precision(model.device.type) == "bfloat16"
        if not half:
            torch.optim._muon._zeropower_via_newtonschulz = orthogonal
        self.master = [p.detach().clone().float().requires_grad_() for p in model.parameters()]
        self.model = (model.bfloat16() if half else model.float()).train()
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


def orthogonal(
    grad: "torch.Tensor", coefficients: tuple[float, float, float], steps: int, eps: float
) -> "torch.Tensor":
    """Muon's Newton-Schulz iteration in fp32, in place of PyTorch's, which is in bf16."""
    a, b, c = coefficients
    flat = grad.T if len(grad) > grad.shape[1] else grad
    made = flat / flat.norm().clamp(min=eps)
    for _ in range(steps):
        gram = made @ made.T
        made = a * made + (b * gram + c * gram @ gram) @ made
    return made if flat is grad else made.T


def losses(
    model: "Qwen3ForCausalLM", body: Callable, x: "torch.Tensor", a: "torch.Tensor", other: float
) -> "tuple[torch.Tensor, float, float]":
    """Weighted loss (answers 1, other text `other`), mean answer loss, and the share of answers right to the last token.

    Only a quarter of the other positions, with four times the weight, goes through the vocabulary: the same loss on average.
    """
    import torch

    turn = a[:, 1:]
    keep = (turn > 0) | ((turn == 0) & (torch.rand(turn.shape, device=x.device) < 0.25 * (other > 0)))
    logits = model.lm_head(body(input_ids=x, use_cache=False).last_hidden_state[:, :-1][keep])
    target, turns = x[:, 1:][keep], turn[keep]
    ce = torch.nn.functional.cross_entropy(logits.float(), target, reduction="none")
    weight = torch.where(turns > 0, 1.0, 4 * other)
    with torch.no_grad():
        key = (torch.arange(len(x), device=x.device)[:, None] * 64 + turn)[keep][turns > 0]
        wrong = (logits.argmax(-1) != target)[turns > 0]
        exact = 1 - len(key[wrong].unique()) / max(1, len(key.unique()))
    return (ce * weight).sum() / weight.sum(), ce[turns > 0].mean().item(), exact


def rate(step: int, steps: int, peak: float) -> float:
    """Warm up over 100 steps, hold, and fall to 2 % over the last half of the steps (so a run can be made longer)."""
    return peak * min(1.0, (step + 1) / 100, max(0.02, (steps - step) / (0.5 * steps)))


def save_state(folder: Path, **state: object) -> None:
    """Write the training state so that a kill leaves either the old one or the new one."""
    import torch

    torch.save(state, folder / "state.tmp")
    os.replace(folder / "state.tmp", folder / "state.pt")


def train(folder: Path, steps: int, peak: float, seed: int, every: int, start: Path | None = None) -> Iterator[dict]:
    """Train to `steps`, resuming what `folder` holds; yields one log entry per `every` steps.

    A new run begins from nothing or, on the last level, from the model in the folder `start`.
    """
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = load_tokenizer(folder, seed, start)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32) if start else make_model(tokenizer, seed)
    weights = Weights(model.to(device), peak)
    body = backbone(weights.model, device)
    step, level, pool, exact, seen = 0, len(ADVANCE) if start else 0, 0, 0.0, 0
    if (folder / "state.pt").exists():
        state = torch.load(folder / "state.pt", map_location=device, weights_only=True)
        with torch.no_grad():
            for fp32, saved in zip(weights.master, state["master"], strict=True):
                fp32.copy_(saved)
        weights.spread()
        for optimizer, saved in zip(weights.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, level, pool, exact, seen = state["at"]
    began, tokens = time.time(), 0
    while step < steps:
        for batch in batches(tokenizer, level, pool, seed):
            x, a = (t.to(device) for t in tensors(batch))
            torch.manual_seed(seed + step)
            loss, answer_loss, right = losses(weights.model, body, x, a, OTHER[level])
            loss.backward()
            weights.step(rate(step, steps, peak))
            exact, step, tokens = exact * 0.97 + right * 0.03, step + 1, tokens + int((a >= 0).sum())
            if step % every == 0:
                speed = tokens / (time.time() - began)
                left = (steps - step) * TOKENS * 0.8 / speed / 60  # a batch is four fifths full
                yield {
                    "step": step,
                    "level": level,
                    "exact": round(exact, 4),
                    "answer_loss": round(answer_loss, 4),
                    "tokens": seen + tokens,
                    "tokens_per_second": round(speed),
                    "minutes_left": round(left, 1),
                }
        pool += 1
        if level < len(ADVANCE) and exact > ADVANCE[level]:
            level, exact = level + 1, 0.0
        if pool % 8 == 0 or step >= steps:
            save_state(
                folder,
                master=weights.master,
                optimizers=[optimizer.state_dict() for optimizer in weights.optimizers],
                at=(step, level, pool, exact, seen + tokens),
            )
    weights.model.bfloat16().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")


def load_tokenizer(folder: Path, seed: int, start: Path | None = None) -> "PreTrainedTokenizerFast":
    """The tokenizer of a run: made once, or taken from the model to start with, and kept beside the state."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer").exists():
        tokenizer = AutoTokenizer.from_pretrained(start) if start else make_tokenizer(seed)
        tokenizer.save_pretrained(folder / "tokenizer.tmp")
        os.replace(folder / "tokenizer.tmp", folder / "tokenizer")
    return AutoTokenizer.from_pretrained(folder / "tokenizer")


def main(
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished run there goes on.")] = Path(
        "runs/pretrain"
    ),
    steps: Annotated[int, typer.Option(help="Optimiser steps in all.")] = 18000,
    peak: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Seed of weights and stream.")] = 0,
    every: Annotated[int, typer.Option(help="Steps between log lines.")] = 20,
    start: Annotated[
        Path | None, typer.Option(exists=True, help="Train this model on, on the last level; take another seed.")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Measure the shipped model again; do not train.")
    ] = False,
) -> None:
    """Train the pocket model, or measure the shipped one.

    Example: python -m data.make.pretrain --steps 18000, then copy runs/pretrain/model to data/models/pocket
    """
    if evaluate:
        from data.make.card import agree

        raise typer.Exit(0 if agree() else 1)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "log.jsonl", "a", encoding="utf-8") as log:
        for entry in train(out, steps, peak, seed, every, start):
            typer.echo(json.dumps(entry))
            log.write(json.dumps(entry) + "\n")
            log.flush()


if __name__ == "__main__":
    typer.run(main)
