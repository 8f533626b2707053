"""A result as a table for the terminal, for a notebook and in words; every number comes from the result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

from labkit.metrics import METRICS, QUALITY, number
from labkit.stats import ALPHA, holm
from labkit.store import ROOT

Result = Mapping[str, Any]
SMOKE = "SMOKE RUN: this is not a measurement. A few questions and one epoch show that every part works, no more."


def cell(metric: str, value: Mapping[str, float] | None) -> str:
    """Mean and interval, or a dash where the arm has none.

    >>> cell("style", {"mean": 0.5, "low": 0.4, "high": 0.6})
    '0.50 [0.40, 0.60]'
    """
    if not value or value.get("mean") is None:
        return "–"
    return "{} [{}, {}]".format(*(number(metric, value[end]) for end in ("mean", "low", "high")))


def _short(metric: str, value: Mapping[str, float] | None) -> str:
    """The cell in ten columns: mean, and the interval below it, shares without their leading zero."""
    if not value or value.get("mean") is None:
        return "–"
    mean, low, high = (number(metric, value[end]) for end in ("mean", "low", "high"))
    if METRICS[metric].share:
        low, high = low.removeprefix("0"), high.removeprefix("0")
    return f"[bold]{mean}[/]\n[dim]{low}–{high}[/]"


BESIDE = (*QUALITY, "citation", "latency_ms_p50")
"""The metrics of an arm that stand side by side."""


def measured(result: Result, metrics: Iterable[str] = METRICS) -> list[str]:
    """Those metrics that any arm of a result has."""
    return [metric for metric in metrics if any(arm.get(metric) for arm in result["arms"].values())]


def rows(result: Result) -> list[tuple[str, list[str]]]:
    """Each metric that any arm has, with the arms' cells in their order."""
    arms = result["arms"].values()
    return [(metric, [cell(metric, arm.get(metric)) for arm in arms]) for metric in measured(result)]


def about(result: Result) -> str:
    """What was run, in one line."""
    seeds = ", ".join(map(str, result["seeds"]))
    return (
        f"profile {result['profile']}, {result['size']} size, {result['n_questions']} questions, "
        f"training seeds {seeds}; mean [95 % bootstrap interval over questions]"
    )


def terminal(result: Result) -> Table:
    """The main table for `rich`: arms down, metrics across, as many as 80 columns hold; the report has the others."""
    title = SMOKE if result["size"] != "full" else None
    look = {"box": box.SIMPLE_HEAD, "title_style": "bold", "pad_edge": False, "collapse_padding": True}
    table = Table(title=title, caption=about(result), **look)
    table.add_column("", no_wrap=True)
    shown = measured(result, BESIDE)
    for metric in shown:
        table.add_column(METRICS[metric].label, justify="right")
    for arm, values in result["arms"].items():
        table.add_row(arm, *(_short(metric, values.get(metric)) for metric in shown))
    return table


def published() -> dict[str, Result]:
    """The comparisons that the project publishes, by the model and the documents: `docs/result*.json`."""
    names = {"result-smol": "smol, company", "result-prose": "smol, articles", "result": "pocket, company"}
    files = {label: ROOT / "docs" / f"{name}.json" for name, label in names.items()}
    return {label: json.loads(file.read_text("utf-8")) for label, file in files.items() if file.is_file()}


def beside(results: Mapping[str, Result]) -> pd.DataFrame:
    """Several results as one table: a row for each arm of each, a column for each metric that any has."""
    lines = {(name, arm): values for name, result in results.items() for arm, values in result["arms"].items()}
    shown = measured({"arms": lines}, BESIDE)
    cells = {METRICS[m].label: [cell(m, values.get(m)) for values in lines.values()] for m in shown}
    return pd.DataFrame(cells, index=pd.MultiIndex.from_tuples(lines, names=["model, documents", "arm"]))


def disagreements(results: Mapping[str, Result]) -> list[str]:
    """Where two results tell the same two arms apart in opposite directions: there the verdict depends on the model.

    Results are named "model, documents"; only those that share one of the two are set side by side.
    """
    lines = []
    for (one, first), (two, second) in combinations(results.items(), 2):
        if not set(one.split(", ")) & set(two.split(", ")):
            continue
        apart = told_apart(first) & told_apart(second)
        for row in (row for m in ("accuracy", "joint", "abstention") for row in first["paired"] if row["metric"] == m):
            here, key = (row["diff"], row["low"], row["high"]), (row["metric"], row["a"], row["b"])
            there = gaps(second, row["metric"], row["a"]).get(row["b"], (0, 0, 0))
            if key in apart and here[0] * there[0] < 0:
                arms = f"{METRICS[row['metric']].label}, {row['a']} minus {row['b']}"
                lines.append(f"{arms}: {one} {difference(*here)}, {two} {difference(*there)}.")
    return lines


def frame(result: Result) -> pd.DataFrame:
    """The main table for a notebook: metrics down, arms across."""
    return pd.DataFrame({METRICS[metric].label: row for metric, row in rows(result)}, index=list(result["arms"])).T


def paired(result: Result) -> pd.DataFrame:
    """Differences between arms with their p-values, also adjusted over all of them (Holm)."""
    return pd.DataFrame(result["paired"]).assign(holm=lambda tests: holm(tests.p)).round(4)


def gaps(result: Result, metric: str, arm: str) -> dict[str, tuple[float, float, float]]:
    """How far `arm` is above each other arm, with the interval."""
    tests = [row for row in result["paired"] if row["metric"] == metric]
    below = {row["a"]: (-row["diff"], -row["high"], -row["low"]) for row in tests if row["b"] == arm}
    return below | {row["b"]: (row["diff"], row["low"], row["high"]) for row in tests if row["a"] == arm}


def told_apart(result: Result) -> set[tuple[str, str, str]]:
    """The pairs of arms, in either order, that a metric tells apart: Holm's p over all comparisons of the result is below 0.05."""
    tests = result["paired"]
    sure = [row for row, p in zip(tests, holm([row["p"] for row in tests]), strict=True) if p < ALPHA]
    return {(row["metric"], *pair) for row in sure for pair in ((row["a"], row["b"]), (row["b"], row["a"]))}


def difference(mean: float, low: float, high: float) -> str:
    """A difference of shares with its interval, in three decimals where two would round an end to zero.

    >>> difference(0.8, 0.7, 0.9), difference(0.03, 0.003, 0.06)
    ('0.80 [0.70, 0.90]', '0.030 [0.003, 0.060]')
    """
    places = 3 if any(0 < abs(end) < 0.005 for end in (low, high)) else 2
    return f"{mean:.{places}f} [{low:.{places}f}, {high:.{places}f}]"


def leader(result: Result, metric: str) -> str:
    """One sentence: which arm has the most of a metric, and from which others the data tell it apart."""
    means = {arm: v[metric]["mean"] for arm, v in result["arms"].items() if v.get(metric)}
    best, label = max(means, key=means.__getitem__), METRICS[metric].label
    if not means[best]:
        return f"{label}: no arm scores above zero."
    lead, apart = gaps(result, metric, best), told_apart(result)
    clear = [f"{arm} by {difference(*gap)}" for arm, gap in lead.items() if (metric, best, arm) in apart]
    unclear = [arm for arm in lead if (metric, best, arm) not in apart]
    parts = [f"{label}: {best} is highest at {number(metric, means[best])}"]
    parts += [f"above {', '.join(clear)}"] if clear else []
    parts += [f"not told apart from {', '.join(unclear)}"] if unclear else []
    return f"{', '.join(parts)}."


def verdict(result: Result) -> list[str]:
    """What the numbers say, one sentence for each question that the comparison asks.

    A difference counts when its p-value, adjusted for all comparisons (Holm), is below 0.05; a recommendation stands last.
    """
    warning = [SMOKE] if result["size"] != "full" else []
    share = result.get("pasted")
    pasted = [f"long-context reads {share:.0%} of the documents' text: as much as fits."] if share is not None else []
    leaders = [leader(result, metric) for metric in measured(result, QUALITY)]
    return [*warning, *leaders, *pasted, *result.get("recommendation", [])]
