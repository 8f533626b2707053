"""The Trainer behind `labkit.tune.train.train`, without what costs a small model most.

Imported only when a training begins: it needs torch and transformers. Introduced in 08_train.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from labkit.checkpoint import precision
from labkit.errors import LabError
from labkit.store import write_json
from labkit.tune.prepare import IGNORED, Collator, Row
from labkit.tune.train import TrainSettings

COMPLETE = "complete.json"


class Steps(torch.utils.data.Dataset):
    """One item for each optimiser step: the rows of its batch."""

    def __init__(self, rows: Sequence[Row], steps: Sequence[Sequence[int]]) -> None:
        self.rows, self.steps = rows, steps

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
        with torch.autocast(labels.device.type, torch.bfloat16, precision(labels.device.type) == "bfloat16"):
            logits = model(input_ids=inputs["input_ids"], use_cache=False, logits_to_keep=columns).logits
        loss = cross_entropy(logits.float().flatten(0, 1), labels[:, columns].flatten(), ignore_index=IGNORED)
        self.losses.append(loss.item())
        if not torch.isfinite(loss):
            raise LabError(f"the loss is {loss.item()} at step {len(self.losses)}: lower the learning rate")
        return loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it would walk over all modules at every step."""
        return 0


class Watch(TrainerCallback):
    """Saves by the clock, marks a checkpoint complete once it is, and draws the progress bar."""

    def __init__(self, trainer: AnswerTrainer, home: Path, bar: tqdm, before: float, every: float) -> None:
        self.trainer, self.home, self.bar, self.before, self.every = trainer, home, bar, before, every
        self.began = self.saved = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint when the last is old enough and steps remain."""
        self.bar.set_postfix(loss=f"{self.trainer.losses[-1]:.3f}", refresh=False)
        self.bar.update(1)
        due = time.perf_counter() - self.saved >= self.every
        control.should_save = due and state.global_step < state.max_steps

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The marker is written last and whole: a checkpoint without it was cut off."""
        seconds = self.before + time.perf_counter() - self.began
        marker = {"step": state.global_step, "seconds": seconds, "losses": self.trainer.losses}
        write_json(self.home / f"checkpoint-{state.global_step}" / COMPLETE, marker)
        self.saved = time.perf_counter()


def newest(home: Path) -> tuple[Path | None, dict[str, Any]]:
    """The newest complete checkpoint with what its marker says; (None, an empty start) without one."""
    marked = [(json.loads(path.read_text("utf-8")), path.parent) for path in home.glob(f"*/{COMPLETE}")]
    if not marked:
        return None, {"step": 0, "seconds": 0.0, "losses": []}
    marker, folder = max(marked, key=lambda pair: pair[0]["step"])
    return folder, marker


def run(
    network: PreTrainedModel, rows: Sequence[Row], steps: Sequence[Sequence[int]], settings: TrainSettings,
    home: Path, pad: int, progress: bool, save_seconds: float,
) -> tuple[list[float], float]:  # fmt: skip
    """Train on from the newest complete checkpoint in `home`: the losses, and the seconds before it."""
    checkpoint, marker = newest(home)
    collate = Collator(pad)
    trainer = AnswerTrainer(
        network,
        _arguments(settings, home, len(steps)),
        data_collator=lambda batch: collate(batch[0]),
        train_dataset=Steps(rows, steps),
    )
    trainer.losses = list(marker["losses"])
    trainer.remove_callback(PrinterCallback)
    with tqdm(total=len(steps), initial=marker["step"], desc="training", unit="step", disable=not progress) as bar:
        trainer.add_callback(Watch(trainer, home, bar, marker["seconds"], save_seconds))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer.losses, marker["seconds"]


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
    )  # fmt: skip
