"""The Trainer behind `labkit.tune.train.train`, without what costs a small model most, and what happens beside its steps.

Checks, checkpoints that are marked complete, the progress bar. A module of its own since it needs torch and
transformers: the settings in `train` must not wait for them.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from labkit.errors import LabError
from labkit.model import precision
from labkit.store import write_bytes, write_json
from labkit.tune.prepare import IGNORED, Collator, Row

if TYPE_CHECKING:
    from labkit.tune.train import Check, TrainSettings

COMPLETE = "complete.json"


@dataclass(frozen=True)
class Trace:
    """Steps and seconds of a training, the losses of the steps, and the figures of the epochs."""

    steps: int
    seconds: float
    losses: tuple[float, ...]
    epochs: tuple[dict[str, float], ...]


def run(
    network: PreTrainedModel, rows: Sequence[Row], steps: Sequence[Sequence[int]], settings: TrainSettings,
    home: Path, pad: int, check: Check | None, progress: bool, save_seconds: float,
) -> Trace:  # fmt: skip
    """Train on from the newest complete checkpoint in `home`; what was cut off there is deleted first."""
    arguments = _arguments(settings, home, len(steps))
    with arguments.main_process_first(local=False):
        checkpoint, marker = newest(home)
        for folder in home.glob("checkpoint-*"):
            if not (folder / COMPLETE).is_file():  # else the rotation would count it, and drop a complete one
                shutil.rmtree(folder)
    collate = Collator(pad)
    trainer = AnswerTrainer(
        network,
        arguments,
        data_collator=lambda batch: collate(batch[0]),
        train_dataset=Steps(rows, steps, arguments.process_index, arguments.world_size),
    )
    trainer.losses = list(marker["losses"])
    trainer.remove_callback(PrinterCallback)  # which would print the Trainer's own summary
    sizes = [sum(len(rows[i]["input_ids"]) for i in step) for step in steps]
    with tqdm(
        total=len(steps),
        initial=marker["step"],
        desc="training",
        unit="step",
        disable=not progress or arguments.process_index > 0,
    ) as bar:
        watch = Watch(trainer, home, bar, marker, sizes, settings.epochs, check, save_seconds)
        trainer.add_callback(watch)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if check and check.patience is not None:
        network.load_state_dict(load_file(best_file(home, check.best(watch.epochs))), strict=False)
    return Trace(trainer.state.global_step, watch.seconds, tuple(trainer.losses), tuple(watch.epochs))


def _arguments(settings: TrainSettings, home: Path, steps: int) -> TrainingArguments:
    """One item is one ready batch, in order; nothing is logged or reported, two checkpoints are kept."""
    return TrainingArguments(
        output_dir=str(home),
        num_train_epochs=1,
        per_device_train_batch_size=1,
        train_sampling_strategy="sequential",
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule if settings.warmup == 0 or settings.schedule != "constant"
        else "constant_with_warmup",
        warmup_steps=round(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        optim="adamw_torch_fused",
        max_grad_norm=1.0,
        seed=settings.seed,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        save_total_limit=2,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
    )  # fmt: skip


class Steps(torch.utils.data.Dataset):
    """One item for each optimiser step: the rows of its batch, of which each of several processes takes its share."""

    def __init__(self, rows: Sequence[Row], steps: Sequence[Sequence[int]], rank: int, processes: int) -> None:
        self.rows, self.steps = rows, [step[rank::processes] or step[:1] for step in steps]

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, i: int) -> list[Row]:
        return [self.rows[row] for row in self.steps[i]]


class AnswerTrainer(Trainer):
    """Trainer whose loss is computed where an answer stands, and which keeps the loss of every step."""

    losses: list[float]

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Mean cross-entropy over the batch's answer tokens; LabError when it is not a number.

        Only columns in which some answer has a token go through the vocabulary. Padding stands on the right,
        where causal attention never sees it, so no mask is passed on.
        """
        labels = inputs["labels"][:, 1:]
        columns = (labels != IGNORED).any(0).nonzero()[:, 0]
        if not len(columns):
            raise LabError(
                f"step {len(self.losses) + 1} has nothing to learn: all its labels are -100, leave its rows out"
            )
        with torch.autocast(labels.device.type, torch.bfloat16, precision(labels.device.type) == "bfloat16"):
            logits = model(input_ids=inputs["input_ids"], use_cache=False, logits_to_keep=columns).logits
        loss = cross_entropy(logits.float().flatten(0, 1), labels[:, columns].flatten(), ignore_index=IGNORED)
        self.losses.append(loss.item())
        if not torch.isfinite(loss):
            raise LabError(f"the loss is {loss.item()} at step {len(self.losses)}: lower the learning rate")
        return loss

    def get_train_dataloader(self) -> torch.utils.data.DataLoader:
        """Batch after batch, in order; the processes of torchrun have parted each already."""
        return torch.utils.data.DataLoader(self.train_dataset, collate_fn=self.data_collator)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """As Trainer does; torch tells of a full disk by a RuntimeError, here it is an OSError."""
        try:
            super()._save_checkpoint(model, trial)
        except (RuntimeError, SafetensorError) as error:
            raise OSError(f"a checkpoint was cut off: {' '.join(str(error).split())[:80]}") from error

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it would walk over all modules at every step."""
        return 0


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
        self.began += time.perf_counter() - paused  # checking does not count as training
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
