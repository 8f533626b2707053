"""Fine-tune on tokenised rows, without what costs a small model most; a killed run goes on where it was.

Importing this waits for torch and transformers: whoever may not need it imports it late.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy
from transformers import AttentionInterface, AttentionMaskInterface, get_scheduler
from transformers.masking_utils import sdpa_mask

from labkit.decode import attend, is_llama
from labkit.errors import LabError, one_line
from labkit.model import precision
from labkit.quiet import bar, quiet
from labkit.store import address, hash_weights
from labkit.tune.prepare import IGNORED, Collator, Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SCHEDULES = ("linear", "cosine", "constant")
POOL = 16  # batches drawn together and sorted by length
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class TrainSettings:
    """How to train: `batch_size` in rows, `warmup` as a share of the steps, AdamW, gradients clipped at 1.

    `schedule` is what the rate does after the warm-up: linear or cosine to zero, or constant.
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

    >>> Check(lambda: {"loss": answer_loss(network, held_out, pad=0)}, patience=2)
    """

    measure: Callable[[], Mapping[str, float]]
    patience: int | None = None
    watch: str = "loss"

    def best(self, epochs: Sequence[Mapping[str, float]]) -> int:
        """The number, from 0, of the epoch with the lowest `watch`; of equals the first."""
        return min(range(len(epochs)), key=lambda n: (epochs[n][self.watch], n))


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
    """The rows of every step of every epoch: shuffled, then of similar length within pools of batches."""
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

    `folder` holds a checkpoint while it runs, written every `save_seconds`. After a kill the same call, with the
    same initial weights, goes on from it and ends where a straight run ends. Computes in bfloat16 where the processor
    does. `check` measures after every epoch and may stop early; `keep` saves the trained weights before the
    checkpoint goes. Under torchrun or accelerate the processes share each batch and the first alone writes.
    Raises LabError for no rows, weights other than float32, a loss that is no number, and a full disk.
    """
    if not rows:
        raise LabError("there is nothing to train on: give at least one row")
    if any(p.requires_grad and p.dtype != torch.float32 for p in network.parameters()):
        raise LabError("weights to train must be float32: load the model with dtype='float32'")
    lengths = [len(row["input_ids"]) for row in rows]
    home = Path(folder) / f"train-{_name(network, rows, settings)[:16]}"
    with quiet(), _attention(network):
        try:
            run = _Run(network, batches(lengths, settings), settings, home)
            report = run.go(rows, lengths, tokenizer.pad_token_id or 0, check, progress, save_seconds)
            if keep and run.accelerator.is_main_process:
                keep(report)
        except (OSError, SafetensorError) as error:
            raise LabError(f"cannot write in {folder} ({error}): make room or choose another folder") from error
    if run.accelerator.is_main_process:
        shutil.rmtree(home, ignore_errors=True)
    run.accelerator.wait_for_everyone()
    return report


def _name(network: PreTrainedModel, rows: Sequence[Row], settings: TrainSettings) -> str:
    """An address of all that decides the result: no checkpoint of another training is resumed."""
    return address(weights=hash_weights(network), rows=list(rows), settings=settings)


def in_blocks(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float = 1.0,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """`attend` behind transformers' attention interface; what the mask hides from the last token is padding."""
    hidden = None if attention_mask is None else ~attention_mask[:, 0, -1]
    return attend(query, key, value, scaling, hidden).transpose(1, 2).contiguous(), None


@contextmanager
def _attention(network: PreTrainedModel) -> Iterator[None]:
    """Attention in blocks while training on a processor: the backward pass of the fused one is slower there."""
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    before = base.config._attn_implementation
    AttentionInterface.register("in_blocks", in_blocks)
    AttentionMaskInterface.register("in_blocks", sdpa_mask)
    if is_llama(base.config) and not torch.cuda.is_available():
        base.set_attn_implementation("in_blocks")
    try:
        yield
    finally:
        base.set_attn_implementation(before)


class _Run:
    """A training under way: what a checkpoint holds of it, and its steps."""

    def __init__(self, network: PreTrainedModel, steps: list[list[int]], settings: TrainSettings, home: Path) -> None:
        torch.manual_seed(settings.seed)
        self.steps, self.home, self.per_epoch = steps, home, len(steps) // settings.epochs
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())  # knows of other processes
        self.network = self.shared = network
        if self.accelerator.num_processes > 1 or network.device.type != self.accelerator.device.type:
            self.shared = self.accelerator.prepare_model(network)  # which also lends it an earlier trainer's precision
        self.trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        # Weight decay is for matrices alone: norms and biases, which are vectors, go without.
        matrices, vectors = ([w for w in self.trained.values() if (w.ndim > 1) is many] for many in (True, False))
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, settings.learning_rate, fused=True)
        kind = "constant_with_warmup" if settings.schedule == "constant" and settings.warmup else settings.schedule
        self.rate = get_scheduler(kind, self.optimizer, round(settings.warmup * len(steps)), len(steps))
        self.seconds, self.losses, self.epochs = 0.0, [], []
        self.best: dict[str, torch.Tensor] = {}
        if (home / CHECKPOINT).is_file():
            self._resume(torch.load(home / CHECKPOINT, map_location="cpu", weights_only=True))

    def _resume(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["weights"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate.load_state_dict(state["rate"])
        torch.set_rng_state(state["random"])
        self.seconds, self.losses, self.epochs, self.best = (state[k] for k in ("seconds", "losses", "epochs", "best"))

    def _save(self) -> None:
        """Write the checkpoint under another name, then rename it: one that was cut off is never read."""
        state = {"weights": {name: weight.detach() for name, weight in self.trained.items()}, "best": self.best,
                 "optimizer": self.optimizer.state_dict(), "rate": self.rate.state_dict(),
                 "random": torch.get_rng_state(), "seconds": self.seconds, "losses": self.losses,
                 "epochs": self.epochs}  # fmt: skip
        part = self.home / f"{CHECKPOINT}.part"
        try:
            with open(part, "wb") as file:
                torch.save(state, file)
                os.fsync(file.fileno())
        except RuntimeError as error:  # torch reports a full disk so
            raise OSError(f"a checkpoint was cut off: {one_line(error, 80)}") from error
        part.replace(self.home / CHECKPOINT)

    def go(
        self, rows: Sequence[Row], lengths: Sequence[int], pad: int, check: Check | None, progress: bool, every: float
    ) -> TrainReport:
        """Take the steps that are left, with checks and checkpoints, and report on all."""
        self.home.mkdir(parents=True, exist_ok=True)  # tells now whether it can be written
        sizes = [sum(lengths[row] for row in step) for step in self.steps]
        rank, processes, first = self.accelerator.process_index, self.accelerator.num_processes, len(self.losses)
        collate, began = Collator(pad), time.perf_counter()
        saved, before, tokens = began, self.seconds, 0
        with bar(len(self.steps), "training", progress and rank == 0) as shown:
            shown.n = shown.initial = first
            for number, step in enumerate(self.steps[first:], start=first + 1):
                self._step(collate([rows[i] for i in step[rank::processes] or step[:1]]))
                self.seconds, tokens = before + time.perf_counter() - began, tokens + sizes[number - 1]
                pace = tokens / (self.seconds - before)
                shown.set_postfix_str(f"loss {self.losses[-1]:.3f}, {pace:,.0f} tokens/s", refresh=False)
                shown.update()
                if number % self.per_epoch == 0:
                    paused = time.perf_counter()
                    if self._end_epoch(check):
                        break
                    began += time.perf_counter() - paused  # checking does not count as training
                (due,) = broadcast_object_list([time.perf_counter() - saved >= every])  # the first process decides
                if due and number < len(self.steps):
                    if rank == 0:
                        self._save()
                    saved = time.perf_counter()
        if self.best:
            self.network.load_state_dict(self.best, strict=False)
        self.network.eval()
        count = len(self.losses)
        return TrainReport(count, self.seconds, sum(sizes[:count]), tuple(self.losses), tuple(self.epochs))

    def _step(self, batch: dict[str, torch.Tensor]) -> None:
        self.shared.train()
        device = self.accelerator.device.type
        with torch.autocast(device, torch.bfloat16, precision(device) == "bfloat16"):
            logits, wanted = _answer_logits(self.shared, batch, self.accelerator.device)
        number = len(self.losses) + 1
        if not len(wanted):
            raise LabError(f"step {number} has nothing to learn: all its labels are -100, leave its rows out")
        loss = cross_entropy(logits, wanted, ignore_index=IGNORED)
        self.losses.append(loss.item())
        if not torch.isfinite(loss):
            raise LabError(f"the loss is {loss.item()} at step {number}: lower the learning rate")
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.trained.values(), 1.0)
        self.optimizer.step()
        self.rate.step()
        self.optimizer.zero_grad()

    def _end_epoch(self, check: Check | None) -> bool:
        """Note the epoch's loss and what is measured, and keep the best weights; whether to stop."""
        losses = self.losses[-self.per_epoch :]
        self.epochs.append({"train loss": sum(losses) / len(losses)})
        if not check:
            return False
        self.network.eval()
        with torch.no_grad():
            measured = {name: float(value) for name, value in check.measure().items()}
        if odd := [name for name, value in measured.items() if not math.isfinite(value)]:
            raise LabError(f"'{odd[0]}' is {measured[odd[0]]} after epoch {len(self.epochs)}: lower the learning rate")
        self.epochs[-1] |= measured
        if check.patience is None:
            return False
        since = len(self.epochs) - 1 - check.best(self.epochs)
        if not since:
            self.best = {name: weight.detach().clone() for name, weight in self.trained.items()}
        return since >= check.patience


def _answer_logits(
    network: torch.nn.Module, batch: dict[str, torch.Tensor], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (n, vocabulary) and labels (n) of the columns in which some answer has a token; no others are computed.

    Padding stands on the right, where causal attention never sees it, so no mask is passed on.
    """
    labels = batch["labels"][:, 1:].to(device)
    columns = (labels != IGNORED).any(0).nonzero()[:, 0]
    if not len(columns):
        return torch.empty(0), torch.empty(0)
    logits = network(input_ids=batch["input_ids"].to(device), use_cache=False, logits_to_keep=columns).logits
    return logits.float().flatten(0, 1), labels[:, columns].flatten()


def answer_loss(network: PreTrainedModel, rows: Sequence[Row], pad: int) -> float:
    """Mean cross-entropy of the rows' answer tokens, in the network's own precision; what a check watches."""
    total, count = 0.0, 0
    for start in range(0, len(rows), 32):
        with torch.inference_mode():
            logits, wanted = _answer_logits(network, Collator(pad)(rows[start : start + 32]), network.device)
        total += cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum").item()
        count += int((wanted != IGNORED).sum())
    return total / count
