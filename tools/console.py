"""A module that is a command of its own, with labkit's errors in one line."""

from collections.abc import Callable

import typer
from typer.core import TyperCommand

from labkit.console import SETTINGS, OneLine


class Command(OneLine, TyperCommand):
    """A command that is a module of its own, as `python -m tools.notebooks`."""


def alone(function: Callable[..., None]) -> None:
    """Run a function as the one command of its module."""
    app = typer.Typer(**SETTINGS)
    app.command(cls=Command, context_settings=SETTINGS["context_settings"])(function)
    app()
