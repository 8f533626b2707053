"""Manuscripts as PDF by reportlab: header, footer, page numbers, tables, a page in two columns.

Streams stay uncompressed, because compressed bytes differ from one zlib to another. Introduced in 01_ingest.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from labkit.world.draft import Block, Bullets, Columns, Heading, Manuscript, Paragraph, Table

if TYPE_CHECKING:
    from reportlab.platypus import BaseDocTemplate, Flowable

MARGIN, GAP = 54, 18  # points


def render_pdf(manuscript: Manuscript) -> bytes:
    """A4 pages with a running header and footer; the metadata hold the title. Introduced in 01_ingest.

    >>> render_pdf(manuscript)[:5]
    b'%PDF-'
    """
    from reportlab.platypus import BaseDocTemplate

    buffer = io.BytesIO()
    file = BaseDocTemplate(
        buffer, title=manuscript.title, author=manuscript.house, invariant=1, pageCompression=0, lang="en"
    )
    _add_pages(file, manuscript)
    file.build([part for block in manuscript.blocks for part in _flow(block)])
    return buffer.getvalue()


def _add_pages(file: BaseDocTemplate, manuscript: Manuscript) -> None:
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import Frame, PageTemplate

    width, height = A4
    inner, tall, half = width - 2 * MARGIN, height - 2 * MARGIN, (width - 2 * MARGIN - GAP) / 2

    def top(canvas: Any, _: Any) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.drawString(MARGIN, height - 36, f"{manuscript.house} document library")

    def bottom(canvas: Any, _: Any) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.drawString(MARGIN, 32, f"{manuscript.revision}, page {canvas.getPageNumber()}")

    frames = {
        "one": [Frame(MARGIN, MARGIN, inner, tall)],
        "two": [Frame(x, MARGIN, half, tall) for x in (MARGIN, MARGIN + half + GAP)],
    }
    for name, found in frames.items():
        file.addPageTemplates(PageTemplate(name, found, onPage=top, onPageEnd=bottom, pagesize=A4))


def _flow(block: Block) -> Iterator[Flowable]:
    """The flowables of a block; columns begin a page of their own."""
    from reportlab.platypus import FrameBreak, NextPageTemplate, PageBreak

    if not isinstance(block, Columns):
        yield _flowable(block)
        return
    yield from (NextPageTemplate("two"), PageBreak())
    for i, column in enumerate(block.columns):
        if i:
            yield FrameBreak()
        yield from (_flowable(part) for part in column)


def _flowable(block: Block) -> Flowable:
    from reportlab import platypus
    from reportlab.lib.styles import getSampleStyleSheet

    style = getSampleStyleSheet()
    match block:
        case Heading(text, level):
            return platypus.Paragraph(_escaped(text), style[f"Heading{level}"])
        case Paragraph(text):
            return platypus.Paragraph(_escaped(text), style["BodyText"])
        case Bullets(lines):
            items = [platypus.Paragraph(_escaped(line), style["BodyText"]) for line in lines]
            return platypus.ListFlowable(items, bulletType="bullet")
        case Table(rows):
            return platypus.Table(rows, style=_lines(), repeatRows=1, hAlign="LEFT", spaceAfter=10)
        case Columns():
            raise TypeError("columns do not nest")


def _lines() -> list[tuple]:
    from reportlab.lib import colors

    return [
        ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
        ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
        ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
    ]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
