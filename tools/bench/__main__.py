"""Measure every claim about speed and write `docs/benchmarks.json` and `docs/benchmarks.md`.

python -m tools.bench            # everything; minutes
python -m tools.bench embed      # one topic
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from labkit.store import ROOT, provenance, write_bytes, write_json
from tools.bench import Figure, limit, model, search
from tools.console import alone

TOPICS = {
    "embed": search.embed,
    "index": search.index,
    "limit": limit.limit,
    "rag": model.rag,
    "retrieve": search.retrieve,
    "start": model.start,
    "train": model.train,
}


def page(figures: list[Figure]) -> str:
    """The figures as a Markdown page, with the machine, the versions and the command."""
    made = provenance()
    versions = ", ".join(f"{name} {version}" for name, version in sorted(made["packages"].items()))
    rows = "\n".join(
        f"| {f.name} | {f.rival} | {f.ratio:.2f}× | {f.ours:,.4g} | {f.theirs:,.4g} | {f.unit} |" for f in figures
    )
    return f"""# Benchmarks

Each row compares labkit with a named rival on the same work in the same run. A ratio above 1 means that labkit is better.
`make bench` repeats the measurements. These ran on: {made["platform"]}, {made["cpus"]} processors, Python {made["python"]}; {versions}.

| what | rival | ratio | ours | theirs | unit |
|---|---|---:|---:|---:|---|
{rows}
"""


def main(
    topics: Annotated[list[str] | None, typer.Argument(help=f"Any of: {', '.join(TOPICS)}. All if none.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller sizes; nothing is written.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the two files.", show_default="docs")] = ROOT / "docs",
) -> None:
    """Measure the project's claims about speed.

    Example: python -m tools.bench embed --quick
    """
    if unknown := set(topics or []) - set(TOPICS):
        raise typer.BadParameter(f"unknown topic {', '.join(sorted(unknown))}: choose of {', '.join(TOPICS)}")
    figures: list[Figure] = []
    for topic in (bar := tqdm(topics or TOPICS, unit="topic")):
        bar.set_description(topic)
        figures += TOPICS[topic](quick=quick)
    table = Table("what", "rival", "ratio", "ours", "theirs", "unit")
    for f in figures:
        table.add_row(f.name, f.rival, f"{f.ratio:.2f}×", f"{f.ours:,.4g}", f"{f.theirs:,.4g}", f.unit)
    Console().print(table)
    if not quick and not topics:
        write_json(out / "benchmarks.json", [{**asdict(f), "ratio": f.ratio} for f in figures])
        write_bytes(out / "benchmarks.md", page(figures).encode())


if __name__ == "__main__":
    alone(main)
