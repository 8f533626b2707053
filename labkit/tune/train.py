"""Fine-tune on tokenised rows through transformers' Trainer; a killed run goes on. Introduced in 08_train."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.quiet import quiet
from labkit.store import address
from labkit.tune.prepare import IGNORED, Collator, Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SCHEDULES = ("linear", "cosine", "constant")
POOL = 16  # batches drawn together and sorted by length
SHORT = 384  # tokens up to which plain attention trains faster on a CPU than the fused one


@dataclass(frozen=True)
class TrainSettings:
    """How to train: `batch_size` in rows, `warmup` as a share of the steps, AdamW, gradients clipped at 1.

    `schedule` is what the rate does after the warm-up: linear or cosine to zero, or constant.

    >>> TrainSettings(epochs=10, learning_rate=1e-3).schedule
    'cosine'
    """

    epochs: int = 3
    learning_rate: float = 5e-4
    batch_size: int = 32
    seed: int = 0
    schedule: str = "cosine"
    warmup: float = 0.05
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise LabError(f"epochs {self.epochs}, batch_size {self.batch_size}: give at least 1 of each")
        if not 0 < self.learning_rate < float("inf"):
            raise LabError(f"learning rate {self.learning_rate}: give a number above 0, for example 5e-4")
        if self.schedule not in SCHEDULES:
            raise LabError(f"unknown schedule '{self.schedule}': choose {', '.join(SCHEDULES)}")


@dataclass(frozen=True)
class Check:
    """What to measure after every epoch, as names and numbers, and whether to stop by it.

    With `patience`, training ends once `watch` has not fallen for so many epochs, and the weights of the best epoch
    come back.

    >>> Check(lambda: {"loss": answer_loss(network, held_out)}, patience=2)
    """

    measure: Callable[[], Mapping[str, float]]
    patience: int | None = None
    watch: str = "loss"

    def best(self, epochs: Sequence[Mapping[str, float]]) -> int:
        """The number, from 0, of the epoch with the lowest `watch`; of equals the first."""
        return min(range(len(epochs)), key=lambda n: (epochs[n][self.watch], n))

    def enough(self, epochs: Sequence[Mapping[str, float]]) -> bool:
        """Whether to stop now."""
        return self.patience is not None and len(epochs) - 1 - self.best(epochs) >= self.patience


@dataclass(frozen=True)
class TrainReport:
    """What a training took: optimiser steps, seconds, tokens without padding, and the loss of every step.

    `epochs` holds, for each, the mean loss of its steps as "train loss" and what the check measured; the seconds of
    checking are not counted.
    """

    steps: int
    seconds: float
    tokens: int
    losses: tuple[float, ...]
    epochs: tuple[dict[str, float], ...] = ()

    @property
    def tokens_per_second(self) -> float:
        """Tokens without padding in a second."""
        return self.tokens / max(self.seconds, 1e-9)


def batches(lengths: Sequence[int], settings: TrainSettings) -> list[list[int]]:
    """The rows of every step of every epoch: shuffled, then of like length within pools of batches.

    >>> [len(batch) for batch in batches([3, 9, 3], TrainSettings(epochs=1, batch_size=2))]
    [2, 1]
    """
    rng = Random(settings.seed)
    steps: list[list[int]] = []
    for _ in range(settings.epochs):
        order = rng.sample(range(len(lengths)), len(lengths))
        span = POOL * settings.batch_size
        epoch = []
        for start in range(0, len(order), span):
            pool = sorted(order[start : start + span], key=lambda i: lengths[i])
            epoch += [pool[i : i + settings.batch_size] for i in range(0, len(pool), settings.batch_size)]
        rng.shuffle(epoch)
        steps += epoch
    return steps


def train(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    settings: TrainSettings,
    folder: Path | str,
    progress: bool = True,
    save_seconds: float = 20.0,
    check: Check | None = None,
    keep: Callable[[TrainReport], object] | None = None,
) -> TrainReport:
    """Train the float32 weights that require gradients, in place; the same seed gives the same weights.

    `folder` holds checkpoints while it runs, one every `save_seconds`. After a kill the same call, with the
    same initial weights, goes on from the newest complete one and ends where a straight run ends. Computes in
    bfloat16 where the processor does. `check` measures after every epoch and may stop early; `keep` saves the
    trained weights before the checkpoints go. Under torchrun or accelerate the processes share each batch and the first
    alone writes. Raises LabError for no rows, weights other than float32, a loss that is no number, and a full disk.

    >>> report = train(model.network, model.tokenizer, rows, TrainSettings(epochs=1), "runs/train")
    """
    if not rows:
        raise LabError("there is nothing to train on: give at least one row")
    if any(p.requires_grad and "float32" not in str(p.dtype) for p in network.parameters()):
        raise LabError("weights to train must be float32: load the model with dtype='float32'")
    lengths = [len(row["input_ids"]) for row in rows]
    steps = batches(lengths, settings)
    home = Path(folder) / f"train-{_name(network, rows, settings)[:16]}"
    pad = tokenizer.pad_token_id or 0
    with quiet(), _attention(network, max(lengths)):
        from accelerate import PartialState
        from safetensors import SafetensorError

        from labkit.tune.loop import run  # which needs torch and transformers

        try:
            trace = run(network, rows, steps, settings, home, pad, check, progress, save_seconds)
            tokens = sum(lengths[row] for step in steps[: trace.steps] for row in step)
            report = TrainReport(trace.steps, trace.seconds, tokens, trace.losses, trace.epochs)
            network.eval()
            if keep and PartialState().is_main_process:
                keep(report)
        except (OSError, SafetensorError) as error:
            raise LabError(f"cannot write in {folder} ({error}): make room or choose another folder") from error
    if PartialState().is_main_process:
        shutil.rmtree(home, ignore_errors=True)
    PartialState().wait_for_everyone()
    return report


def _name(network: PreTrainedModel, rows: Sequence[Row], settings: TrainSettings) -> str:
    """An address of all that decides the result: no checkpoint of another training is resumed."""
    import torch

    weights = hashlib.sha256()
    for weight in network.parameters():
        weights.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return address(weights=weights.hexdigest(), rows=list(rows), settings=settings)


@contextmanager
def _attention(network: PreTrainedModel, longest: int) -> Iterator[None]:
    """Plain attention while training short rows on a CPU: fused attention's backward is slower there."""
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    before = base.config._attn_implementation
    short = longest <= SHORT and before == "sdpa" and not _on_gpu()
    if short:
        base.set_attn_implementation("eager")
    try:
        yield
    finally:
        if short:
            base.set_attn_implementation(before)


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def answer_loss(network: PreTrainedModel, rows: Sequence[Row], pad: int, batch_size: int = 32) -> float:
    """Mean cross-entropy of the rows' answer tokens, in the network's own precision; what a check watches.

    >>> Check(lambda: {"loss": answer_loss(model.network, held_out, pad=0)}, patience=2)
    """
    import torch
    from torch.nn.functional import cross_entropy

    total, count = 0.0, 0
    for start in range(0, len(rows), batch_size):
        batch = Collator(pad)(rows[start : start + batch_size])
        labels = batch["labels"][:, 1:].to(network.device)
        columns = (labels != IGNORED).any(0).nonzero()[:, 0]
        with torch.inference_mode():
            logits = network(batch["input_ids"].to(network.device), use_cache=False, logits_to_keep=columns).logits
        learned = labels[:, columns].flatten()
        total += cross_entropy(logits.float().flatten(0, 1), learned, ignore_index=IGNORED, reduction="sum").item()
        count += int((learned != IGNORED).sum())
    return total / count
