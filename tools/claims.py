"""Run the lessons that the article's claims need, where their figures are not kept yet, then write the ledger.

`python -m tools.claims [PROFILE [LESSON ...]]`; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from typing import Annotated

import typer

import labkit
from labkit.compare.claims import load_claims, recorded
from labkit.console import check
from labkit.runs import shown
from labkit.store import runs_folder
from tools.console import alone
from tools.execute import execute, sources
from tools.ledger import write_ledger
from tools.notebooks import chosen


def main(
    profile: Annotated[str, typer.Argument(help="Which model to measure.")] = "pocket",
    lessons: Annotated[list[str] | None, typer.Argument(help="Numbers of lessons; all if none.")] = None,
) -> None:
    """Measure what is missing and write the ledger of claims.

    Example: python -m tools.claims smol 12
    """
    lab = check(labkit.open, profile)
    needed = {claim.lesson for claim in load_claims()}
    if lessons:
        needed &= {source.stem for source in chosen(lessons)}
    todo = [source for source in sources() if source.stem in needed and not recorded(lab, source.stem)]
    for number, source in enumerate(todo, start=1):
        began = time.perf_counter()
        print(f"lesson {number} of {len(todo)}: {source.stem}", flush=True)
        execute(source, runs_folder() / "claims" / "lessons" / f"{source.stem}.ipynb", {"PROFILE": profile})
        print(f"    {time.perf_counter() - began:.0f} s", flush=True)
    print(shown(write_ledger(lab)))


if __name__ == "__main__":
    alone(main)
