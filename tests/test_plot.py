"""Figures hold every number they claim, each arm has its own marker, and the text line says the same."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from labkit import LabError, plot
from labkit.metrics import METRICS
from labkit.stats import Interval

ARMS = ("base", "rag", "tuned", "hybrid")


def interval(mean: float, spread: float = 0.1) -> dict[str, float]:
    return {"mean": mean, "low": mean - spread, "high": mean + spread}


@pytest.fixture
def result():
    values = dict(zip(ARMS, (0.1, 0.7, 0.3, 0.8), strict=True))
    arms = {arm: {m: interval(v if METRICS[m].share else 500 * v) for m in METRICS} for arm, v in values.items()}
    del arms["base"]["recall_at_k"]
    return {"arms": arms}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Far from the project's folder, where matplotlib would find our style by itself."""
    monkeypatch.chdir(tmp_path)
    yield
    plt.close("all")


def marks(axes) -> dict[float, tuple]:
    return {bars[0].get_ydata()[0]: bars for bars in axes.containers}


def test_a_dot_stands_at_each_mean_with_its_interval(result):
    figure, _ = plot.dots(result, ["accuracy", "joint"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["accuracy", "joint"]
    for row, arm in enumerate(ARMS):
        point, _, (bar,) = marks(figure.axes[0])[row]
        value = result["arms"][arm]["accuracy"]
        assert point.get_xdata()[0] == value["mean"]
        assert bar.get_segments()[0][:, 0] == pytest.approx([value["low"], value["high"]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(ARMS)


def test_arms_differ_in_marker_and_in_lightness(result):
    figure, _ = plot.dots(result, ["accuracy"])
    points = [bars[0] for bars in figure.axes[0].containers]
    assert len({point.get_marker() for point in points}) == len({point.get_color() for point in points}) == 4
    assert all(to_rgb(point.get_color()) for point in points)


def test_the_text_holds_every_number_a_line_for_each_metric(result):
    _, text = plot.dots(result, ["accuracy", "prompt_tokens"])
    assert "accuracy: base 0.10 (0.00 to 0.20), rag 0.70 (0.60 to 0.80)" in text
    assert "prompt tokens: base 50 (50 to 50)" in text and len(text.splitlines()) == 2


def test_an_arm_without_a_metric_has_no_dot(result):
    figure, text = plot.dots(result, ["recall_at_k"])
    assert sorted(marks(figure.axes[0])) == [1, 2, 3] and "base" not in text


def test_a_mean_at_the_edge_of_its_interval_is_drawn(result):
    result["arms"]["rag"]["accuracy"] = {"mean": 1.0, "low": 1.0, "high": 1.0 - 1e-16}
    plot.dots(result, ["accuracy"])


def test_everything_at_zero_is_drawn(result):
    for values in result["arms"].values():
        values["output_tokens"] = {"mean": 0.0, "low": 0.0, "high": 0.0}
    figure, _ = plot.dots(result, ["output_tokens"])
    assert figure.axes[0].get_xlim() == (0, 1)


def test_odd_numbers_of_panels_leave_none_empty(result):
    figure, _ = plot.dots(result, ["accuracy", "style", "joint"])
    assert len(figure.axes) == 3


def test_an_unknown_metric_names_the_choices(result):
    with pytest.raises(LabError, match="no metric 'bleu' in this result: choose accuracy"):
        plot.dots(result, ["accuracy", "bleu"])


def test_kinds_show_each_share_in_its_cell():
    rows = [("two-hop", "base", 9, 0.0), ("two-hop", "rag", 9, 0.5), ("single fact", "base", 12, 0.25)]
    table = pd.DataFrame(rows, columns=["kind", "arm", "n", "mean"])
    figure, text = plot.kinds(table)
    axes = figure.axes[0]
    shown = {t.get_position(): t.get_text() for t in axes.texts}
    assert shown == {(0, 0): "0.00", (1, 0): "0.50", (0, 1): "0.25", (1, 1): "–"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["two-hop (9)", "single fact (12)"]
    assert text.splitlines() == ["Share right.", "two-hop: base 0.00, rag 0.50.", "single fact: base 0.25."]


def test_kinds_without_answers_are_refused():
    with pytest.raises(LabError, match="no answers to plot"):
        plot.kinds(pd.DataFrame(columns=["kind", "arm", "n", "mean"]))


def test_every_drawn_word_is_within_the_figure(result):
    figure, _ = plot.dots(result, list(METRICS))
    figure.canvas.draw()
    box = figure.bbox
    for axes in figure.axes:
        for text in (axes._left_title, *axes.texts, *axes.get_yticklabels()):
            extent = text.get_window_extent()
            assert extent.x0 >= box.x0 - 1 and extent.x1 <= box.x1 + 1, text.get_text()


def test_a_curve_holds_every_mean_with_its_interval():
    points = {100: Interval(0.5, 0.25, 0.75), 200: Interval(0.75, 0.5, 1.0)}
    figure, text = plot.curve({"right": points, "found": points}, "tokens", "share right")
    for bars in figure.axes[0].containers:
        assert list(bars[0].get_xdata()) == [100, 200] and list(bars[0].get_ydata()) == [0.5, 0.75]
        assert [s[:, 1].tolist() for s in bars[2][0].get_segments()] == [[0.25, 0.75], [0.5, 1.0]]
    assert text.splitlines() == [
        "Share right, by tokens.",
        "right: 100 → 0.50 (0.25 to 0.75), 200 → 0.75 (0.50 to 1.00).",
        "found: 100 → 0.50 (0.25 to 0.75), 200 → 0.75 (0.50 to 1.00).",
    ]
    plt.close("all")
    with pytest.raises(LabError, match="no points"):
        plot.curve({"right": {}}, "tokens", "share right")
