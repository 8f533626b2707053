"""Run a comparison from the command line: a first table, the report in a folder of its own, the table and the verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.compare.experiment import Comparison, preview
from labkit.compare.report import write_report
from labkit.compare.tables import terminal, verdict
from labkit.runs import new_folder, point, shown

if TYPE_CHECKING:
    from labkit.lab import Lab


def compare_into(lab: Lab, root: Path, compare: Callable[[Lab], Comparison]) -> tuple[Comparison, Path]:
    """Compare, write the report into a new folder of `root` to which `root/latest` then leads, and print what was found.

    A run that fails or is stopped leaves `latest` alone; what it trained and answered is found again by the next one.
    """
    folder = new_folder(root)  # first: who may not write there is told so before hours of work
    try:
        return _compared(lab, folder, compare), folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _compared(lab: Lab, folder: Path, compare: Callable[[Lab], Comparison]) -> Comparison:
    from rich.console import Console

    console = Console(highlight=False)
    asks = f"{len(lab.documents)} documents, {len(lab.questions)} questions"
    arms = f"Comparing base, rag, tuned and hybrid over {lab.corpus}: profile {lab.profile.name}, {lab.size} size"
    print(f"{arms}, {asks}", file=sys.stderr)
    for file in lab.ingested.rejected:
        print(f"left out: {file.id}: {file.reason}: {file.detail}", file=sys.stderr)
    if first := preview(lab):
        console.print("\nA first look, at a few questions:")
        console.print(terminal(first))
    made = compare(lab)
    write_report(made, folder)
    point(folder.parent / "latest", folder)
    console.print(terminal(made.result))
    console.print(*(f"• {line}" for line in verdict(made.result)), sep="\n", markup=False)
    print(f"Report: {shown(folder.parent / 'latest' / 'report.html')}")
    return made
