"""What happens beside the steps of a training: checks, checkpoints that are marked complete, the progress bar.

Imported only when a training begins: it needs torch and transformers. Introduced in 08_train.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list
from safetensors.torch import save
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm
from transformers import TrainerCallback

from labkit.errors import LabError
from labkit.store import write_bytes, write_json
from labkit.tune.prepare import IGNORED, Collator, Row
from labkit.tune.train import Check

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from labkit.tune.loop import AnswerTrainer

COMPLETE = "complete.json"


class Watch(TrainerCallback):
    """Checks after every epoch, saves by the clock, marks what is saved as complete, and draws the progress bar.

    `sizes` are the tokens of each step; `marker` is what the checkpoint that is resumed says.
    """

    def __init__(
        self, trainer: AnswerTrainer, home: Path, bar: tqdm, marker: dict[str, Any], sizes: Sequence[int],
        epochs: int, check: Check | None, every: float,
    ) -> None:  # fmt: skip
        self.trainer, self.home, self.bar, self.check, self.every = trainer, home, bar, check, every
        self.epochs, self.sizes, self.per_epoch = list(marker["epochs"]), sizes, len(sizes) // epochs
        self.start, self.before = marker["step"], marker["seconds"]
        self.began = self.saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a kill too, without those of checking."""
        return self.before + time.perf_counter() - self.began

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell of the step, check at the end of an epoch, and ask for a checkpoint when the last is old enough."""
        speed = sum(self.sizes[self.start : state.global_step]) / (time.perf_counter() - self.began)
        self.bar.set_postfix_str(f"loss {self.trainer.losses[-1]:.3f}, {speed:,.0f} tokens/s", refresh=False)
        self.bar.update(1)
        if state.global_step % self.per_epoch == 0:
            control.should_training_stop |= self._end_epoch()
        (due,) = broadcast_object_list([time.perf_counter() - self.saved >= self.every])  # the first process decides
        control.should_save = due and not control.should_training_stop and state.global_step < state.max_steps

    def _end_epoch(self) -> bool:
        """Note the epoch's loss and what is measured, and keep the best weights; whether to stop."""
        losses = self.trainer.losses[-self.per_epoch :]
        self.epochs.append({"train loss": sum(losses) / len(losses)})
        if not self.check:
            return False
        paused, network = time.perf_counter(), self.trainer.model.eval()
        with torch.no_grad():
            measured = {name: float(value) for name, value in self.check.measure().items()}
        if odd := [name for name, value in measured.items() if not math.isfinite(value)]:
            raise LabError(f"'{odd[0]}' is {measured[odd[0]]} after epoch {len(self.epochs)}: lower the learning rate")
        self.epochs[-1] |= measured
        network.train()
        if self.check.patience is not None and self.check.best(self.epochs) == len(self.epochs) - 1:
            write_bytes(best_file(self.home, len(self.epochs) - 1), save(trained(network)))
        self.began += time.perf_counter() - paused
        return self.check.enough(self.epochs)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The marker is written last and whole: a checkpoint without it was cut off."""
        self.saved = time.perf_counter()
        if not state.is_world_process_zero:
            return
        marker = {"step": state.global_step, "seconds": self.seconds, "losses": self.trainer.losses}
        write_json(self.home / f"checkpoint-{state.global_step}" / COMPLETE, marker | {"epochs": self.epochs})


def trained(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that are trained, by name."""
    return {name: weight.detach() for name, weight in network.named_parameters() if weight.requires_grad}


def best_file(home: Path, epoch: int) -> Path:
    """Where the weights after an epoch are kept that was the best so far."""
    return home / f"best-{epoch}.safetensors"


def newest(home: Path) -> tuple[Path | None, dict[str, Any]]:
    """The newest complete checkpoint with what its marker says; (None, an empty start) without one."""
    marked = [(json.loads(path.read_text("utf-8")), path.parent) for path in home.glob(f"*/{COMPLETE}")]
    if not marked:
        return None, {"step": 0, "seconds": 0.0, "losses": [], "epochs": []}
    marker, folder = max(marked, key=lambda pair: pair[0]["step"])
    return folder, marker


def answer_loss(network: PreTrainedModel, rows: Sequence[Row], pad: int, batch_size: int = 32) -> float:
    """Mean cross-entropy of the rows' answer tokens, in the network's own precision; what a check watches.

    Introduced in 08_train.

    >>> Check(lambda: {"loss": answer_loss(model.network, held_out, pad=0)}, patience=2)
    """
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
