"""Every claim of the article, judged by a rule that was fixed before the measurement; and the ledger of all verdicts.

Each lesson measures what its claims need and keeps it with `record`; `make claims` (`tools.claims`) runs the lessons that
have not, and writes the ledger; `labkit claims` prints it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rich.box
import rich.table
import yaml

from labkit.compare.experiment import ask_arms
from labkit.compare.lab import Lab
from labkit.compare.score import Table
from labkit.compare.tables import SMOKE
from labkit.errors import LabError
from labkit.metrics import METRICS
from labkit.profile import EVERY_ARM, PROFILES, Profile
from labkit.stats import GAP, SHARE, Interval, Statistic, bootstrap, bootstrap_mean, widen
from labkit.store import ROOT, hash_file, provenance, runs_folder, write_json

RULES = Path(__file__).with_name("claims.yaml")
PAPERS = Path(__file__).with_name("papers.yaml")
VERDICTS = ("supported", "refuted", "mixed", "depends on the model", "not measurable here")
RESULTS = ROOT / "docs" / "results"
"""The figures that the project publishes: a folder for each profile, a file for each lesson."""
NAME = re.compile(r"(?P<metric>\w+): (?P<arm>[\w-]+)(?: - (?P<other>[\w-]+))?(?: \((?P<kind>[^)]+)\))?")
"""A figure of answered questions: "METRIC: ARM", "METRIC: ARM - ARM", either with " (KIND)" behind."""


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
        if value.low <= self.bound <= value.high:
            return None
        return (value.low > self.bound) == self.above


@dataclass(frozen=True)
class Claim:
    """What the article says, where it is measured, and what must hold for it."""

    id: str
    claim: str
    lesson: str
    needs: tuple[Need, ...]


@cache
def load_claims(path: Path = RULES) -> tuple[Claim, ...]:
    """The claims with their rules; each need has one bound, above or below."""
    claims = []
    for row in next(yaml.safe_load_all(path.read_text("utf-8"))):
        needs = tuple(Need(n["figure"], float(n.get("above", n.get("below"))), "above" in n) for n in row["needs"])
        claims.append(Claim(row["id"], row["claim"], row["lesson"], needs))
    return tuple(claims)


@cache
def load_papers() -> dict[str, dict[str, Any]]:
    """What `papers.yaml` says of each paper, by id: title, authors, numbers with their place, what differs here."""
    return {row["id"]: row for row in next(yaml.safe_load_all(PAPERS.read_text("utf-8")))}


def published_gaps() -> list[dict[str, str]]:
    """Differences between a hybrid (or tuned) model and RAG that others published, which no rule judges."""
    return list(yaml.safe_load_all(PAPERS.read_text("utf-8")))[1]


def rules_hash() -> str:
    """SHA-256 of the file of rules, which every ledger records."""
    return hash_file(RULES)


def figure_names(*lessons: str) -> list[str]:
    """The names of the figures that these lessons' claims need, in order."""
    return sorted({need.figure for claim in load_claims() if claim.lesson in lessons for need in claim.needs})


def verdict(claim: Claim, figures: Mapping[str, Interval]) -> str:
    """What the figures say of a claim: one of VERDICTS.

    A figure whose interval has no width is a constant, which could not have come out otherwise: it decides nothing.
    """
    if any(need.figure not in figures for need in claim.needs):
        return "not measurable here"
    held = [need.holds(figures[need.figure]) for need in claim.needs if not constant(figures[need.figure])]
    if not held:
        return "not measurable here"
    if all(held):
        return "supported"
    return "refuted" if False in held and True not in held else "mixed"


def constant(value: Interval) -> bool:
    """Whether a figure has no interval: a count or a computation, the same for any questions and seeds."""
    return value.low == value.high


def judge(claims: Sequence[Claim], figures: Mapping[str, Interval], runs: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each claim: its verdict, its first figure with the interval, and every need with what was measured.

    `runs` gives the address of the artifact that holds each lesson's figures.
    """
    rows = []
    for claim in claims:
        needs = []
        for need in claim.needs:
            value = figures.get(need.figure)
            needs.append({**asdict(need), "holds": value and need.holds(value), **(asdict(value) if value else {})})
        row = {"id": claim.id, "claim": claim.claim, "verdict": verdict(claim, figures), "metric": needs[0]["figure"]}
        row |= {name: needs[0].get(end) for name, end in {"value": "mean", "low": "low", "high": "high"}.items()}
        rows.append({**row, "run": runs.get(claim.lesson), "lesson": claim.lesson, "needs": needs})
    return rows


def evidence(row: Mapping[str, Any]) -> str:
    """A claim's verdict, and on a line each the figures that it rests on, with intervals and bounds."""
    lines = [f"{row['verdict'].upper()}: {row['claim']}"]
    for need in row["needs"]:
        side, value, fixed = "above" if need["above"] else "below", "not measured", ""
        if "mean" in need:
            interval = Interval(need["mean"], need["low"], need["high"])
            value = "{mean:.3g} [{low:.3g}, {high:.3g}]".format_map(need)
            fixed = "; a constant, which decides nothing" if constant(interval) else ""
        lines.append(f"    {need['figure']}: {value}, claimed {side} {need['bound']:g}{fixed}")
    return "\n".join(lines)


def figure(answers: pd.DataFrame, name: str) -> Interval:
    """A metric of an arm or its difference between two, over all questions or one kind, with its interval.

    `name` has the form of NAME; metrics as in `labkit.compare.score`. Raises LabError for a name of another form, and
    for an arm or kind without answers.
    """
    if not (match := NAME.fullmatch(name)):
        raise LabError(f"no figure '{name}': write 'metric: arm', 'metric: arm - arm' or either with ' (kind)'")
    metric, arm, other, kind = match.group("metric", "arm", "other", "kind")
    chosen = answers[answers.kind == kind] if kind else answers
    groups = [chosen[chosen.arm == a] for a in (arm, other) if a]
    if any(group.empty for group in groups):
        raise LabError(f"'{name}' has no answers: ask these arms, of these kinds: {', '.join(answers.kind.unique())}")
    first, *second = map(Table, groups)
    return first.above(*second, metric).interval if second else first.interval(metric)


def blame(answers: pd.DataFrame) -> dict[str, Interval]:
    """How search and reader share the blame for RAG's answers, and what RAG and tuning get right between them."""
    can = answers[answers.answerable]
    wide = {arm: can[can.arm == arm].pivot(index="id", columns="seed", values="correct") for arm in ("rag", "tuned")}
    right, tuned = wide["rag"].mean(axis=1).to_numpy(), wide["tuned"].to_numpy(float)
    complete = can[can.arm == "rag"].groupby("id").retrieved.mean().to_numpy() == 1
    either = np.maximum(tuned, right[:, None]).mean(1)

    def where(chosen: np.ndarray, i: np.ndarray) -> np.ndarray:
        """The share right of the chosen questions, in each resample."""
        return (right * chosen)[i].sum(-1) / np.maximum(chosen[i].sum(-1), 1)

    def gained(i: np.ndarray) -> np.ndarray:
        """What either of the two gets right, minus the better of them alone, in each resample."""
        return either[i].mean(-1) - np.maximum(right[i].mean(-1), tuned.mean(1)[i].mean(-1))

    def share(statistic: Statistic, counted: np.ndarray, span: tuple[float, float]) -> Interval:
        """A share or a difference of two, with its interval over all questions, of which it counts some."""
        return widen(bootstrap(statistic, len(right)), int(counted.sum()), span)

    apart = "accuracy where all passages were found minus where one was missed: rag"
    return {
        "accuracy where all was found: rag": share(lambda i: where(complete, i), complete, SHARE),
        apart: share(lambda i: where(complete, i) - where(~complete, i), ~complete, GAP),
        "found but answered wrong: rag": bootstrap_mean(complete * (1 - right)),
        "something was missed: rag": bootstrap_mean(~complete),
        "accuracy of either: rag or tuned minus the better alone": share(gained, np.ones_like(complete), GAP),
    }


def figures(lab: Lab, lesson: str) -> dict[str, Interval]:
    """What a lesson's claims need of the arms' answers: "accuracy: rag - base" and the like, each by its name."""
    matches = [match for name in figure_names(lesson) if (match := NAME.fullmatch(name))]
    matches = [match for match in matches if match["metric"] in METRICS]
    arms = {"rag", "tuned", *(arm for match in matches for arm in match.group("arm", "other"))}
    answers = ask_arms(lab, [arm for arm in EVERY_ARM if arm in arms])
    return blame(answers) | {match.string: figure(answers, match.string) for match in matches}


def record(lab: Lab, lesson: str, values: Mapping[str, Interval]) -> str:
    """Keep the figures that a lesson's claims need, for the ledger; gives the verdicts on them with their evidence, as text.

    Raises LabError where one is missing. A lab of smoke size keeps nothing.
    """
    if missing := [name for name in figure_names(lesson) if name not in values]:
        raise LabError(f"{lesson} measures no '{missing[0]}', which its claims need: compute it in the lesson")
    if lab.size == "full":
        made_of = {"profile": asdict(lab.profile), "hashes": lab.hashes, "rules": rules_hash()}
        needed = {name: asdict(values[name]) for name in figure_names(lesson)}
        place = lab.runs / "figures" / Path(lab.profile.name).name / f"{lesson}.json"
        write_json(place, {"of": made_of, "environment": provenance(), "figures": needed})
    mine = [claim for claim in load_claims() if claim.lesson == lesson]
    return "\n".join(evidence(row) for row in judge(mine, values, {}))


def recorded(lab: Lab, lesson: str) -> dict[str, Interval]:
    """The figures that a lesson kept under these rules, with this profile and data; none where it must run (again)."""
    return _own(lab).get(lesson, (None, {}))[1]


def _own(lab: Lab) -> dict[str, tuple[Path, dict[str, Interval]]]:
    """What lessons kept of this lab's model: published with the project, or in your own runs, which count first."""
    name = Path(lab.profile.name).name
    return {
        lesson: kept
        for root in (RESULTS, lab.runs / "figures")
        for lesson, kept in _kept(root / name, lab.profile, lab.hashes).items()
    }


def _kept(folder: Path, profile: Profile, hashes: Mapping[str, str]) -> dict[str, tuple[Path, dict[str, Interval]]]:
    """By lesson, the file of its figures and what it holds; those made under these rules, with this profile and data."""
    wanted, kept = json.loads(json.dumps({"profile": asdict(profile), "rules": rules_hash()})), {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text("utf-8"))
        of = record["of"]
        if of | wanted == of and of["hashes"] | hashes == of["hashes"]:
            kept[path.stem] = path, {name: Interval(**value) for name, value in record["figures"].items()}
    return kept


def others(lab: Lab) -> dict[str, dict[str, Interval]]:
    """The figures of other profiles that the project publishes for the same documents and rules, by profile."""
    models, documents = {}, {"documents": lab.hashes["documents"]}
    for name in sorted(PROFILES.keys() - {lab.profile.name}):
        for _, figures in _kept(RESULTS / name, PROFILES[name], documents).values():
            models[name] = models.get(name, {}) | figures
    return models


def ledger(lab: Lab) -> dict[str, Any]:
    """Every claim with its verdict, from the figures that lessons kept with this lab's model, and from published ones with others.

    What no model measured is not measurable here. Where two models give different verdicts, the verdict depends on the model.
    """
    claims, values, runs, models = load_claims(), {}, {}, {}
    if lab.size == "full":
        for lesson, (path, figures) in sorted(_own(lab).items()):
            values, runs[lesson] = values | figures, hash_file(path)
        models = others(lab)
    judged = {lab.profile.name: judge(claims, values, runs)}
    judged |= {name: judge(claims, figures, {}) for name, figures in models.items()}
    rows = [_across(dict(zip(judged, rows, strict=True))) for rows in zip(*judged.values(), strict=True)]
    about = {"profile": lab.profile.name, "size": lab.size, "rules": rules_hash(), "environment": provenance()}
    return {**about, "claims": rows}


def _across(rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """One claim as several models judge it: the first one's row, or the first that measured it; `models` holds them all."""
    measured = {name: row for name, row in rows.items() if row["verdict"] != VERDICTS[-1]}
    first = next(iter(measured.values() or rows.values()))
    verdicts = {row["verdict"] for row in measured.values()}
    return {**first, "verdict": "depends on the model" if len(verdicts) > 1 else first["verdict"], "models": measured}


def read_ledger() -> dict[str, Any]:
    """The newest ledger; LabError where none was made, or where the rules have changed since."""
    path = runs_folder() / "claims" / "latest" / "ledger.json"
    if not path.is_file():
        raise LabError("no claim was judged yet: run `make claims`")
    record = json.loads(path.read_text("utf-8"))
    if record["rules"] != rules_hash():
        raise LabError("the rules changed since the last ledger: run `make claims`")
    return record


def first_figure(row: Mapping[str, Any]) -> str:
    """A claim's first figure with its interval, by each model that measured it, or where it would be measured."""
    if row["value"] is None:
        return f"{row['lesson']} has not measured it"
    by = row.get("models") or {"": row}
    parts = [f"{name} {one['value']:.3g} [{one['low']:.3g}, {one['high']:.3g}]".strip() for name, one in by.items()]
    return f"{row['metric']}: {'; '.join(parts)}"


def table(record: Mapping[str, Any]) -> rich.table.Table:
    """The ledger for the terminal: verdict, claim, and its first figure with the interval."""
    title = SMOKE if record["size"] != "full" else None
    lines = rich.table.Table("verdict", "claim", "measured", title=title, box=rich.box.SIMPLE_HEAD)
    colours = dict(zip(VERDICTS, ("green", "red", "yellow", "yellow", "dim"), strict=True))
    for row in record["claims"]:
        lines.add_row(f"[{colours[row['verdict']]}]{row['verdict']}[/]", row["claim"], first_figure(row))
    return lines
