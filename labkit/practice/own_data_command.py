"""What `labkit compare` runs: lesson 12 on the course's company, lesson 21 on documents and questions of yours.

Introduced in 21_own_data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from labkit.errors import LabError
from labkit.execute import SOURCES

Docs = Annotated[Path | None, typer.Option("--docs", help="Folder of your own documents, to compare on them.")]
Asked = Annotated[
    Path | None, typer.Option("--questions", help="Your questions with answers: .csv, .jsonl or .xlsx; needs --docs.")
]
Within = Annotated[
    float, typer.Option("--within", help="Refuse too few questions: half-width wanted of a share's interval, as 0.1.")
]


def lesson(docs: Path | None, questions: Path | None, within: float = 0.0) -> tuple[Path, dict[str, Any]]:
    """The source of the lesson to run, and its parameters on what to read.

    Raises LabError for one without the other, a missing folder, and as `read_rows` does. Introduced in 21_own_data.

    >>> lesson(None, None)[0].stem
    '12_compare'
    """
    if docs is None and questions is None:
        return SOURCES / "3_compare" / "12_compare.py", {}
    if docs is None or not docs.is_dir():
        raise LabError(f"no folder of documents{f' at {docs}' if docs else ''}: name one with --docs")
    from labkit.practice.own_data_questions import read_rows

    if questions is None:
        raise LabError(f"no questions on {docs}: name a file with --questions")
    read_rows(questions)
    read = {"DOCUMENTS": str(docs.absolute()), "QUESTIONS": str(questions.absolute()), "WITHIN": within}
    return SOURCES / "4_practice" / "21_own_data.py", read
