"""Training beside its rivals, each from the same rows, steps, batch size, rate and schedule.

All weights against transformers' Trainer, called as the article calls it; LoRA against trl's SFTTrainer with peft.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tools.bench import Contest, Size, Way, clocked, missing
from tools.bench.chain import plain

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from labkit.tune.adapters import LoraSettings
    from labkit.tune.prepare import Row
    from labkit.tune.train import TrainSettings

TRAINER = "Trainer(model, TrainingArguments(num_train_epochs, learning_rate), rows padded to one length), float32"
SFT = "trl's SFTTrainer with peft, in the same precision, without gradient checkpoints"
ROWS = {"smol": 8, "pocket": 48}


def train(size: Size) -> Iterator[Contest]:
    """Tokens per second without padding, and the loss on the rows after training.

    Only training is timed: no side's loading or tokenising. The rival's rows of a full fine-tuning are padded to the longest,
    the kindest fixed length; SFTTrainer pads each batch as labkit does.

    >>> [contest.work for contest in train(Size(quick=True, models=("pocket",)))]
    """
    import labkit
    from labkit.compare.training import closed_book, conversations, lora_settings, tokenised
    from labkit.tune.train import TrainSettings

    for name in size.models:
        lab = labkit.open(name, progress=False)
        path = str(lab.profile.model_path)
        if name == "pocket":
            rows = tokenised(lab, closed_book(lab.pairs[:: 20 if size.quick else 5]))
            full = TrainSettings(epochs=1, batch_size=8, schedule="linear", warmup=0)
            ways = [partial(way, path, rows, full) for way in (_our_training, _trainer)]
            yield Contest(f"pocket: full fine-tuning, {_steps(rows, full)}", ways[0], {TRAINER: ways[1]})
        talks = conversations(lab, "hybrid")
        rows = tokenised(lab, talks[:: len(talks) // (4 if size.quick else ROWS[name])])
        lora = replace(lora_settings(lab.profile, "hybrid", 0), epochs=1, schedule="linear", warmup=0, batch_size=4)
        sft: Way | str = "pip install trl" if missing("trl") else partial(_sft_training, path, rows, lora)
        ours = partial(_our_training, path, rows, lora)
        yield Contest(f"{name}: LoRA of rank {lora.rank}, {_steps(rows, lora)}", ours, {SFT: sft})


def _steps(rows: Sequence[Row], settings: TrainSettings) -> str:
    mean = round(sum(len(row["input_ids"]) for row in rows) / len(rows))
    return f"{-(-len(rows) // settings.batch_size)} steps of {settings.batch_size} rows of {mean} tokens"


def _measured(seconds: float, network: PreTrainedModel, rows: Sequence[Row]) -> dict[str, float]:
    """The speed of one epoch, and the loss after it."""
    from labkit.tune.train import answer_loss

    tokens = sum(len(row["input_ids"]) for row in rows)
    return {"tokens/s": tokens / seconds, "loss on these rows": answer_loss(network.eval(), rows, pad=0)}


def _our_training(path: str, rows: Sequence[Row], settings: TrainSettings) -> dict[str, float]:
    from labkit.model import load_model
    from labkit.tune.adapters import LoraSettings, add_lora
    from labkit.tune.train import train as fit

    model = load_model(path, dtype="float32")
    network = add_lora(model.network, settings) if isinstance(settings, LoraSettings) else model.network
    with tempfile.TemporaryDirectory() as folder:
        seconds, _ = clocked(lambda: fit(network, model.tokenizer, rows, settings, folder, progress=False))
    return _measured(seconds, network, rows)


def _trainer(path: str, rows: Sequence[Row], settings: TrainSettings) -> dict[str, float]:
    """The article's call, mended only as far as it must be to run."""
    from transformers import Trainer, TrainingArguments

    from labkit.quiet import quiet

    network, _ = plain(path, "float32")
    with tempfile.TemporaryDirectory() as folder, quiet():
        arguments = TrainingArguments(folder, num_train_epochs=settings.epochs, **_silent(settings))
        seconds = _run(Trainer(model=network, args=arguments, train_dataset=padded(rows)))
    return _measured(seconds, network, rows)


def _sft_training(path: str, rows: Sequence[Row], settings: LoraSettings) -> dict[str, float]:
    """The adapter is peft's, untrained as ours is."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from labkit.model import precision
    from labkit.quiet import quiet
    from labkit.tune.adapters import add_lora

    network, tokenizer = plain(path, "float32")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder, quiet():
        arguments = SFTConfig(
            folder, num_train_epochs=settings.epochs, per_device_train_batch_size=settings.batch_size,
            max_length=None, gradient_checkpointing=False, bf16=precision(device) == "bfloat16", use_cpu=device == "cpu",
            save_strategy="no", **_silent(settings),
        )  # fmt: skip
        data = Dataset.from_list([{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows])
        trainer = SFTTrainer(add_lora(network, settings), arguments, train_dataset=data, processing_class=tokenizer)
        seconds = _run(trainer)
    # Its losses are computed elsewhere: the trainer puts a forward of its own, in half precision, into the network.
    fresh = add_lora(plain(path, "float32")[0], settings)
    fresh.load_state_dict(trainer.model.state_dict())
    return _measured(seconds, fresh, rows)


def _silent(settings: TrainSettings) -> dict[str, Any]:
    """What both trainers are given: the rate, the seed, and to print nothing."""
    return {"learning_rate": settings.learning_rate, "seed": settings.seed, "disable_tqdm": True, "report_to": "none"}


def _run(trainer: Any) -> float:
    """Seconds of a trainer's training, its printing of losses switched off."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return clocked(trainer.train)[0]


def padded(rows: Sequence[Row]) -> list[Row]:
    """Every row as long as the longest: id 0 and no attention behind its end, and no loss.

    >>> padded([{"input_ids": [5], "labels": [5]}, {"input_ids": [6, 7], "labels": [6, 7]}])[0]["labels"]
    [5, -100]
    """
    from labkit.tune.prepare import IGNORED

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
