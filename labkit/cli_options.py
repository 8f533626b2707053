"""Options and checks that several commands share. Introduced in 00_start."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from labkit.errors import LabError

T = TypeVar("T")
ProfileName = Annotated[
    str, typer.Option("--profile", "--model", help="pocket, laptop, gpu, a model's folder, or a hub id as owner/name.")
]
RunsFolder = Annotated[
    Path | None, typer.Option(help="Folder for runs and their link 'latest'.", show_default="runs/compare")
]


def checked(check: Callable[[str], T], value: str) -> T:
    """The checked value; a wrong one is a wrong command (exit status 2), not a failed run."""
    try:
        return check(value)
    except LabError as error:
        raise typer.BadParameter(str(error)) from error


def show(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table, its fractions to three digits.

    >>> show(["k", "recall"], [(5, 0.98765)])
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    made = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        made.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    Console(highlight=False, markup=False).print(made)
