"""The ledger: every claim of the article, judged by a rule that was fixed before the measurement. Introduced in 19_claims.

`python -m labkit.compare.claims` measures what is missing and writes the ledger; `labkit claims` prints it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from labkit.compare.tables import SMOKE
from labkit.errors import LabError
from labkit.hashing import hash_file, hash_source
from labkit.profile import runs_folder
from labkit.stats import Interval
from labkit.store import provenance, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from labkit.lab import Lab

RULES = Path(__file__).with_name("claims.yaml")
VERDICTS = ("supported", "refuted", "mixed", "not measurable here")
LESSONS = {
    "11_hybrid": "labkit.compare.figures",
    "12_compare": "labkit.compare.figures",
    "13_update": "labkit.compare.update",
    "14_cost": "labkit.compare.cost",
    "15_risk": "labkit.compare.risk",
    "16_use_cases": "labkit.compare.use_cases",
}
"""The module whose `figures(lab, names)` measures what a lesson's claims need, as an Interval for each name."""


@dataclass(frozen=True)
class Need:
    """One figure and the bound that its whole interval must lie above or below."""

    figure: str
    bound: float
    above: bool

    def holds(self, value: Interval) -> bool | None:
        """True where the interval lies on the claimed side, False on the other side, None where it straddles.

        >>> Need("style: tuned", 0.9, above=True).holds(Interval(0.95, 0.93, 0.97))
        True
        """
        low, high = (value.low, value.high) if self.above else (-value.high, -value.low)
        bound = self.bound if self.above else -self.bound
        return True if low > bound else False if high < bound else None


@dataclass(frozen=True)
class Claim:
    """What the article says, where it is measured, and what must hold for it."""

    id: str
    claim: str
    lesson: str
    needs: tuple[Need, ...]


@cache
def load_claims(path: Path = RULES) -> tuple[Claim, ...]:
    """The claims with their rules. Raises LabError for a rule that names no bound, two bounds, or an id twice."""
    claims = []
    for row in yaml.safe_load(path.read_text("utf-8")):
        for need in row["needs"]:
            if len({"above", "below"} & set(need)) != 1:
                raise LabError(f"claim {row['id']}: give '{need['figure']}' one bound, above or below")
        needs = tuple(Need(n["figure"], float(n.get("above", n.get("below"))), "above" in n) for n in row["needs"])
        claims.append(Claim(row["id"], row["claim"], row["lesson"], needs))
    ids = [claim.id for claim in claims]
    if twice := [i for i in ids if ids.count(i) > 1]:
        raise LabError(f"claim {twice[0]} stands twice in {path.name}: name each once")
    return tuple(claims)


def verdict(claim: Claim, figures: Mapping[str, Interval]) -> str:
    """What the figures say of a claim: one of VERDICTS. Introduced in 19_claims."""
    if any(need.figure not in figures for need in claim.needs):
        return "not measurable here"
    held = [need.holds(figures[need.figure]) for need in claim.needs]
    if all(held):
        return "supported"
    return "refuted" if False in held and True not in held else "mixed"


def judge(claims: Sequence[Claim], figures: Mapping[str, Interval], runs: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each claim: its verdict, its first figure with the interval, and every need with what was found.

    `runs` gives the address of the artifact that holds each lesson's figures.
    """
    rows = []
    for claim in claims:
        needs = [
            {**asdict(need), "holds": need.holds(found) if found else None, **(asdict(found) if found else {})}
            for need in claim.needs
            for found in [figures.get(need.figure)]
        ]
        first = {"metric": needs[0]["figure"], "value": needs[0].get("mean")}
        ends = {end: needs[0].get(end) for end in ("low", "high")}
        row = {"id": claim.id, "claim": claim.claim, "verdict": verdict(claim, figures), **first, **ends}
        rows.append({**row, "run": runs.get(claim.lesson), "lesson": claim.lesson, "needs": needs})
    return rows


def report(lesson: str, figures: Mapping[str, Interval]) -> str:
    """The verdicts on a lesson's claims, each with its evidence, as text."""
    mine = [claim for claim in load_claims() if claim.lesson == lesson]
    return "\n".join(evidence(row) for row in judge(mine, figures, {}))


def evidence(row: Mapping[str, Any]) -> str:
    """A claim's verdict, and on a line each the figures that it rests on, with intervals and bounds."""
    lines = [f"{row['verdict'].upper()}: {row['claim']}"]
    for need in row["needs"]:
        value = f"{need['mean']:.3g} [{need['low']:.3g}, {need['high']:.3g}]" if "mean" in need else "not measured"
        lines.append(
            f"    {need['figure']}: {value}, claimed {'above' if need['above'] else 'below'} {need['bound']:g}"
        )
    return "\n".join(lines)


def measure(lab: Lab, lesson: str) -> tuple[dict[str, Interval], str]:
    """The figures that a lesson's claims need, found or made now, and the address of the artifact that holds them."""
    module = LESSONS[lesson]
    names = sorted({need.figure for claim in load_claims() if claim.lesson == lesson for need in claim.needs})
    make: Callable[[Lab, Sequence[str]], dict[str, Interval]] = import_module(module).figures

    def build(folder: Path) -> None:
        write_json(folder / "value.json", {name: asdict(value) for name, value in make(lab, names).items()})

    code = hash_source(module, "labkit.tune", "labkit.stats", "labkit.compare")
    parts = {"profile": asdict(lab.profile), "hashes": lab.hashes, "rules": rules_hash(), "code": code}
    folder = lab.artifacts.folder(build, what="figures", lesson=lesson, **parts)
    found = json.loads((folder / "value.json").read_text("utf-8"))
    return {name: Interval(**found[name]) for name in names if name in found}, folder.name


def rules_hash() -> str:
    """SHA-256 of the file of rules, which every ledger records."""
    return hash_file(RULES)


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
    from labkit.notebooks import new_folder, point

    found = ledger(lab)
    folder = new_folder(runs_folder() / "claims")
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
