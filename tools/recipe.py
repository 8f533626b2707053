"""How the recipe of the profile smol was chosen: accuracy on development questions as rows and epochs grow.

Writes docs/recipe.json and the table in docs/models.md. Every training is kept, so that a stopped run goes on.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from labkit.compare.experiment import ask_arms
from labkit.data import data_folder
from labkit.practice.own_data import OwnLab, open_own
from labkit.profile import SMOL
from labkit.stats import bootstrap_mean
from labkit.store import ROOT, runs_folder, write_json
from tools.notebooks import put

GRID = [
    ("tuned", {"tuned_epochs": epochs}) for epochs in (1, 2, 3)
] + [
    ("hybrid", {"hybrid_pairs": rows}) for rows in (120, 240, 480)
]  # fmt: skip
UNITS = {"tuned_epochs": "epochs", "hybrid_pairs": "rows"}
RESULT = ROOT / "docs" / "recipe.json"


def development() -> OwnLab:
    """The articles with their development questions in the place of the test's, which are not looked at."""
    prose = data_folder() / "prose"
    with open(prose / "questions.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in ("train", "dev")]
    path = runs_folder() / "development.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "split": row["split"].replace("dev", "test")} for row in rows)
    return open_own("smol", prose / "documents", path)


def point(lab: OwnLab, arm: str, settings: dict[str, int]) -> dict[str, Any]:
    """One arm with one setting changed: accuracy on the questions that have an answer, with its interval."""
    lab.profile = replace(lab.profile, **settings)
    rows = ask_arms(lab, [arm], seeds=[0]).query("answerable")
    found = rows[rows.retrieved == 1].correct.tolist()
    mean = bootstrap_mean(rows.correct)
    print(f"{arm} {settings}: {mean}", flush=True)
    return {"arm": arm, **settings, "n": len(rows), "accuracy": mean.mean, "low": mean.low, "high": mean.high,
            "right where found": sum(found) / len(found) if found else None}  # fmt: skip


def table(points: Sequence[Mapping[str, Any]]) -> str:
    """The points as a table in Markdown."""
    lines = ["| arm | training | accuracy | right where the passage was found |", "|---|---|---:|---:|"]
    for p in points:
        settings = {key: p[key] for key in UNITS if key in p}
        said = [
            f"{value} {UNITS[key].removesuffix('s') if value == 1 else UNITS[key]}" for key, value in settings.items()
        ]
        changed = ", ".join(said) or "untrained"
        if settings and all(value == getattr(SMOL, key) for key, value in settings.items()):
            changed = f"**{changed}**"
        found = "–" if p["right where found"] is None else f"{p['right where found']:.2f}"
        lines.append(f"| {p['arm']} | {changed} | {p['accuracy']:.2f} [{p['low']:.2f}, {p['high']:.2f}] | {found} |")
    return "\n".join(lines)


def main() -> None:
    """Train and ask, one setting after the other."""
    points: list[dict[str, Any]] = []
    for arm, settings in [("base", {}), ("rag", {}), *GRID]:
        points.append(point(development(), arm, settings))
        write_json(RESULT, points)
        put(ROOT / "docs" / "models.md", "recipe", table(points))


if __name__ == "__main__":
    main()
