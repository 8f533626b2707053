"""The command line's second half: what changes weights. Introduced in 08_train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from labkit.cli_options import ProfileName, checked, watched, working

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
    save_seconds: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 20.0,
    drop_long: Annotated[bool, typer.Option("--drop-long", help="Leave out examples beyond the context.")] = False,
) -> None:
    """Fine-tune a model on your own pairs of prompt and response. The same command goes on after a kill.

    Example: labkit tune pairs.csv --out runs/mine --epochs 10
    """
    from labkit.profile import resolve
    from labkit.tune.adapters import LoraSettings, tune_file
    from labkit.tune.train import TrainSettings

    chosen = checked(resolve, profile)
    shared = {"epochs": epochs, "batch_size": batch, "seed": seed, **({} if rate is None else {"learning_rate": rate})}
    settings = TrainSettings(**shared) if full else LoraSettings(**shared, rank=rank)
    with working(profile) as seen:
        tuned = tune_file(pairs, out, chosen.model_path, settings, chosen.context, drop_long, seen, save_seconds)
    if os.environ.get("RANK", "0") == "0":  # of several processes under torchrun the first one tells
        print(tuned)


@app.command()
def merge(
    adapter: Annotated[str, typer.Argument(help="Folder of an adapter; hybrid or tuned for the course's own.")],
    out: Annotated[Path, typer.Option(help="Folder for the merged model; it must not be there yet.")],
    profile: ProfileName = "pocket",
    size: Annotated[str, typer.Option(help="full, or smoke to see that it works.")] = "full",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    exam: Annotated[
        bool | None, typer.Option("--exam/--no-exam", help="Ask the course's questions.", show_default="hybrid, tuned")
    ] = None,
) -> None:
    """Merge an adapter into its base model, and export the result if it passes every check.

    Example: labkit merge hybrid --out runs/merged
    """
    import labkit
    from labkit.compare.exam import merge_into
    from labkit.profile import check_size, resolve

    checked(resolve, profile), checked(check_size, size)
    with working(profile) as seen:
        lab = labkit.open(profile, size=size, progress=seen)
        for check in merge_into(lab, adapter, out, dtype, exam):
            print(f"passed: {check}")
    print(f"Exported to {out}; labkit serve {out} serves it")


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="Folder of a model, pocket, laptop, gpu, or a hub id as owner/name.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is reached from this machine only.")] = (
        "127.0.0.1"
    ),
    wait: Annotated[float, typer.Option(min=1, help="Seconds until it must be ready.")] = 120,
) -> None:
    """Serve a model behind the OpenAI API until Ctrl-C.

    Example: labkit serve runs/merged --port 8000
    """
    from labkit.tune.deploy import serve_until_stopped

    watched()
    serve_until_stopped(model, host, port, wait)
