"""Slides for teaching, made of the kept notebooks' own cells: `python -m tools.slides` writes build/slides/NN_topic.html.

The rule: title, headings, the text of a cell and each further result open a slide. A paragraph or an item of a list
is cut after the sentences that its room allows; tables and prints show their first rows, and of a cell with a figure
the figure alone. Code is folded under its result; parameters, setup and cells that show nothing are left out.
Every page is one file that loads nothing, and shrinks what would not fit its screen.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.store import ROOT, write_bytes
from tools.execute import shown, sources
from tools.notebooks import target

WORDS, LINES = 40, 10
"""A paragraph of so many words is short; so many lines of a print, or rows of a table, are shown."""


@dataclass
class Slide:
    """A heading and what stands below it, as HTML."""

    title: str
    parts: list[str] = field(default_factory=list)


def slides(notebook: Any) -> list[Slide]:
    """The slides of an executed notebook, by the module's rule.

    >>> import nbformat
    >>> cell = nbformat.v4.new_markdown_cell("## 1. Search\\n\\nBy meaning, or by words.")
    >>> [made.title for made in slides(nbformat.v4.new_notebook(cells=[cell]))]
    ['1. Search']
    """
    made = [Slide("")]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for heading, body in _sections(cell.source):
                made.append(Slide(heading or made[-1].title, [_markdown(_short(part)) for part in body]))
        elif len(made) > 2 and (results := [html for output in cell.outputs if (html := _output(output))]):
            if any("<details>" in part for part in made[-1].parts):
                made.append(Slide(made[-1].title))
            made[-1].parts += [*_figures(results), _folded(cell.source)]
    last = [*(a.title != b.title for a, b in zip(made, made[1:], strict=False)), True]
    return [slide for slide, alone in zip(made, last, strict=True) if slide.title and (slide.parts or alone)]


def _sections(source: str) -> Iterator[tuple[str, list[str]]]:
    """Heading and paragraphs of each section of a markdown cell; no heading where the cell goes on with one."""
    for text in re.split(r"^(?=#{1,2} )", source, flags=re.MULTILINE):
        first, _, rest = text.partition("\n")
        heading = first.lstrip("# ") if text.startswith("#") else ""
        body = [part for part in re.split(r"\n{2,}", rest if heading else text) if part.strip()]
        yield from [(heading, [part for part in body if not part.startswith("*Before this")])] if text.strip() else []


def _short(paragraph: str) -> str:
    """A paragraph, or each item of a list, cut to the sentences that its room allows, at least one; tables stay."""
    if paragraph.lstrip().startswith("|"):
        return paragraph
    items = re.split(r"\n(?=\s*(?:[-*]|\d+\.) )", paragraph)
    room = WORDS if len(items) == 1 else WORDS // 2
    return "\n".join(_sentences(item, room) for item in items)


def _sentences(text: str, room: int) -> str:
    ends = [found.start() for found in re.finditer(r"(?<=[.!?])\*{0,2}\s+(?=[A-Z`*])", text) if found.start() > 5]
    fitting = [end for end in [*ends, len(text)] if len(text[:end].split()) <= room]
    return text[: fitting[-1] if fitting else [*ends, len(text)][0]]


def _markdown(text: str) -> str:
    from nbconvert.filters import markdown2html

    return re.sub(r"\$([^$\n]+)\$", lambda found: _formula(found[1]), markdown2html(text))


def _formula(latex: str) -> str:
    from docutils.utils.math.latex2mathml import tex2mathml

    return tex2mathml(latex)


def _output(output: Any) -> str:
    """What an output shows: a figure, a table, or the first lines of text."""
    data = output.get("data", {})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f"<img src='data:{kind};base64,{''.join(data[kind].split())}' alt=''>"
    if "text/html" in data:
        return f"<div class='table'>{re.sub(r'(?s)<style.*?</style>', '', data['text/html'])}</div>"
    said = (output.get("text") or data.get("text/plain", "")).rstrip().splitlines()
    lines = [line for line in said if "%|" not in line]  # a progress bar is no result
    text = "\n".join(lines[:LINES] + ["…"] * (len(lines) > LINES))
    return f"<pre>{escape(text)}</pre>" if text else ""


def _figures(results: list[str]) -> list[str]:
    """Where there are figures, they alone; the text printed beside them is what a screen reader says."""
    said = " ".join(re.sub(r"<[^>]+>", " ", html) for html in results if html.startswith("<pre>"))
    alt = f"alt='{' '.join(said.split())}'"
    return [html.replace("alt=''", alt) for html in results if html.startswith("<img")] or results


def _folded(code: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return f"<details><summary>code</summary>{highlight(code, PythonLexer(), HtmlFormatter(noclasses=True))}</details>"


def page(notebook: Any) -> str:
    """The slides of a notebook as one HTML file: arrow keys turn them, every slide fits its screen."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    template = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True).get_template("slides.html")
    made = [Slide(_markdown(re.sub(r"^(\d+)\.", r"\1\.", s.title)), s.parts) for s in slides(notebook)]
    return template.render(slides=made, rows=LINES)


def main(folder: Path = ROOT / "build" / "slides") -> None:
    """Write the slides of every lesson that is kept; LabError where one is not."""
    import nbformat

    for source in sources():
        kept = target(source)
        if not kept.is_file():
            raise LabError(f"{shown(kept)} is missing: run make notebooks")
        write_bytes(folder / f"{source.stem}.html", page(nbformat.read(kept, as_version=4)).encode())
    print(shown(folder))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
