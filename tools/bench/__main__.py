"""Measure the claims about speed, and put the figures into `docs/benchmarks.json` and `docs/benchmarks.md`.

python -m tools.bench                          # all topics
python -m tools.bench embed start --rounds 7   # two of them; the others' figures stay
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from labkit.store import ROOT, provenance, write_bytes, write_json
from tools.bench import Figure, Size, growth, limit, measure, model, search, training
from tools.console import alone

TOPICS = {
    "rag": (model.rag, "From question to answer over passages"),
    "answer": (model.answer, "From prompt to answer"),
    "busy": (model.busy, "Beside a busy process"),
    "start": (model.start, "Starting"),
    "train": (training.train, "Training"),
    "embed": (search.embed, "Embedding"),
    "retrieve": (search.retrieve, "Search"),
    "growth": (growth.growth, "Growth with the documents"),
    "limit": (limit.limit, "The limit of the machine"),
    "index": (search.index, "Compressed indexes"),
}
"""What can be measured, each with its heading on the page."""
RIVALS = ("langchain-community", "llama-cpp-python", "trl")
COLUMNS = ("work", "rival", "ratio", "rounds from, to", "ours", "theirs", "unit")


def main(
    topics: Annotated[list[str] | None, typer.Argument(help=f"Any of: {', '.join(TOPICS)}. All if none.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, of which the median counts.")] = 5,
    models: Annotated[str, typer.Option(help="smol, pocket or both.")] = "smol,pocket",
    quick: Annotated[
        bool, typer.Option("--quick", help="A trial: little work, one round, nothing is written.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the two files.", show_default="docs")] = ROOT / "docs",
) -> None:
    """Measure the project's claims about speed.

    Example: python -m tools.bench embed --quick
    """
    if unknown := set(topics or []) - set(TOPICS):
        raise typer.BadParameter(f"unknown topic {', '.join(sorted(unknown))}: choose of {', '.join(TOPICS)}")
    size = Size(quick, tuple(models.split(",")))
    if unknown := set(size.models) - {"smol", "pocket"}:
        raise typer.BadParameter(f"unknown model {', '.join(sorted(unknown))}: choose smol, pocket or smol,pocket")
    with tqdm(topics or TOPICS, unit="topic") as bar:
        for topic in bar:
            bar.set_description(topic)
            contests = TOPICS[topic][0](size)  # made one by one, so that each lets go of its models
            found = [figure for contest in contests for figure in measure(contest, 1 if quick else rounds)]
            show(found)
            if not quick:  # after each topic, so that a stopped run keeps those it did
                keep(out, topic, found, f"python -m tools.bench {topic} --rounds {rounds} --models {models}")


def show(figures: Sequence[Figure]) -> None:
    """The figures on standard output, a line for each."""
    for figure in figures:
        tqdm.write(" | ".join(cells(asdict(figure))))


def keep(out: Path, topic: str, figures: Sequence[Figure], command: str) -> None:
    """Put a topic's figures in the place of its earlier ones, with what they are bound to, and write the page again."""
    path = out / "benchmarks.json"
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    known[topic] = {"command": command, **bound_to(), "figures": [asdict(figure) for figure in figures]}
    write_json(path, known)
    write_bytes(out / "benchmarks.md", page(known).encode())


def bound_to() -> dict[str, Any]:
    """Machine, threads, commit and versions, those of the rivals included."""
    import torch

    made = provenance()
    for package in RIVALS:
        try:
            made["packages"][package] = version(package)
        except PackageNotFoundError:
            continue
    return made | {"threads": torch.get_num_threads()}


def page(known: Mapping[str, Mapping[str, Any]]) -> str:
    """All topics' figures as a Markdown page."""
    head = """# Benchmarks

Each row compares labkit with a named rival on the same work. All ways take turns within a round. The figures are medians of
the rounds; the column after the ratio shows the lowest and the highest ratio of a single round. A ratio above 1 means that
labkit is better. `make bench` repeats all measurements, and the command over a table repeats that table. Machine and versions
hold for all tables until the next are named.
"""
    parts, before = [head], ""
    for topic in TOPICS:
        if topic in known:
            place = where(known[topic])
            parts.append(section(topic, known[topic], "" if place == before else f" {place}"))
            before = place
    return "\n".join(parts)


def where(made: Mapping[str, Any]) -> str:
    """Machine, threads and versions in a line."""
    machine = ", ".join(filter(None, [made["platform"], made.get("processor"), f"{made['cpus']} processors"]))
    threads = f", {made['threads']} threads" if "threads" in made else ""
    packages = {name: number for name, number in made["packages"].items() if number}
    versions = ", ".join(f"{name} {number}" for name, number in sorted(packages.items()))
    return f"{machine}{threads}; Python {made['python']}; {versions}."


def section(topic: str, made: Mapping[str, Any], place: str) -> str:
    """One topic: its command, where it ran unless that stands above, and a table."""
    rows = "\n".join(f"| {' | '.join(cells(figure))} |" for figure in made["figures"])
    return f"""## {TOPICS[topic][1]}

`{made["command"]}`.{place}

| {" | ".join(COLUMNS)} |
|---|---|---:|---:|---:|---:|---|
{rows}
"""


def cells(figure: Mapping[str, Any]) -> list[str]:
    """A figure as a row: the work, the rival, the ratio with its span over the rounds, both values and their unit.

    >>> cells({"work": "sum", "rival": "numpy", "install": "pip install numpy"})
    ['sum', 'numpy', 'not installed: pip install numpy', '', '', '', '']
    """
    if figure.get("install"):
        return [figure["work"], figure["rival"], f"not installed: {figure['install']}", *[""] * 4]

    def shown(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    span = [shown(figure.get(end), ".2f") for end in ("lowest", "highest")] if figure.get("lowest") else ["–"]
    ratio = shown(figure.get("ratio"), ".2f") + ("×" if figure.get("ratio") else "")
    values = [shown(figure.get(side), ",.4g") for side in ("ours", "theirs")]
    return [figure["work"], figure["rival"] or "–", ratio, ", ".join(span), *values, figure["unit"]]


if __name__ == "__main__":
    alone(main)
