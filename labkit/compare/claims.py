"""Every claim of the article, judged by a rule that was fixed before the measurement. Introduced in 19_claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from labkit.errors import LabError
from labkit.stats import Interval
from labkit.store import hash_file

RULES = Path(__file__).with_name("claims.yaml")
VERDICTS = ("supported", "refuted", "mixed", "not measurable here")


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


def needed(*lessons: str) -> set[str]:
    """The names of the figures that these lessons' claims need.

    >>> sorted(needed("03_embed"))[0]
    'recall on changed facts: fresh index - stale index'
    """
    return {need.figure for claim in load_claims() if claim.lesson in lessons for need in claim.needs}


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


def rules_hash() -> str:
    """SHA-256 of the file of rules, which every ledger records."""
    return hash_file(RULES)
