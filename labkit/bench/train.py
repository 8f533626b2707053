"""Our training against Trainer as the article calls it: the same rows, steps, batch, rate and schedule.

Introduced in 08_train.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from labkit.bench import Figure
from labkit.tune.prepare import IGNORED, Row

if TYPE_CHECKING:
    from labkit.model import Model
    from labkit.tune.train import TrainSettings

RIVAL = "Trainer(model, TrainingArguments(num_train_epochs, learning_rate), rows padded to one length), float32"


def measure(quick: bool = False) -> list[Figure]:
    """Tokens per second without padding (median of alternating rounds), and the loss on the rows after training.

    All weights of the pocket model on training pairs of the tuned arm, each round with another seed. The rival's rows
    are padded to the longest, the kindest fixed length. Introduced in 08_train.

    >>> [figure.ratio for figure in measure(quick=True)]
    """
    import labkit
    from labkit.compare.training import closed_book
    from labkit.tune.prepare import Example, dataset
    from labkit.tune.train import TrainSettings

    lab = labkit.open("pocket", progress=False)
    pairs = [Example(messages) for messages in closed_book(lab.pairs[:: 20 if quick else 3])]
    rows = dataset(pairs, lab.model.tokenizer, lab.profile.context).rows
    speeds: dict[str, list[float]] = {"ours": [], "theirs": []}
    losses: dict[str, list[float]] = {"ours": [], "theirs": []}
    for seed in range(1 if quick else 3):
        settings = TrainSettings(epochs=1 if quick else 3, batch_size=8, schedule="linear", warmup=0, seed=seed)
        for name, way in {"ours": _ours, "theirs": _theirs}.items():
            speed, loss = _trial(way, lab.profile.model_path, rows, settings)
            speeds[name].append(speed)
            losses[name].append(loss)
    speed = [float(np.median(speeds[name])) for name in ("ours", "theirs")]
    loss = [float(np.mean(losses[name])) for name in ("ours", "theirs")]
    steps = f"{-(-len(rows) // 8) * settings.epochs} steps of 8 rows"
    return [
        Figure(f"full fine-tuning, {steps}", RIVAL, *speed, "tokens/s without padding"),
        Figure(f"loss on the rows after {steps}", RIVAL, *loss, "cross-entropy", more_is_better=False),
    ]


def _trial(
    way: Callable[[Model, Sequence[Row], TrainSettings], None], path: str, rows: Sequence[Row], settings: TrainSettings
) -> tuple[float, float]:
    """Tokens per second of one training from the start, and the loss after it, both in float32 weights."""
    from labkit.model import load_model
    from labkit.tune.train_watch import answer_loss

    model = load_model(path, dtype="float32")
    began = time.perf_counter()
    way(model, rows, settings)
    seconds = time.perf_counter() - began
    tokens = settings.epochs * sum(len(row["input_ids"]) for row in rows)
    return tokens / seconds, answer_loss(model.network.eval(), rows, pad=0)


def _ours(model: Model, rows: Sequence[Row], settings: TrainSettings) -> None:
    from labkit.tune.train import train

    with tempfile.TemporaryDirectory() as folder:
        train(model.network, model.tokenizer, rows, settings, folder, progress=False)


def _theirs(model: Model, rows: Sequence[Row], settings: TrainSettings) -> None:
    """The article's call, mended only as far as it must be to run; what it prints is switched off."""
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from labkit.quiet import quiet

    with tempfile.TemporaryDirectory() as folder, quiet():
        arguments = TrainingArguments(
            output_dir=folder, num_train_epochs=settings.epochs, learning_rate=settings.learning_rate,
            seed=settings.seed, disable_tqdm=True, report_to="none",
        )  # fmt: skip
        trainer = Trainer(model=model.network, args=arguments, train_dataset=padded(rows))
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def padded(rows: Sequence[Row]) -> list[Row]:
    """Every row as long as the longest: id 0 and no attention behind its end, and no loss. Introduced in 08_train.

    >>> padded([{"input_ids": [5], "labels": [5]}, {"input_ids": [6, 7], "labels": [6, 7]}])[0]["labels"]
    [5, -100]
    """
    longest = max(len(row["input_ids"]) for row in rows)
    gaps = [longest - len(row["input_ids"]) for row in rows]
    return [
        {
            "input_ids": row["input_ids"] + [0] * gap,
            "attention_mask": [1] * (longest - gap) + [0] * gap,
            "labels": row["labels"] + [IGNORED] * gap,
        }
        for row, gap in zip(rows, gaps, strict=True)
    ]
