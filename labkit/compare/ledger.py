"""The ledger: every claim with its figures, its verdict and its run. Introduced in 19_claims.

`python -m labkit.compare.ledger` measures what is missing and writes the ledger; `labkit claims` prints it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.compare.claims import VERDICTS, judge, load_claims, needed, rules_hash
from labkit.compare.report import render
from labkit.compare.tables import SMOKE
from labkit.errors import LabError
from labkit.profile import runs_folder
from labkit.stats import Interval
from labkit.store import here, provenance, write_bytes, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from labkit.lab import Lab

LESSONS = {
    "02_chunk": "labkit.compare.practices.chunking",
    "03_embed": "labkit.compare.practices.embedding",
    "09_adapters": "labkit.compare.practices.adapting",
    "11_hybrid": "labkit.compare.figures.figures",
    "12_compare": "labkit.compare.figures.figures",
    "13_update": "labkit.compare.update.figures",
    "14_cost": "labkit.compare.cost.figures",
    "15_risk": "labkit.compare.risk.figures",
    "16_use_cases": "labkit.compare.use_cases.figures",
    "20_log": "labkit.practice.log.figures",
}
"""The function of a lab that measures what a lesson's claims need, as an Interval for each name."""
KEPT_AS = {"labkit.practice.log.figures": "labkit.practice.log_study.figures"}
"""Functions that have moved: their figures stay at the address of the old place."""


def measure(lab: Lab, lesson: str) -> tuple[dict[str, Interval], str]:
    """The figures that a lesson's claims need, found or made now, and the address of the artifact that holds them."""
    module, _, function = LESSONS[lesson].rpartition(".")
    make: Callable[[Lab], dict[str, Interval]] = getattr(import_module(module), function)

    def build(folder: Path) -> None:
        write_json(folder / "value.json", {name: asdict(value) for name, value in make(lab).items()})

    parts = {"profile": asdict(lab.profile), "hashes": lab.hashes, "rules": rules_hash(), "where": here()}
    folder = lab.artifacts.folder(build, what="figures", of=KEPT_AS.get(LESSONS[lesson], LESSONS[lesson]), **parts)
    found = json.loads((folder / "value.json").read_text("utf-8"))
    return {name: Interval(**found[name]) for name in sorted(needed(lesson)) if name in found}, folder.name


def ledger(lab: Lab) -> dict[str, Any]:
    """Every claim with its verdict, from results that are found or made now. A smoke lab measures nothing."""
    figures: dict[str, Interval] = {}
    runs: dict[str, str] = {}
    for lesson in LESSONS if lab.size == "full" else ():
        made, runs[lesson] = measure(lab, lesson)
        figures |= made
    about = {"profile": lab.profile.name, "size": lab.size, "rules": rules_hash(), "environment": provenance()}
    return {**about, "claims": judge(load_claims(), figures, runs)}


def write_ledger(lab: Lab) -> Path:
    """Make the ledger and keep it under `runs/claims`, the newest as `latest`; returns its file."""
    from labkit.runs import new_folder, point

    found = ledger(lab)
    folder = new_folder(runs_folder() / "claims")
    write_bytes(folder / "ledger.html", page(found).encode())
    write_json(folder / "ledger.json", found)
    point(folder.parent / "latest", folder)
    return folder / "ledger.json"


def read_ledger() -> dict[str, Any]:
    """The newest ledger; LabError where none was made, or where the rules have changed since."""
    path = runs_folder() / "claims" / "latest" / "ledger.json"
    if not path.is_file():
        raise LabError("no claim was judged yet: run `make claims`")
    found = json.loads(path.read_text("utf-8"))
    if found["rules"] != rules_hash():
        raise LabError("the rules changed since the last ledger: run `make claims`")
    return found


def page(found: Mapping[str, Any]) -> str:
    """The ledger as one HTML file that needs no other."""
    verdicts = [row["verdict"] for row in found["claims"]]
    return render("ledger.html", found=found, smoke=SMOKE, counts=[(v, verdicts.count(v)) for v in VERDICTS])


def markdown(found: Mapping[str, Any]) -> str:
    """The ledger for README: the count of each verdict, and a row for each claim."""
    verdicts = [row["verdict"] for row in found["claims"]]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS)
    rows = [f"| {row['claim']} | {row['verdict']} | {told(row)} |" for row in found["claims"]]
    return "\n".join([f"{counts}.\n", "| claim | verdict | its first figure |", "|---|---|---|", *rows])


def table(found: Mapping[str, Any]) -> Table:
    """The ledger for the terminal: verdict, claim, and its first figure with the interval."""
    from rich import box
    from rich.table import Table

    made = Table("verdict", "claim", "measured", title=SMOKE if found["size"] != "full" else None, box=box.SIMPLE_HEAD)
    for row in found["claims"]:
        colour = dict(zip(VERDICTS, ("green", "red", "yellow", "dim"), strict=True))[row["verdict"]]
        made.add_row(f"[{colour}]{row['verdict']}[/]", row["claim"], told(row))
    return made


def told(row: Mapping[str, Any]) -> str:
    """A claim's first figure with its interval, or where it would be measured."""
    if row["value"] is None:
        return f"{row['lesson']} has not measured it"
    return f"{row['metric']} {row['value']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"


if __name__ == "__main__":
    import labkit

    print(write_ledger(labkit.open()))
