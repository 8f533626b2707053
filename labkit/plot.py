"""Figures that everyone can read: each arm has a marker and a colour, each figure comes with the same in words.

Each function gives figure and text; a cell that ends with the figure shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError
from labkit.metrics import METRICS, number
from labkit.store import ROOT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labkit.stats import Interval

LOOK = {
    "base": ("#000000", "o"),
    "rag": ("#0072B2", "s"),
    "tuned": ("#D55E00", "^"),
    "hybrid": ("#009E73", "D"),
    "prompted": ("#56B4E9", "P"),
    "naive": ("#CC79A7", "v"),
    "few-shot": ("#E69F00", "X"),
    "long-context": ("#F0E442", "*"),
}
"""Colour (Okabe & Ito, 2008) and marker of each arm."""


@contextmanager
def _panels(height: float, rows: int = 1, columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """Draw in the project's style, wherever the notebook was started; a cell shows the figure it ends with, once."""
    import matplotlib.pyplot as plt

    with plt.rc_context(fname=str(ROOT / "matplotlibrc")):
        figure, grid = plt.subplots(rows, columns, figsize=(5.4, height), squeeze=False, sharey=True)
        yield figure, list(grid.flat)
    plt.close()


def dots(result: Mapping[str, Any], metrics: Sequence[str]) -> tuple[Figure, str]:
    """Mean and interval of every arm, one panel for each metric; and the same in words.

    `result` has the shape of result.json. Raises LabError for a metric that it does not hold.
    """
    arms = result["arms"]
    for metric in metrics:
        if not any(values.get(metric) for values in arms.values()):
            raise LabError(f"no metric '{metric}' in this result: choose {', '.join(METRICS)}")
    columns = 1 if len(metrics) == 1 else 2
    rows = -(-len(metrics) // columns)
    with _panels(0.4 + (0.25 + 0.25 * len(arms)) * rows, rows, columns) as (figure, panels):
        for axes, metric in zip(panels, metrics, strict=False):
            _panel(axes, arms, metric)
        for axes in panels[len(metrics) :]:
            axes.remove()
    lines = []
    for metric in metrics:
        words = [
            "{} {} ({} to {})".format(name, *(number(metric, v[end]) for end in ("mean", "low", "high")))
            for name, values in arms.items()
            if (v := values.get(metric))
        ]
        lines.append(f"{METRICS[metric].label}: {', '.join(words)}.")
    return figure, "\n".join(lines)


def _panel(axes: Axes, arms: Mapping[str, Any], metric: str) -> None:
    held = {row: (name, arms[name][metric]) for row, name in enumerate(arms) if arms[name].get(metric)}
    for row, (name, value) in held.items():
        mean, colour, marker = value["mean"], *LOOK.get(name, LOOK.get(name.partition("-")[0], ("#999999", "X")))
        around = [[max(0.0, mean - value["low"])], [max(0.0, value["high"] - mean)]]
        edge = {"markeredgecolor": "black", "markeredgewidth": 0.5}  # the palette's yellow is faint on white
        axes.errorbar(mean, row, xerr=around, color=colour, marker=marker, linestyle="none", **edge)
        end = max(mean, value["high"]), row
        axes.annotate(number(metric, mean), end, (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(arms)), list(arms))
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_title(METRICS[metric].label)
    if METRICS[metric].share:
        axes.set_xlim(-0.03, 1.22)
        axes.set_xticks([0, 0.5, 1])
    else:
        axes.set_xlim(0, 1.3 * max(value["high"] for _, value in held.values()) or 1)


def kinds(table: pd.DataFrame) -> tuple[Figure, str]:
    """Share right by kind of question and arm, as a shaded table; and the same in words.

    `table` has columns kind, arm, n, mean, as `labkit.compare.score.by_kind` gives it. Raises LabError when it is empty.
    """
    if table.empty:
        raise LabError("no answers to plot: ask at least one question")
    order = {name: list(dict.fromkeys(table[name])) for name in ("kind", "arm")}
    grid = table.pivot(index="kind", columns="arm", values="mean").loc[order["kind"], order["arm"]]
    counts = table.drop_duplicates("kind").set_index("kind").n
    with _panels(0.7 + 0.36 * len(grid)) as (figure, (axes,)):
        # Dark for 0, light for 1, and the number on it: a map that grey print and any colour vision can read.
        axes.imshow(grid.to_numpy(float), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axes.grid(False)
        tilt = {"rotation": 30, "ha": "left", "rotation_mode": "anchor"} if grid.shape[1] > 5 else {}
        axes.set_xticks(range(grid.shape[1]), grid.columns, **tilt)
        axes.set_yticks(range(len(grid)), [f"{kind} ({counts[kind]})" for kind in grid.index])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for row, values in enumerate(grid.to_numpy(float)):
            for column, value in enumerate(values):
                ink = "white" if value < 0.55 else "black"
                text = f"{value:.2f}" if value == value else "–"  # NaN: this arm was not asked
                axes.text(column, row, text, color=ink, ha="center", va="center")
    return figure, "\n".join(["Share right.", *(f"{kind}: {_words(line.dropna())}." for kind, line in grid.iterrows())])


def _words(line: pd.Series) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in line.items())


def curve(lines: Mapping[str, Mapping[float, Interval]], x: str, y: str, log: int | None = None) -> tuple[Figure, str]:
    """Means with their intervals over some settings, a line for each name (`log`: settings to that base); and the same in words.

    Raises LabError without a point.

    >>> figure, text = curve({"": {100: bootstrap_mean([0, 1]), 200: bootstrap_mean([1, 1])}}, "tokens", "share right")
    """
    if not any(lines.values()):
        raise LabError("no points to plot: measure at least one setting")
    words = [f"{y[0].upper()}{y[1:]}, by {x}."]
    with _panels(2.6) as (figure, (axes,)):
        for (name, points), marker in zip(lines.items(), "os^Dv" * len(lines), strict=False):
            means = [v.mean for v in points.values()]
            around = [[v.mean - v.low for v in points.values()], [v.high - v.mean for v in points.values()]]
            colour, marker = LOOK.get(name, (None, marker))
            axes.errorbar(list(points), means, yerr=around, marker=marker, color=colour, label=name)
            along = [f"{round(at, 2):g} → {v.mean:.2f} ({v.low:.2f} to {v.high:.2f})" for at, v in points.items()]
            words.append(f"{name}: {', '.join(along)}.".removeprefix(": "))
        axes.set(xlabel=x, ylabel=y)
        axes.grid(axis="both")
        if log:
            axes.set_xscale("log", base=log)
            axes.xaxis.set_major_formatter("{x:g}")
        if len(lines) > 1:
            axes.legend(frameon=False)
    return figure, "\n".join(words)


def shares(table: pd.DataFrame) -> tuple[Figure, str]:
    """A bar for each row, parted by the columns, which add up to 1; and the same in words.

    Raises LabError when it is empty.
    """
    if table.empty:
        raise LabError("no shares to plot: ask at least one question")
    with _panels(1.1 + 0.32 * len(table)) as (figure, (axes,)):
        left = table.cumsum(axis=1) - table
        for part, hatch in zip(table, ["", "////", "....", "xxxx"] * len(table.columns), strict=False):
            axes.barh(range(len(table)), table[part], left=left[part], label=part, hatch=hatch, edgecolor="white")
        axes.set_yticks(range(len(table)), table.index)
        axes.set_ylim(len(table) - 0.4, -0.6)
        axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    return figure, "\n".join(f"{name}: {_words(line)}." for name, line in table.iterrows())
