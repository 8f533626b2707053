"""The command line's third part: what follows once arms answer. Introduced in 20_log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

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
    from rich.console import Console

    from labkit import LabError
    from labkit.practice.log_store import Log
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
            Console(highlight=False, markup=False).print(_listed(rows))


def _listed(rows: pd.DataFrame) -> Table:
    from rich import box
    from rich.table import Table

    made = Table("number", "rating", "arm", "question", "answer", "seconds", box=box.SIMPLE_HEAD)
    for number, row in rows.iterrows():
        made.add_row(str(number), row.rating or "", row.arm, row.question, row.answer, f"{row.seconds:.2f}")
    return made
