"""Write the ledger of the article's claims, as JSON and as a page: the last step of `make claims`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.compare.claims import VERDICTS, ledger
from labkit.compare.report import render
from labkit.compare.tables import SMOKE
from labkit.runs import new_folder, point
from labkit.store import runs_folder, write_bytes, write_json

if TYPE_CHECKING:
    from labkit.compare.lab import Lab


def write_ledger(lab: Lab) -> Path:
    """Make the ledger and keep it under `runs/claims`, the newest as `latest`; returns its file."""
    record = ledger(lab)
    folder = new_folder(runs_folder() / "claims")
    write_bytes(folder / "ledger.html", page(record).encode())
    write_json(folder / "ledger.json", record)
    point(folder.parent / "latest", folder)
    return folder / "ledger.json"


def counts(record: Mapping[str, Any]) -> list[tuple[str, int]]:
    """How many claims have each verdict."""
    verdicts = [row["verdict"] for row in record["claims"]]
    return [(verdict, verdicts.count(verdict)) for verdict in VERDICTS]


def page(record: Mapping[str, Any]) -> str:
    """The ledger as one HTML file that needs no other."""
    return render("ledger.html", Path(__file__).parent, record=record, smoke=SMOKE, counts=counts(record))
