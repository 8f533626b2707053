"""The command line: compare the arms, ask one of them, measure a search, check the machine. Introduced in 00_start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import labkit
from labkit import __version__, cli_practice, cli_tune
from labkit.cli_options import SETTINGS, Commands, ProfileName, RunsFolder, checked, watched, working
from labkit.errors import LabError
from labkit.profile import check_size, resolve, runs_folder

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


Docs = Annotated[
    Path | None, typer.Option("--docs", help="Folder of your own documents; without --questions, proposes some.")
]
Asked = Annotated[
    Path | None, typer.Option("--questions", help="Your questions with answers: .csv, .jsonl or .xlsx; needs --docs.")
]
Squad = Annotated[
    Path | None, typer.Option("--squad", help="Documents and questions in one JSON file of SQuAD 1.1, 2.0 or XQuAD.")
]
Most = Annotated[
    int | None,
    typer.Option("--most", min=8, help="Ask so many test questions, of each kind in proportion.", show_default="all"),
]
Within = Annotated[
    float, typer.Option("--within", help="Refuse too few questions: half-width wanted of a share's interval, as 0.1.")
]
Generator = Annotated[
    str,
    typer.Option("--generator", help="URL or URL#model of an OpenAI-compatible server for base and rag; with --docs."),
]


@app.command()
def compare(
    profile: ProfileName = "smol",
    size: Annotated[str, typer.Option(help="full measures; smoke only shows that it works.")] = "full",
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is shipped or kept.")] = False,
    out: RunsFolder = None,
    docs: Docs = None,
    questions: Asked = None,
    squad: Squad = None,
    most: Most = None,
    within: Within = 0.0,
    generator: Generator = "",
) -> None:
    """Compare the four arms over the invented company, over your documents, or over a SQuAD file, and print the table.

    Example: labkit compare --size smoke; on your own, labkit compare --docs FOLDER --questions FILE
    """
    checked(resolve, profile), checked(check_size, size)
    if squad and (docs or questions or generator):
        raise LabError("--squad brings its own documents and questions: leave --docs, --questions and --generator out")
    if most and not (docs or squad):
        raise LabError(
            "--most takes some of your own questions: name them with --docs and --questions, or with --squad"
        )
    if (questions or generator or docs) and (docs is None or not docs.is_dir()):
        raise LabError(f"no folder of documents{f' at {docs}' if docs else ''}: name one with --docs")
    with working(profile):
        if squad:
            _compare_squad(profile, squad, size, fresh, most, out)
        elif questions:
            _compare_own(profile, docs, questions, size, within, fresh, generator, most, out)
        elif docs:
            print(_proposed(docs, profile, size))
        else:
            _compare_shipped(profile, size, fresh, out)


def _compare_shipped(profile: str, size: str, fresh: bool, out: Path | None) -> None:
    """The company, and the articles for a model that can read them."""
    from labkit.compare.experiment import run_compare
    from labkit.compare.run import compare_into
    from labkit.practice.own_data import compare_own, open_prose

    lab = labkit.open(profile, size, fresh)
    compare_into(lab, (out or runs_folder() / "compare").absolute(), run_compare)
    if lab.profile.reads_prose and not out:
        compare_into(open_prose(profile, size, fresh), runs_folder() / "prose", compare_own)
    lab.artifacts.finish()


def _compare_own(
    profile: str, docs: Path, questions: Path, size: str, within: float, fresh: bool, generator: str,
    most: int | None, out: Path | None,
) -> None:  # fmt: skip
    from labkit.compare.run import compare_into
    from labkit.practice.own_data import compare_own, open_own
    from labkit.practice.own_data_questions import read_rows

    read_rows(questions)  # before documents are read, which may take minutes
    lab = open_own(profile, docs.absolute(), questions.absolute(), size, within, fresh, generator, most=most)
    compare_into(lab, (out or runs_folder() / "own_data").absolute(), compare_own)
    lab.artifacts.finish()


def _compare_squad(profile: str, file: Path, size: str, fresh: bool, most: int | None, out: Path | None) -> None:
    from labkit.compare.run import compare_into
    from labkit.practice.squad import compare_squad, open_squad, write_predictions

    lab = open_squad(profile, file, size, fresh, most=most)
    made, folder = compare_into(lab, (out or runs_folder() / "squad").absolute(), compare_squad)
    write_predictions(made.answers, folder)
    lab.artifacts.finish()


def _proposed(docs: Path, profile: str, size: str) -> str:
    from labkit.practice.own_data import open_own
    from labkit.practice.own_data_propose import propose_into

    lab = open_own(profile, docs.absolute(), "", size)
    return propose_into(lab, runs_folder() / "own_data" / f"{docs.resolve().name}.csv", lab.profile.questions or 60)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know, in quotes.")],
    arm: Annotated[str, typer.Option(help="base, rag, tuned or hybrid.")] = "rag",
    profile: ProfileName = "smol",
    log: Annotated[bool, typer.Option("--log", help="Keep the answer in runs/log.sqlite; see labkit log.")] = False,
) -> None:
    """Ask one arm one question: the answer, its sources, tokens and seconds.

    Example: labkit ask "Where is the Amber Falcon made?" --arm hybrid
    """
    from labkit.compare.arms import ARMS
    from labkit.practice.log import logged

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
    from labkit.rag.retrieve import check_method, evaluate_profile, summary

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
