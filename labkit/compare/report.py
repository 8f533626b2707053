"""Write a comparison down: a page for readers, JSON for programs, every answer as a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.compare.tables import METRICS, SMOKE, about, cell, difference, rows, verdict
from labkit.profile import ROOT
from labkit.stats import holm
from labkit.store import write_bytes, write_json

if TYPE_CHECKING:
    import pandas as pd

    from labkit.compare.experiment import Comparison

QUALITY = ("accuracy", "style", "joint", "abstention")
COST = ("latency_ms_p50", "latency_ms_p95", "prompt_tokens", "output_tokens")


def write_report(comparison: Comparison, folder: Path | str) -> Path:
    """Write report.html, answers.csv and, last, result.json; each whole or not at all. Returns the folder.

    A relative folder lies in the project.

    >>> write_report(comparison, "runs/compare/mine") / "report.html"
    """
    folder = ROOT / folder
    write_bytes(folder / "report.html", page(comparison).encode())
    write_bytes(folder / "answers.csv", comparison.answers.to_csv(index=False).encode())
    write_json(folder / "result.json", comparison.result)
    return folder


def page(comparison: Comparison) -> str:
    """The report as one HTML file that needs no other."""
    from labkit.compare.score import by_kind

    kinds, result = by_kind(comparison.answers), comparison.result
    return render(
        "report.html",
        result=result,
        smoke=SMOKE,
        about=about(result),
        verdict=verdict(result),
        metrics=METRICS,
        rows=list(rows(result)),
        figures=list(_figures(result, kinds)),
        paired=list(_paired(result)),
        kinds=[
            (f"{kind} ({group.n.iloc[0]})", [cell("accuracy", by_arm.get(arm)) for arm in result["arms"]])
            for kind, group in kinds.groupby("kind", sort=False)
            for by_arm in [{row["arm"]: row for row in group.to_dict("records")}]
        ],
        examples=list(_examples(comparison.answers)),
        artifacts=comparison.artifacts,
        rejected=comparison.rejected,
        origin=list(_origin(result)),
    )


def render(template: str, **values: Any) -> str:
    """One of this folder's pages, filled in."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(template).render(**values)


def _figures(result: Mapping[str, Any], kinds: pd.DataFrame) -> Iterator[dict[str, str]]:
    """Each figure as an SVG inside its own address, the same bytes every time, and in words."""
    from labkit import plot

    def measured(metrics: tuple[str, ...]) -> list[str]:
        return [metric for metric in metrics if any(values.get(metric) for values in result["arms"].values())]

    for figure, text in (plot.dots(result, measured(QUALITY)), plot.dots(result, measured(COST)), plot.kinds(kinds)):
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None})
        yield {"source": f"data:image/svg+xml;base64,{base64.b64encode(data.getvalue()).decode()}", "text": text}


def _paired(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    tests = result["paired"]
    for row, adjusted in zip(tests, holm([row["p"] for row in tests]), strict=True):
        yield {
            "label": METRICS[row["metric"]].label,
            "a": row["a"],
            "b": row["b"],
            "cell": difference(row["diff"], row["low"], row["high"]),
            "apart": row["low"] > 0 or row["high"] < 0,
            "p": _p(row["p"]),
            "holm": _p(adjusted),
        }


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _examples(answers: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The first question of each kind, and what every arm's first seed said to it."""
    for kind, group in answers.groupby("kind", sort=False):
        first = group[group.id == group.id.iloc[0]].drop_duplicates("arm")
        row = first.iloc[0]
        gold = row.gold if isinstance(row.gold, str) else "the documents do not say"
        yield {"kind": kind, "question": row.question, "gold": gold, "answers": first.to_dict("records")}


def _origin(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings, environment, seconds and memory, one line each."""
    yield "peak memory", f"{result['peak_rss_mb']:.0f} MB"
    for part in ("seconds", "environment", "settings", "hashes"):
        for name, value in result.get(part, {}).items():
            if isinstance(value, Mapping):
                value = ", ".join(f"{key} {entry}" for key, entry in value.items())
            yield f"{part}: {name}" if part == "seconds" else name, str(value)
