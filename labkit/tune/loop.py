"""The Trainer behind `labkit.tune.train.train`, without what costs a small model most.

Imported only when a training begins: it needs torch and transformers. Introduced in 08_train.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from labkit.checkpoint import precision
from labkit.errors import LabError
from labkit.tune.prepare import IGNORED, Collator, Row
from labkit.tune.train import Check, TrainSettings
from labkit.tune.train_watch import COMPLETE, Watch, best_file, newest


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


@dataclass(frozen=True)
class Ran:
    """Steps and seconds of a training, and what it tells: the losses of the steps, the figures of the epochs."""

    steps: int
    seconds: float
    told: tuple[tuple[float, ...], tuple[dict[str, float], ...]]


def run(
    network: PreTrainedModel, rows: Sequence[Row], steps: Sequence[Sequence[int]], settings: TrainSettings,
    home: Path, pad: int, check: Check | None, progress: bool, save_seconds: float,
) -> Ran:  # fmt: skip
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
    trainer.remove_callback(PrinterCallback)
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
    return Ran(trainer.state.global_step, watch.seconds, (tuple(trainer.losses), tuple(watch.epochs)))


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
