"""Write a comparison down: a page for readers, JSON for programs, every answer as a table."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console

from labkit import plot
from labkit.compare import tables
from labkit.compare.experiment import Comparison, preview
from labkit.compare.lab import Lab
from labkit.compare.score import by_kind
from labkit.metrics import METRICS, QUALITY
from labkit.runs import new_folder, point, shown
from labkit.stats import holm
from labkit.store import ROOT, write_bytes, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
COST = ("latency_ms_p50", "latency_ms_p95", "prompt_tokens", "output_tokens")


def write_report(comparison: Comparison, folder: Path | str) -> Path:
    """Write report.html, answers.csv and, last, result.json; each whole or not at all. Returns the folder.

    A relative folder lies in the project.
    """
    folder = ROOT / folder
    write_bytes(folder / "report.html", page(comparison).encode())
    write_bytes(folder / "answers.csv", comparison.answers.to_csv(index=False).encode())
    write_json(folder / "result.json", comparison.result)
    return folder


def page(comparison: Comparison) -> str:
    """The report as one HTML file that needs no other."""
    result, table = comparison.result, by_kind(comparison.answers)
    figures = [plot.dots(result, tables.measured(result, metrics)) for metrics in (QUALITY, COST)]
    tests, kinds = result["paired"], table.groupby("kind", sort=False)
    return render(
        "report.html",
        **vars(comparison),
        tables=tables,
        metrics=METRICS,
        figures=[{"source": _embed(figure), "text": text} for figure, text in (*figures, plot.kinds(table))],
        paired=list(zip(tests, holm([row["p"] for row in tests]), strict=True)),
        kinds={kind: {row["arm"]: row for row in group.to_dict("records")} for kind, group in kinds},
        examples=list(_examples(comparison.answers)),
    )


def render(template: str, folder: Path = HERE, **values: Any) -> str:
    """A page of a folder, by default of this one, filled in; it may extend a page of this one. Every value is escaped."""
    loader = FileSystemLoader([folder, HERE])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(template).render(**values)


def _embed(figure: Figure) -> str:
    """The figure as an SVG inside its own address, the same bytes every time."""
    data = io.BytesIO()
    figure.savefig(data, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(data.getvalue()).decode()}"


def _examples(answers: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The first question of each kind, and what every arm's first seed said to it."""
    for kind, group in answers.groupby("kind", sort=False):
        first = group[group.id == group.id.iloc[0]].drop_duplicates("arm")
        row = first.iloc[0]
        gold = row.gold if isinstance(row.gold, str) else "the documents do not say"
        yield {"kind": kind, "question": row.question, "gold": gold, "answers": first.to_dict("records")}


def compare_into(lab: Lab, root: Path, compare: Callable[[Lab], Comparison]) -> None:
    """Compare, write the report into a new folder of `root` to which `root/latest` then leads, and print what was found.

    A run that fails or is stopped leaves `latest` alone; what it trained and answered is found again by the next one.
    """
    console = Console(highlight=False)
    folder = new_folder(root)  # first: a folder that cannot be written fails before hours of work
    try:
        asks = f"{len(lab.documents)} documents, {len(lab.questions)} questions"
        arms = f"Comparing {', '.join(lab.profile.arms)} over {lab.corpus}: profile {lab.profile.name}, {lab.size} size"
        print(f"{arms}, {asks}", file=sys.stderr)
        if first := preview(lab):
            console.print("\nA first look, at a few questions:")
            console.print(tables.terminal(first))
        comparison = compare(lab)
        write_report(comparison, folder)
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()
    point(root / "latest", folder)
    console.print(tables.terminal(comparison.result))
    console.print(*(f"• {line}" for line in tables.verdict(comparison.result)), sep="\n", markup=False)
    print(f"Report: {shown(root / 'latest' / 'report.html')}")
