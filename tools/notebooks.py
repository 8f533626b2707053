"""Build, run and keep the notebooks of the course, and write README's tables and picture.

`python -m tools.notebooks` runs all lessons, `python -m tools.notebooks 12` one; with `--text` it only renews the prose.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import nbformat
import typer

import labkit
from labkit.compare import claims, tables
from labkit.console import check
from labkit.errors import LabError
from labkit.plot import LOOK
from labkit.profile import EVERY_ARM, PROFILES
from labkit.store import ROOT, runs_folder, write_bytes, write_json
from tools import ledger
from tools.console import alone
from tools.execute import build, defaults, execute, run_into, save, shown, sources

STYLE = ROOT / "matplotlibrc"
MARKERS = "<!-- {name} -->", "<!-- /{name} -->"


def target(source: Path) -> Path:
    """Where a source's notebook is kept: `notebooks/source/PART/NAME.py` in `notebooks/PART/NAME.ipynb`."""
    return source.parent.parent.parent / source.parent.name / f"{source.stem}.ipynb"


def publish(source: Path) -> Path:
    """Run one source and keep its notebook; what it writes itself goes to a new folder below `runs`.

    Raises LabError as `execute` does.
    """
    if "OUT" not in defaults(build(source), source.stem):
        return execute(source, target(source))
    folder = run_into(source, runs_folder() / source.stem.partition("_")[2])
    notebook = nbformat.read(folder / f"{source.stem}.ipynb", as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    save(notebook, target(source))  # without the cell that says where this run wrote
    return target(source)


def renew_text(source: Path) -> Path:
    """Put a source's prose into its kept notebook and leave the outputs; LabError for code that changed, which must run."""
    old, new = nbformat.read(target(source), as_version=4), build(source)
    ran, cells = ([c for c in notebook.cells if c.cell_type == "code"] for notebook in (old, new))
    if changed := [c for c, known in zip_longest(cells, ran) if not c or not known or c.source != known.source]:
        line = changed[0].source.splitlines()[0] if changed[0] else "a cell is gone"
        raise LabError(f"code of {source.stem} changed ({line}): run it, python -m tools.notebooks {source.stem[:2]}")
    for cell, known in zip(cells, ran, strict=True):
        cell.outputs, cell.execution_count = known.outputs, known.execution_count
    save(new, target(source))
    return target(source)


RESULTS = {
    "smol": {"compare": "docs/result-smol.json", "prose": "docs/result-prose.json"},
    "pocket": {"compare": "docs/result.json"},
}
"""Where the newest result of a profile in a folder of runs is published."""


def publish_results() -> None:
    """Copy the newest full results of `make compare` to docs, and write README's table and picture of them.

    Raises LabError for a result of smoke size.
    """
    for profile, places in RESULTS.items():
        for name, file in places.items():
            result = runs_folder() / name / "latest" / "result.json"
            found = json.loads(result.read_text("utf-8")) if result.is_file() else {"profile": None}
            if found["profile"] == profile and found["size"] != "full":
                raise LabError(
                    f"{shown(result)} is of {found['size']} size, which README does not show: run make compare"
                )
            if found["profile"] == profile:
                write_bytes(ROOT / file, result.read_bytes())
    results = tables.published()
    put(ROOT / "README.md", "results", results_table(results))
    draw_results(ROOT / "docs" / "_static" / "result.png", results)
    smol = {name: result for name, result in results.items() if name.startswith("smol")}
    put(ROOT / "docs" / "models.md", "models", results_table(smol))


def draw_results(path: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write README's picture: accuracy and its interval for every arm, one panel for each result. A PNG of about 40 kB."""
    import matplotlib.pyplot as plt

    names = [arm for arm in EVERY_ARM if any(arm in result["arms"] for result in results.values())]
    with plt.rc_context(fname=str(STYLE)):
        size = 3 * len(results) + 0.6, 0.9 + 0.28 * len(names)
        figure, panels = plt.subplots(1, len(results), figsize=size, squeeze=False, sharey=True)
        for axes, (title, result) in zip(panels[0], results.items(), strict=True):
            for row, arm in enumerate(names):
                if arm in result["arms"]:
                    value, (colour, marker) = result["arms"][arm]["accuracy"], LOOK[arm]
                    mean = value["mean"]
                    around = [[max(0, mean - value["low"])], [max(0, value["high"] - mean)]]
                    axes.errorbar(mean, row, xerr=around, color=colour, marker=marker, markeredgecolor="black")
            axes.set(xlim=(-0.03, 1.03), xticks=[0, 0.5, 1], ylim=(len(names) - 0.5, -0.5), title=title)
            axes.set_yticks(range(len(names)), names)
        figure.supxlabel("accuracy with its 95 % interval; no mark: not measured", fontsize=9)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        plt.close(figure)
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, picture.getvalue())


def publish_figures() -> None:
    """Copy the figures that lessons kept for the article's claims to docs, where a ledger finds them again."""
    for path in sorted((runs_folder() / "figures").glob("*/*.json")):
        if path.parent.name in PROFILES:
            write_bytes(claims.RESULTS / path.parent.name / path.name, path.read_bytes())


def update_claims(result: Path) -> None:
    """Put the ledger of claims into README; LabError without one, and for one of smoke size."""
    if not result.is_file():
        raise LabError(f"no result at {shown(result)}: run make claims")
    found = json.loads(result.read_text("utf-8"))
    if found["size"] != "full":
        raise LabError(f"{shown(result)} is of {found['size']} size, which README does not show: run make claims")
    put(ROOT / "README.md", "claims", claims_table(found))


def results_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Several results for README: a row for each arm of each, how they were made, what they show, and where they disagree."""
    table = tables.beside(results).reset_index()
    lines = [table.columns, ["---"] * 2 + ["---:"] * (table.shape[1] - 2), *table.values]
    lines = [f"| {' | '.join(line)} |" for line in lines]
    lines[1] = lines[1].replace(" ", "")
    lines.append("")
    for name, result in results.items():
        environment = result["environment"]
        machine = f"{environment.get('platform', '?')}, {environment.get('processor', environment.get('cpus', '?'))}"
        lines += [f"**{name}**: {tables.about(result)}; {machine}.", ""]
        lines += [
            f"- {line}" for line in tables.verdict(result) if not re.match(r"Worth|Highest|Of your|\w+ fails", line)
        ]
        lines.append("")
    if apart := tables.disagreements(results):
        lines += ["**Where results disagree**, the verdict depends on the model or on the documents:", ""]
    return "\n".join([*lines, *(f"- {line}" for line in apart)]).rstrip()


def claims_table(record: Mapping[str, Any]) -> str:
    """The ledger for README: the count of each verdict, and a row for each claim."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in ledger.counts(record) if count)
    rows = [f"| {row['claim']} | {row['verdict']} | {claims.first_figure(row)} |" for row in record["claims"]]
    return "\n".join([f"{counts}.\n", "| claim | verdict | its first figure |", "|---|---|---|", *rows])


def put(readme: Path, name: str, text: str) -> None:
    """Put generated text between the markers of that name in a page; LabError without markers.

    >>> put(Path("README.md"), "results", "| a table |")
    """
    opening, closing = (marker.format(name=name) for marker in MARKERS)
    before, start, rest = readme.read_text("utf-8").partition(opening)
    _, end, after = rest.partition(closing)
    if not (start and end):
        raise LabError(f"{readme.name} lacks {opening} and {closing}: put them where the table belongs")
    note = "<!-- written by `make notebooks`: do not edit -->"
    write_bytes(readme, f"{before}{opening}\n{note}\n\n{text}\n\n{closing}{after}".encode())


def note_time(path: Path, lesson: str, seconds: float) -> None:
    """Keep how long a lesson's last run at full size took, for the teaching pages."""
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    found[lesson] = {"seconds": round(seconds, 1), "cpus": os.cpu_count()}
    write_json(path, dict(sorted(found.items())))


def chosen(numbers: Sequence[str]) -> list[Path]:
    """The sources of these lesson numbers, all if none is given; LabError for one that is no lesson."""
    found = {path.stem[:2]: path for path in sources()}
    wanted = [number.zfill(2)[:2] for number in numbers]
    for number, name in zip(numbers, wanted, strict=True):
        if name not in found:
            raise LabError(f"no lesson '{number}': choose {', '.join(found)}")
    return [found[name] for name in wanted] if numbers else list(found.values())


def main(
    numbers: Annotated[list[str] | None, typer.Argument(help="Of lessons; all if none.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Renew the prose alone; nothing is run.")] = False,
) -> None:
    """Run lessons and keep their notebooks, then write README's tables and picture.

    Example: python -m tools.notebooks 12
    """
    todo, failed = check(chosen, numbers or []), False
    if text:
        for source in todo:
            print(shown(check(renew_text, source)))
        return
    for source in todo:
        began = time.perf_counter()
        try:
            kept = publish(source)
        except LabError as error:
            failed = True
            print(f"error: {error}", file=sys.stderr)
            continue
        note_time(ROOT / "docs" / "times.json", source.stem, time.perf_counter() - began)
        print(f"{shown(kept)}: {time.perf_counter() - began:.0f} s")
    if failed:
        raise typer.Exit(1)
    stems = {source.stem for source in todo}
    if "12_compare" in stems:
        publish_results()
    publish_figures()
    if "19_claims" in stems:
        update_claims(ledger.write_ledger(labkit.open("pocket")))


if __name__ == "__main__":
    alone(main)
