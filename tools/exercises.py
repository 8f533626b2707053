"""`python -m tools.exercises` writes the learner's notebooks from the exercises' sources: solutions become stubs."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.store import ROOT
from tools.execute import save, tidy

if TYPE_CHECKING:
    from nbformat import NotebookNode

sys.path.insert(0, str(ROOT / "notebooks" / "exercises"))
from checks import LETTERS, SOURCES, lesson, sources

HOW = """

*Fill in each function and run the check below it: it compares yours with the solution on hidden cases. Put the letters of
your answers to the questions between the quotation marks. `labkit progress` shows how far you are. The lesson: {stem}.*"""

IMPORTS = {
    "import Question, exercise, open_lab": "import check, open_lab, quiz",
    "import Question, exercise": "import check, quiz",
}  # the longer one first: the shorter is its beginning


def parts(solution: str) -> tuple[str, str]:
    """A solution's signature with its docstring, and its body, without decorators.

    >>> parts('def f(x):\\n    "Twice."\\n    return 2 * x')[1]
    '    return 2 * x'
    """
    function, lines = ast.parse(solution).body[0], solution.splitlines()
    if not isinstance(function, ast.FunctionDef) or not ast.get_docstring(function):
        raise LabError("a cell tagged solution holds one function with a docstring, which is its specification")
    first, end = function.lineno - 1, function.body[0].end_lineno
    return "\n".join(lines[first:end]), "\n".join(lines[end : function.end_lineno])


def stub(solution: str) -> str:
    """What a learner is given of a solution: signature, specification, and about how many lines are missing."""
    head, body = parts(solution)
    count = sum(bool(line.strip()) for line in body.splitlines())
    return f"{head}\n    ...  # about {count} line{'s' if count > 1 else ''}"


def build(source: Path) -> NotebookNode:
    """The learner's notebook of a source, without a line of its solutions.

    A cell tagged `solution` becomes its stub and a check, one tagged `questions` the questions with their choices.

    >>> build(SOURCES / "02_chunk.py").cells[0].cell_type
    'markdown'
    """
    import jupytext
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    number, cells = source.stem[:2], []
    for cell in jupytext.read(source, fmt="py:percent").cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            name = ast.parse(cell.source).body[0].name  # type: ignore[attr-defined]
            cells += [new_code_cell(stub(cell.source)), new_code_cell(f'check("{number}", {name})')]
        elif "questions" in tags:
            cells.append(new_markdown_cell("## Questions"))
            for n, asked in enumerate(lesson(number).questions, start=1):
                lettered = zip(LETTERS, asked.choices, strict=False)
                choices = "\n".join(f"- **{letter}** {text}" for letter, text in lettered)
                cells.append(new_markdown_cell(f"{n}. {asked.text}\n\n{choices}"))
                cells.append(new_code_cell(f'quiz("{number}", {n}, "")'))
        else:
            for given, learned in IMPORTS.items():
                cell.source = cell.source.replace(given, learned)
            cells.append(cell)
    cells[0].source += HOW.format(stem=source.stem)
    return tidy(new_notebook(cells=cells), source.stem)


def target(source: Path) -> Path:
    """Where a source's notebook is kept."""
    return SOURCES.parent / f"{source.stem}.ipynb"


def main() -> int:
    """Write every notebook of exercises; gives the exit status."""
    try:
        for source in sources():
            save(build(source), target(source))
    except (LabError, SyntaxError) as error:
        print(f"error: {source.stem}: {error}", file=sys.stderr)
        return 1
    print(f"{len(sources())} notebooks of exercises written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
