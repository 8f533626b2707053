"""The command line's second half: what changes weights. Introduced in 08_train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli_options import ProfileName, checked

app = typer.Typer()


@app.command()
def tune(
    pairs: Annotated[Path, typer.Argument(help="Examples: .jsonl with messages, or .csv with prompt and response.")],
    out: Annotated[Path, typer.Option(help="Folder for what is trained.")],
    profile: ProfileName = "pocket",
    full: Annotated[bool, typer.Option("--full", help="Train all weights; without it, a LoRA adapter.")] = False,
    epochs: Annotated[int, typer.Option(help="Times that each example is seen.")] = 3,
    rate: Annotated[float | None, typer.Option(help="Learning rate.", show_default="2e-3, full 5e-4")] = None,
    batch: Annotated[int, typer.Option(help="Examples in a step.")] = 16,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 16,
    seed: Annotated[int, typer.Option(help="Decides the order of the examples.")] = 0,
    drop_long: Annotated[bool, typer.Option("--drop-long", help="Leave out examples beyond the context.")] = False,
) -> None:
    """Fine-tune a model on your own pairs of prompt and response. The same command goes on after a kill.

    Example: labkit tune pairs.csv --out runs/mine --epochs 10
    """
    from labkit.execute import environment
    from labkit.profile import resolve
    from labkit.tune.adapters import LoraSettings
    from labkit.tune.train import TrainSettings
    from labkit.tune.train_file import tune_file

    chosen = checked(resolve, profile)
    shared = {"epochs": epochs, "batch_size": batch, "seed": seed, **({"learning_rate": rate} if rate else {})}
    settings = TrainSettings(**shared) if full else LoraSettings(**shared, rank=rank)
    with environment(profile):
        tuned = tune_file(pairs, out, chosen.model_path, settings, chosen.context, drop_long, sys.stderr.isatty())
    print(tuned)
