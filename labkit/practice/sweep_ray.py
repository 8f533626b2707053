"""The same cells as Ray tasks, on the processors of one machine or of many. See docs/scale.md."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.practice.sweep import Row, key, row, run_cell, told

if TYPE_CHECKING:
    from labkit.practice.sweep_grid import Cell

RETRIES = 5
"""How often a cell is begun again when the machine under it has died."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to the Ray cluster at an address ("host:port", "auto"), or to one of its own on this machine ("local").

    LabError if Ray is not installed, there is no such cluster, or its own does not start: Ray gives up where a busy
    machine takes over 15 seconds to start its agents.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise LabError("Ray is not installed: run pip install -c constraints.txt -e '.[ray]'") from error
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    own = {"include_dashboard": False} if address == "local" else {}
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit():  # Ray itself would try for many minutes
            socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=20).close()
        ray.init(address=address, **quiet, **own)
    except Exception as error:  # Ray raises plain ones too
        reason = " ".join(str(error).split())[:100]
        remedy = "try again when the machine is less busy" if own else "give host:port, auto or local"
        raise LabError(f"no Ray cluster at '{address}' ({reason}): {remedy}") from error
    try:
        yield
    finally:
        ray.shutdown()


def run_at(cells: list[Cell], address: str, gpus: float = 0) -> Iterator[tuple[Cell, Row]]:
    """Measure cells as Ray tasks, each on one processor and `gpus` GPUs; they come in the order they finish.

    A cell whose machine died is begun again elsewhere; one that kills its process again and again fails. Every
    machine must hold the same code and data: a cell elsewhere fails that would have another address there.

    >>> sweep(grid, "runs/sweeps/mine", lambda cells: run_at(cells, "auto"))
    """
    with connected(address):
        import ray

        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_there)
        waiting = {task.remote(cell, key(cell)): cell for cell in cells}
        while waiting:
            [done], _ = ray.wait(list(waiting), num_returns=1)
            cell = waiting.pop(done)
            try:
                made = ray.get(done)
            except ray.exceptions.RayError as error:
                made = row(cell, told(error))
            yield cell, made


def _there(cell: Cell, wanted: str) -> Row:
    """A cell on whatever machine Ray chose."""
    try:
        same = key(cell) == wanted
    except LabError as error:
        return row(cell, told(error))
    if not same:
        return row(cell, f"{os.uname().nodename} holds other code, data or models: install the same checkout there")
    return run_cell(cell)
