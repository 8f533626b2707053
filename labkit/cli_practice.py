"""The command line's third part: what follows once arms answer. Introduced in 20_log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labkit.cli_options import ProfileName, checked, show, working
from labkit.errors import LabError

app = typer.Typer()


@app.command()
def log(
    failures: Annotated[
        bool, typer.Option("--failures", help="Rated down, declined, or found by a low score.")
    ] = False,
    rate: Annotated[
        tuple[int, str] | None, typer.Option(help="An answer's number, and up or down.", metavar="NUMBER up|down")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Write the whole log to a Parquet file.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many answers to show.")] = 10,
    file: Annotated[Path | None, typer.Option(help="The log.", show_default="runs/log.sqlite")] = None,
) -> None:
    """Show what `labkit ask --log` kept, rate an answer, or export all of them.

    Example: labkit log --rate 3 down
    """
    from labkit.practice.log import Log
    from labkit.profile import runs_folder

    path = file or runs_folder() / "log.sqlite"
    if rate and rate[1] not in ("up", "down"):
        raise typer.BadParameter(f"a rating is up or down, not '{rate[1]}'")
    if not path.is_file():
        raise LabError(f"no log at {path.name} yet: labkit ask --log keeps one")
    with Log(path) as kept:
        if rate:
            kept.rate(rate[0], rate[1] == "up")
            print(f"answer {rate[0]} is rated {rate[1]}")
        if export:
            print(f"{kept.export(export)} answers exported to {export}")
        if not rate and not export:
            rows = kept.failures().head(last) if failures else kept.answers().tail(last)
            columns = ["number", "rating", "arm", "question", "answer", "seconds"]
            show(columns, rows.reset_index()[columns].itertuples(index=False))


RayAddress = Annotated[
    str | None,
    typer.Option(help="A Ray cluster, as host:port or auto; local starts one on this machine.", show_default="no Ray"),
]


@app.command()
def sweep(
    experiment: Annotated[Path, typer.Argument(help="What to try: a YAML file of lists.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of cells, table and result.", show_default="runs/sweeps/NAME")
    ] = None,
    address: RayAddress = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs that Ray keeps for each cell.")] = 0,
) -> None:
    """Measure every combination of settings in a file: a row each. The same command goes on after a stop.

    Lists: profiles, chunk_sizes (tokens), overlaps (shares), methods, k, arms (or retrieval), seeds; then size (full
    or smoke) and questions (how many). What is left out is as in the pocket profile.

    Example: labkit sweep data/sweeps/small.yaml --address auto
    """
    from functools import partial

    from labkit.practice.sweep import here, read_grid, run_at
    from labkit.practice.sweep import sweep as measure
    from labkit.profile import runs_folder

    grid = read_grid(experiment)
    run = partial(run_at, address=address, gpus=gpus) if address else here
    folder = out or runs_folder() / "sweeps" / experiment.stem
    with working(grid.profiles[0] if len(grid.profiles) == 1 else None) as seen:
        table = measure(grid, folder, run, seen)
    shown = table.mask(table == "").dropna(axis="columns", how="all")
    show(shown.columns, shown.astype(object).where(shown.notna(), "").itertuples(index=False))
    print(f"Table: {folder / 'table.csv'}")
    if failed := int((table.error != "").sum()):
        raise LabError(f"{failed} of {len(table)} cells failed, as the table says: the same command tries them again")


@app.command()
def embed(
    folder: Annotated[Path, typer.Argument(help="Documents: PDF, DOCX, HTML, Markdown, text.")],
    out: Annotated[Path, typer.Option(help="Parquet file for the chunks and their vectors.")],
    profile: ProfileName = "pocket",
    ray: Annotated[bool, typer.Option("--ray", help="Compute through ray.data; alone, on this machine.")] = False,
    address: RayAddress = None,
) -> None:
    """Embed a folder: a row for each chunk, with where it stands and its vector.

    Example: labkit embed my/documents --out vectors.parquet
    """
    from labkit.practice.embed_corpus import embed_folder
    from labkit.profile import resolve

    checked(resolve, profile)
    with working(profile) as seen:
        made = embed_folder(folder, out, profile, address or ("local" if ray else None), seen)
    for file in made.rejected:
        print(f"left out: {file.id}: {file.reason}: {file.detail}")
    print(f"{made.chunks} chunks, vectors of {made.dimensions} numbers: {out}")


@app.command()
def progress() -> None:
    """Show how far you are with the exercises of each lesson, and which are still open.

    Example: labkit progress
    """
    from labkit.exercises import progress as rows

    show(("lesson", "exercises", "questions", "tries", "open"), rows())
