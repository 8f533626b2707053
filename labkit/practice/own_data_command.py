"""What `labkit compare` runs: lesson 12 on the course's company, lesson 21 on documents and questions of yours.

Introduced in 21_own_data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from labkit.cli_options import working
from labkit.errors import LabError
from labkit.execute import SOURCES
from labkit.profile import runs_folder

Docs = Annotated[
    Path | None, typer.Option("--docs", help="Folder of your own documents; without --questions, proposes some.")
]
Asked = Annotated[
    Path | None, typer.Option("--questions", help="Your questions with answers: .csv, .jsonl or .xlsx; needs --docs.")
]
Within = Annotated[
    float, typer.Option("--within", help="Refuse too few questions: half-width wanted of a share's interval, as 0.1.")
]
Generator = Annotated[
    str,
    typer.Option("--generator", help="URL or URL#model of an OpenAI-compatible server for base and rag; with --docs."),
]


def lesson(
    docs: Path | None,
    questions: Path | None,
    within: float = 0.0,
    generator: str = "",
    profile: str = "pocket",
    size: str = "full",
) -> tuple[Path, dict[str, Any]]:
    """The source of the lesson to run, and its parameters on what to read.

    Without questions on the documents it proposes some, says where they lie, and the command ends. Raises LabError for
    questions without documents, a missing folder, and as `read_rows` does. Introduced in 21_own_data.

    >>> lesson(None, None)[0].stem
    '12_compare'
    """
    if docs is None and questions is None and not generator:
        return SOURCES / "3_compare" / "12_compare.py", {}
    if docs is None or not docs.is_dir():
        raise LabError(f"no folder of documents{f' at {docs}' if docs else ''}: name one with --docs")
    if questions is None:
        print(_proposed(docs, profile, size))
        raise typer.Exit
    from labkit.practice.own_data_endpoint import endpoint
    from labkit.practice.own_data_questions import read_rows

    read_rows(questions)
    endpoint(generator)
    read = {"DOCUMENTS": str(docs.absolute()), "QUESTIONS": str(questions.absolute()), "WITHIN": within}
    read |= {"GENERATOR": generator}
    return SOURCES / "4_practice" / "21_own_data.py", read


def _proposed(docs: Path, profile: str, size: str) -> str:
    from labkit.practice.own_data import open_own
    from labkit.practice.own_data_propose import propose_into

    with working(profile) as seen:
        lab = open_own(profile, docs.absolute(), "", size, progress=seen)
        return propose_into(lab, runs_folder() / "own_data" / f"{docs.resolve().name}.csv", lab.profile.questions or 60)
