"""The command line: compare the arms, ask one of them, measure a search, check the machine. Introduced in 00_start."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import labkit
from labkit import __version__, cli_practice, cli_tune
from labkit.cli_options import SETTINGS, Commands, ProfileName, RunsFolder, checked, watched, working
from labkit.practice.own_data_command import Asked, Docs, Generator, Within, lesson
from labkit.profile import PROFILES, check_size, resolve, runs_folder

if TYPE_CHECKING:
    from labkit.compare.arms import Answer


app = typer.Typer(cls=Commands, **SETTINGS)
app.add_typer(cli_tune.app)
app.add_typer(cli_practice.app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"labkit {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Measure retrieval-augmented generation, fine-tuning and their hybrid against each other.

    Example: labkit compare --size smoke
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def compare(
    profile: ProfileName = "pocket",
    size: Annotated[str, typer.Option(help="full measures; smoke only shows that it works.")] = "full",
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is shipped or kept.")] = False,
    out: RunsFolder = None,
    docs: Docs = None,
    questions: Asked = None,
    within: Within = 0.0,
    generator: Generator = "",
) -> None:
    """Run the comparison of the four arms and print its table.

    Example: labkit compare --size smoke; on your own, labkit compare --docs FOLDER --questions FILE
    """
    from labkit.compare.tables import terminal, verdict
    from labkit.execute import run_into, shown

    model, size = checked(resolve, profile), checked(check_size, size)
    parameters = {"PROFILE": profile if profile in PROFILES else model.model, "SIZE": size, "FRESH": fresh}
    source, read = lesson(docs, questions, within, generator, parameters["PROFILE"], size)
    root = (out or runs_folder() / source.stem.partition("_")[2]).absolute()
    print(f"Comparing base, rag, tuned and hybrid: profile {model.name}, {size} size", file=sys.stderr)
    folder = run_into(source, root, {**parameters, **read}, progress=False, echo=True)
    result = json.loads((folder / "result.json").read_text("utf-8"))
    console = Console(highlight=False)
    console.print(terminal(result))
    console.print(*(f"• {line}" for line in verdict(result)), sep="\n", markup=False)
    print(f"Report: {shown(root / 'latest' / 'report.html')}")


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know, in quotes.")],
    arm: Annotated[str, typer.Option(help="base, rag, tuned or hybrid.")] = "rag",
    profile: ProfileName = "pocket",
    log: Annotated[bool, typer.Option("--log", help="Keep the answer in runs/log.sqlite; see labkit log.")] = False,
) -> None:
    """Ask one arm one question: the answer, its sources, tokens and seconds.

    Example: labkit ask "Where is the Amber Falcon made?" --arm hybrid
    """
    from labkit.compare.arms import ARMS
    from labkit.practice.log_store import logged

    if arm not in ARMS:
        raise typer.BadParameter(f"unknown arm '{arm}': choose {', '.join(ARMS)}")
    if not question.strip():
        raise typer.BadParameter("the question is empty: write it in quotes")
    checked(resolve, profile)
    with working(profile) as seen:
        lab = labkit.open(profile, progress=seen)
        _print_answer((logged(lab, arm) if log else lab.arm(arm)).answer([question])[0])


def _print_answer(answer: Answer) -> None:
    from labkit.rag.augment import cited

    console = Console(highlight=False, markup=False)
    console.print(answer.text.strip() or "(no answer)", style="bold")
    numbers = [n for n in cited(answer.text) if 1 <= n <= len(answer.hits)]
    if answer.hits and not numbers:
        console.print("No source is cited. Retrieved:", style="dim")
    for number in numbers or range(1, len(answer.hits) + 1):
        chunk = answer.hits[number - 1].chunk
        console.print(f"[{number}] {chunk.document_id}: {' '.join(chunk.text.split())}")
    seconds = f"{answer.retrieval_seconds:.2f} s searching, {answer.generation_seconds:.2f} s answering"
    console.print(f"{answer.prompt_tokens} tokens read, {answer.output_tokens} written; {seconds}", style="dim")


@app.command()
def retrieve(
    beir: Annotated[Path, typer.Option(help="Folder with corpus.jsonl, queries.jsonl and qrels/test.tsv.")],
    method: Annotated[str, typer.Option(help="dense, bm25, fusion, mmr, second or rerank.")] = "dense",
    profile: ProfileName = "pocket",
) -> None:
    """Measure a way of searching on a test collection in BEIR's layout; the last line is JSON.

    Example: labkit retrieve --beir datasets/scifact --method fusion
    """
    from labkit.rag.beir import evaluate_profile, summary
    from labkit.rag.retrieve import check_method

    reranker = checked(resolve, profile).reranker
    checked(lambda name: check_method(name, reranker), method)
    with working(profile):
        print(*summary(evaluate_profile(beir, method, profile)), sep="\n")


@app.command()
def claims(
    as_json: Annotated[bool, typer.Option("--json", help="A list of rows in JSON instead of a table.")] = False,
) -> None:
    """Print the article's claims with their verdicts, from the newest ledger that `make claims` wrote.

    Example: labkit claims --json
    """
    from labkit.compare.ledger import read_ledger, table

    found = read_ledger()
    if as_json:
        print(json.dumps(found["claims"], indent=1))
    else:
        Console(highlight=False).print(table(found))


@app.command()
def doctor(workshop: Annotated[bool, typer.Option("--workshop", help="A line each, and a notebook.")] = False) -> None:
    """Check that this machine has what the course needs; exit status 1 if something required is missing.

    Example: labkit doctor --workshop
    """
    from labkit import doctor, doctor_workshop

    watched()
    raise typer.Exit(int(not (doctor_workshop if workshop else doctor).report()))
