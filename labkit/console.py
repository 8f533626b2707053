"""How commands speak to a terminal: each error in one line with its status, settings that they share, tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from labkit.errors import LabError

T = TypeVar("T")
SETTINGS: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "add_completion": False,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class OneLine:
    """Every error is one line on stderr: status 1 for a failed run, 2 for a wrong command, 130 for Ctrl-C."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command, and turn whatever fails into one line and a status."""
        problem = ""
        try:
            status = super().main(*args, **{**kwargs, "standalone_mode": False})  # type: ignore[misc]
        except LabError as error:
            status, problem = 1, f"error: {error}"
        except TyperException as error:
            wrong = error.format_message().removeprefix("Invalid value: ")
            status, problem = 2, f"error: {wrong}{'' if 'choose' in wrong else ' (--help lists what there is)'}"
        except UnicodeEncodeError as error:  # half of a character, as a file's name in another encoding has
            status, problem = 1, f"error: not UTF-8: {ascii(error.object)[:120]}: rename the file or folder"
        except (KeyboardInterrupt, typer.Abort):
            status = 130
        if status == 130:  # so Typer says of Ctrl-C, too; the line may hold a bar, or the terminal's ^C
            print("\nstopped", file=sys.stderr)
        elif problem:
            print(" ".join(problem.split()), file=sys.stderr)
        sys.exit(status if isinstance(status, int) else 0)


class Commands(OneLine, TyperGroup):
    """Several commands under one name."""


def announce() -> bool:
    """Whether a terminal shows what a command does; if so, print why nothing happens for some seconds."""
    terminal = sys.stderr.isatty()
    if terminal:
        print("Loading libraries, models and documents ...", file=sys.stderr, flush=True)
    return terminal


@contextmanager
def session(profile: str | None) -> Iterator[bool]:
    """What a command computes under, as a kernel does; gives whether to show progress."""
    from labkit.runs import environment

    progress = announce()
    with environment(profile):
        yield progress


def check(rule: Callable[[str], T], value: str) -> T:
    """What a rule makes of a value; a wrong one is a wrong command (exit status 2), not a failed run."""
    try:
        return rule(value)
    except LabError as error:
        raise typer.BadParameter(str(error)) from error


def show(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table, its fractions to three digits."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row))
    Console(highlight=False, markup=False).print(table)
