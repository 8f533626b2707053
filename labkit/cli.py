"""The command line: a function for each command, which imports what it needs when it runs, so that help comes at once."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

import labkit
from labkit import __version__
from labkit.console import SETTINGS, Commands, announce, check, session, show
from labkit.errors import LabError
from labkit.profile import check_size, choose_arms, resolve
from labkit.store import ROOT, runs_folder, write_bytes

if TYPE_CHECKING:
    from labkit.compare.arms import Answer

app = typer.Typer(cls=Commands, **SETTINGS)
PROFILE = "smol, pocket, laptop, gpu, a model's folder, or a hub id as owner/name."
ProfileName = Annotated[str, typer.Option("--profile", "--model", help=PROFILE)]
Size = Annotated[str, typer.Option(help="full measures; smoke only shows that it works.")]
EmbedderName = Annotated[
    str, typer.Option(help="bundled (English), multilingual, a folder or a hub id.", show_default="the profile's")
]
Password = Annotated[str, typer.Option(envvar="LABKIT_PASSWORD", help="Of PDF files that are locked with it.")]
LIMIT = "that reading one file may take."
Seconds = Annotated[float | None, typer.Option(min=1, help=f"Processor time {LIMIT}", show_default="60")]
Megabytes = Annotated[int | None, typer.Option(min=300, help=f"Memory {LIMIT}", show_default="1000")]
RAY = "A Ray cluster, as host:port or auto; local starts one on this machine."
RayAddress = Annotated[str | None, typer.Option(help=RAY, show_default="no Ray")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"labkit {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Measure retrieval-augmented generation, fine-tuning and their hybrid against each other.

    Example: labkit compare --size smoke
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def compare(
    profile: ProfileName = "smol",
    size: Size = "full",
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is shipped or kept.")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Trainings of each arm.", show_default="the profile's")
    ] = None,
    arms: Annotated[
        str, typer.Option(help="Which to compare, with commas, or all.", show_default="the profile's")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for runs.", show_default="runs/compare")] = None,
    docs: Annotated[Path | None, typer.Option(help="Folder of your documents; alone, proposes questions.")] = None,
    questions: Annotated[Path | None, typer.Option(help="Yours, with answers: .csv, .tsv, .xlsx or .jsonl.")] = None,
    squad: Annotated[Path | None, typer.Option(help="Both in one JSON file of SQuAD 1.1, 2.0 or XQuAD.")] = None,
    most: Annotated[int | None, typer.Option(min=8, help="Test questions to ask.", show_default="all")] = None,
    generator: Annotated[str, typer.Option(help="URL or URL#model of an OpenAI-like server for base and rag.")] = "",
    judge: Annotated[str, typer.Option(help="URL of one that judges answers in other words; key: JUDGE_API_KEY.")] = "",
    judge_model: Annotated[str, typer.Option(help="Its model.", show_default="the first that it lists")] = "",
    embedder: EmbedderName = "",
    password: Password = "",
    seconds: Seconds = None,
    megabytes: Megabytes = None,
) -> None:
    """Compare the arms over the invented company, over your documents, or over a SQuAD file, and print the table.

    Example: labkit compare --size smoke; on your own, labkit compare --docs FOLDER --questions FILE
    """
    check(resolve, profile), check(check_size, size)
    trained = tuple(range(seeds)) if seeds else None
    overrides = _given(seeds=trained, arms=check(choose_arms, arms) if arms else None, embedder=embedder)
    reading = _given(password=password, seconds=seconds, megabytes=megabytes)
    if squad and (docs or questions or generator):
        raise LabError("--squad brings its own documents and questions: leave --docs, --questions and --generator out")
    if most and not (docs or squad):
        raise LabError("--most takes some of your own questions: name them with --docs, --questions or --squad")
    if (judge or judge_model) and not (judge and questions):
        raise LabError("--judge is the URL of a model that judges answers to your questions: give it with --questions")
    everywhere = os.environ.get("LABKIT_PASSWORD", "")  # a password that is set for every command asks for nothing here
    if not docs and (seconds or megabytes or password != everywhere):
        raise LabError("--password, --seconds and --megabytes are for reading your documents: name them with --docs")
    if (questions or generator or docs) and (docs is None or not docs.is_dir()):
        raise LabError(f"no folder of documents{f' at {docs}' if docs else ''}: name one with --docs")
    if docs and not questions and (generator or most):
        raise LabError("--generator and --most are for comparing answers: give --questions too")
    with session(profile):
        from labkit.compare.experiment import run_compare
        from labkit.compare.lab import Lab
        from labkit.compare.report import compare_into
        from labkit.practice import own_data
        from labkit.practice.questions import propose_into, read_rows

        if squad:
            name, run = "squad", own_data.compare_squad
            lab = own_data.open_squad(profile, squad, size, fresh, most=most)
        elif docs:
            name, run = "own_data", own_data.compare_own
            file = questions.absolute() if questions else ""
            more = {"fresh": fresh, "generator": generator, "most": most, "judge": judge, "judge_model": judge_model}
            lab = own_data.open_own(profile, docs.absolute(), file, size, **more)
            lab.reading = reading
        else:
            name, run, lab = "compare", run_compare, labkit.open(profile, size, fresh)
        lab.profile = replace(lab.profile, **overrides)
        if docs and not questions:
            table = runs_folder() / "own_data" / f"{docs.resolve().name}.csv"
            print(propose_into(lab, table, lab.profile.questions or 60))
            return
        if questions:
            read_rows(questions)  # before documents are read, which may take minutes
            print(*lab.asked.notes, sep="\n", file=sys.stderr)
        compare_into(lab, (out or runs_folder() / name).absolute(), run)
        if name == "compare" and lab.profile.reads_prose and not out:
            lab = own_data.open_prose(profile, size, fresh)
            Lab.release()
            lab.profile = replace(lab.profile, **overrides)
            compare_into(lab, runs_folder() / "prose", own_data.compare_own)
        lab.artifacts.finish()


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value}


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
    from labkit.practice.log import LoggedArm

    if arm not in ARMS:
        raise typer.BadParameter(f"unknown arm '{arm}': choose {', '.join(ARMS)}")
    if not question.strip():
        raise typer.BadParameter("the question is empty: write it in quotes")
    check(resolve, profile)
    with session(profile) as progress:
        lab = labkit.open(profile, progress=progress)
        _print_answer((LoggedArm(lab, arm) if log else lab.arm(arm)).answer([question])[0])


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
    run: Annotated[Path | None, typer.Option(help="File for the hits as a TREC run.", show_default="none")] = None,
) -> None:
    """Measure a way of searching on a test collection in BEIR's layout; the last line is JSON.

    Example: labkit retrieve --beir datasets/scifact --method fusion
    """
    from labkit.rag.beir import evaluate_profile, summary, trec_run
    from labkit.rag.retrieve import check_method

    reranker = check(resolve, profile).reranker
    check(lambda name: check_method(name, reranker), method)
    with session(profile):
        result = evaluate_profile(beir, method, profile)
        if run:
            write_bytes(run, trec_run(result).encode())
        print(*summary(result), sep="\n")


@app.command()
def claims() -> None:
    """Print the article's claims with their verdicts, from the newest ledger that `make claims` wrote.

    Example: labkit claims
    """
    from labkit.compare.claims import read_ledger, table

    Console(highlight=False).print(table(read_ledger()))


@app.command()
def doctor(workshop: Annotated[bool, typer.Option("--workshop", help="Pins and a notebook, too.")] = False) -> None:
    """Check that this machine has what the course needs; exit status 1 if something required is missing.

    Example: labkit doctor --workshop
    """
    from labkit.doctor import report

    announce()
    raise typer.Exit(int(not report(workshop)))


@app.command()
def tune(
    pairs: Annotated[Path, typer.Argument(help="Examples: .jsonl with messages, or a table with prompt and response.")],
    out: Annotated[Path, typer.Option(help="Folder for what is trained.")],
    profile: ProfileName = "pocket",
    full: Annotated[bool, typer.Option("--full", help="Train all weights; without it, a LoRA adapter.")] = False,
    epochs: Annotated[int, typer.Option(help="Times that each example is seen.")] = 3,
    rate: Annotated[float | None, typer.Option(help="Learning rate.", show_default="2e-3, full 5e-4")] = None,
    batch: Annotated[int, typer.Option(help="Examples in a step.")] = 16,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 16,
    seed: Annotated[int, typer.Option(help="Decides the order of the examples.")] = 0,
    save_seconds: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 20.0,
    drop_long: Annotated[bool, typer.Option("--drop-long", help="Leave out examples beyond the context.")] = False,
) -> None:
    """Fine-tune a model on your own pairs of prompt and response. The same command goes on after a kill.

    Example: labkit tune pairs.csv --out runs/mine --epochs 10
    """
    from labkit.tune.adapters import LoraSettings, tune_file
    from labkit.tune.train import TrainSettings

    model = check(resolve, profile)
    shared = {"epochs": epochs, "batch_size": batch, "seed": seed, **({} if rate is None else {"learning_rate": rate})}
    settings = TrainSettings(**shared) if full else LoraSettings(**shared, rank=rank)
    with session(profile) as progress:
        result = tune_file(pairs, out, model.model_path, settings, model.context, drop_long, progress, save_seconds)
    if os.environ.get("RANK", "0") == "0":  # of several processes under torchrun the first one tells
        print(result)


@app.command()
def merge(
    adapter: Annotated[str, typer.Argument(help="Folder of an adapter; hybrid or tuned for the course's own.")],
    out: Annotated[Path, typer.Option(help="Folder for the merged model; it must not be there yet.")],
    profile: ProfileName = "pocket",
    size: Size = "full",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    exam: Annotated[bool | None, typer.Option(help="Ask the course's questions.", show_default="hybrid, tuned")] = None,
) -> None:
    """Merge an adapter into its base model, and export the result if it passes every check.

    Example: labkit merge hybrid --out runs/merged
    """
    from labkit.compare.exam import merge_into

    check(resolve, profile), check(check_size, size)
    with session(profile) as progress:
        lab = labkit.open(profile, size=size, progress=progress)
        for line in merge_into(lab, adapter, out, dtype, exam):
            print(f"passed: {line}")
    print(f"Exported to {out}; labkit serve {out} serves it")


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="Folder of a model, pocket, laptop, gpu, or a hub id as owner/name.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 8000,
    host: Annotated[str, typer.Option(help="Where to listen; the default is this machine only.")] = "127.0.0.1",
    wait: Annotated[float, typer.Option(min=1, help="Seconds until it must be ready.")] = 120,
) -> None:
    """Serve a model behind the OpenAI API until Ctrl-C.

    Example: labkit serve runs/merged --port 8000
    """
    from labkit.tune.deploy import serve_until_stopped

    announce()
    serve_until_stopped(model, host, port, wait)


@app.command()
def log(
    failures: Annotated[bool, typer.Option("--failures", help="Rated down, declined, or of a low score.")] = False,
    rate: Annotated[tuple[int, str] | None, typer.Option(help="An answer.", metavar="NUMBER up|down")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the whole log to a Parquet file.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many answers to show.")] = 10,
    file: Annotated[Path | None, typer.Option(help="The log.", show_default="runs/log.sqlite")] = None,
) -> None:
    """Show what `labkit ask --log` kept, rate an answer, or export all of them.

    Example: labkit log --rate 3 down
    """
    from labkit.practice.log import Log

    path = file or runs_folder() / "log.sqlite"
    if rate and rate[1] not in ("up", "down"):
        raise typer.BadParameter(f"a rating is up or down, not '{rate[1]}'")
    if not path.is_file():
        raise LabError(f"no log at {path.name} yet: labkit ask --log keeps one")
    with Log(path) as answers:
        if rate:
            answers.rate(rate[0], rate[1] == "up")
            print(f"answer {rate[0]} is rated {rate[1]}")
        if export:
            print(f"{answers.export(export)} answers exported to {export}")
        if not rate and not export:
            rows = answers.failures().head(last) if failures else answers.answers().tail(last)
            columns = ["number", "rating", "arm", "question", "answer", "seconds"]
            show(columns, rows.reset_index()[columns].itertuples(index=False))


@app.command()
def sweep(
    experiment: Annotated[Path, typer.Argument(help="What to try: a YAML file of lists.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the table.", show_default="runs/sweeps/NAME")] = None,
    address: RayAddress = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs that Ray keeps for each cell.")] = 0,
) -> None:
    """Measure every combination of settings in a file: a row each. The same command goes on after a stop.

    Lists: profiles, chunk_sizes (tokens), overlaps (shares), methods, k, arms (or retrieval), seeds; then size (full
    or smoke) and questions (how many). What is left out is as in the pocket profile.

    Example: labkit sweep data/sweeps/small.yaml --address auto
    """
    from labkit.practice import scale

    grid = scale.read_grid(experiment)
    folder = out or runs_folder() / "sweeps" / experiment.stem
    with session(grid.profiles[0] if len(grid.profiles) == 1 else None) as progress:
        table = scale.sweep(grid, folder, address, gpus, progress)
    cells = table.mask(table == "").dropna(axis="columns", how="all").astype(object)
    show(cells.columns, cells.where(cells.notna(), "").itertuples(index=False))
    print(f"Table: {folder / 'table.csv'}")
    if failed := int((table.error != "").sum()):
        raise LabError(f"{failed} of {len(table)} cells failed, as the table says: the same command tries them again")


@app.command()
def embed(
    folder: Annotated[Path, typer.Argument(help="Documents, as PDF, DOCX, HTML, Markdown or text.")],
    out: Annotated[Path, typer.Option(help="Parquet file for the chunks and their vectors.")],
    profile: ProfileName = "pocket",
    embedder: EmbedderName = "",
    password: Password = "",
    seconds: Seconds = None,
    megabytes: Megabytes = None,
    ray: Annotated[bool, typer.Option("--ray", help="Compute through ray.data; alone, on this machine.")] = False,
    address: RayAddress = None,
) -> None:
    """Embed a folder: a row for each chunk, with where it stands and its vector.

    Example: labkit embed my/documents --out vectors.parquet
    """
    from labkit.practice.scale import embed_folder

    check(resolve, profile)
    with session(profile) as progress:
        reading = _given(password=password, seconds=seconds, megabytes=megabytes)
        at = address or ("local" if ray else None)
        chunks, dimensions = embed_folder(folder, out, profile, at, progress, embedder, reading)
    print(f"{chunks} chunks, vectors of {dimensions} numbers: {out}")


@app.command()
def progress() -> None:
    """Show how far you are with the exercises of each lesson, and which are still open.

    Example: labkit progress
    """
    if not (folder := ROOT / "notebooks" / "exercises").is_dir():
        raise LabError("the exercises are not here: they come with a clone of the course, not with the package")
    sys.path.append(str(folder))
    from checks import progress as rows

    show(("lesson", "exercises", "questions", "tries", "open"), rows())


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def play(
    context: typer.Context, profile: Annotated[str, typer.Argument(help="As for labkit ask --profile.")] = "smol"
) -> None:
    """Ask all four arms one question in the browser, until Ctrl-C; further options go to Voila.

    Example: labkit play pocket --no-browser --port=8866
    """
    from labkit.practice.play import serve

    check(resolve, profile), announce()
    serve(profile, context.args)
