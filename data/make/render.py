"""Manuscripts become HTML, Markdown, DOCX and PDF files: always the same bytes, without the date of the day.

A DOCX package is written again without dates and compression, because both differ from run to run or from one zlib to
another, and without the hundreds of styles of the template. PDF streams stay uncompressed for the same reason.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import datetime
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

from data.make.documents import Block, Bullets, Columns, Heading, Manuscript, Paragraph, Table

if TYPE_CHECKING:
    from docx.document import Document
    from reportlab.platypus import BaseDocTemplate, Flowable

STYLES = ("Normal", "Title", "Heading 1", "Heading 2", "List Bullet", "Table Grid", "Footer")
SPARE = ("stylesWithEffects", "theme", "webSettings", "customXml", "thumbnail")
DATED = datetime(2032, 1, 1)
MARGIN, GAP = 54, 18  # points
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$title - $house</title>
<style>body { margin: 2em auto; max-width: 50em; } td, th { padding: 0.3em 1em; }</style>
<script>window.visits = (window.visits || 0) + 1;</script>
</head>
<body>
<div class="cookie-banner" role="dialog" aria-label="Cookies">
<p>This site uses cookies to count visits.</p><button type="button">Accept</button>
</div>
<header>
<nav><ul><li><a href="index.html">Home</a></li><li><a href="price-list.html">Products</a></li>
<li><a href="contact.html">Contact</a></li></ul></nav>
</header>
<main>
<article>
$content
</article>
</main>
<footer>
<p>$house. All rights reserved. $revision.</p>
<ul><li><a href="imprint.html">Imprint</a></li><li><a href="privacy.html">Privacy</a></li></ul>
</footer>
<script>document.documentElement.dataset.ready = "yes";</script>
</body>
</html>
""")


def render(manuscript: Manuscript) -> bytes:
    """The file of a manuscript, in the format that the ending of its id names.

    >>> render(make_documents(make_company())[0])[:15]
    b'# Plan overview'
    """
    writers = {"pdf": render_pdf, "docx": render_docx, "html": render_html, "md": render_markdown}
    return writers[manuscript.id.rpartition(".")[2]](manuscript)


def render_html(manuscript: Manuscript) -> bytes:
    """A web page with navigation, a cookie banner, scripts and a footer around the content."""
    content = "\n".join(_html(block) for block in manuscript.blocks)
    title, revision = escape(manuscript.title), escape(manuscript.revision)
    return PAGE.substitute(title=title, content=content, revision=revision, house=manuscript.house).encode()


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Bullets(lines):
            return "<ul>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "\n</ul>"
        case Table(rows):
            head, *body = rows
            return "<table>\n" + "\n".join([_row(head, "th"), *(_row(row, "td") for row in body)]) + "\n</table>"
        case Columns(columns):
            return "\n".join(_html(part) for column in columns for part in column)


def _row(cells: tuple[str, ...], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def render_markdown(manuscript: Manuscript) -> bytes:
    """Markdown with pipe tables; the revision stands in italics at the end."""
    parts = [_markdown(block) for block in manuscript.blocks]
    text = "\n\n".join([*parts, f"*{manuscript.revision}*"]) + "\n"
    return text.replace("&", "&amp;").replace("<", "&lt;").encode()  # in Markdown, HTML means what it does


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Bullets(lines):
            return "\n".join(f"- {line}" for line in lines)
        case Table(rows):
            head, *body = (f"| {' | '.join(row)} |" for row in rows)
            return "\n".join([head, "|---" * len(rows[0]) + "|", *body])
        case Columns(columns):
            return "\n\n".join(_markdown(part) for column in columns for part in column)


def render_docx(manuscript: Manuscript) -> bytes:
    """A Word document; its revision stands in the properties.

    >>> render_docx(manuscript)[:2]
    b'PK'
    """
    import docx

    document = docx.Document()
    for block in manuscript.blocks:
        _add(document, block)
    about = document.core_properties
    about.title, about.author, about.comments, about.revision = (
        manuscript.title,
        manuscript.house,
        manuscript.revision,
        1,
    )
    about.created = about.modified = DATED
    _slim(document)
    buffer = io.BytesIO()
    document.save(buffer)
    return _stored(buffer)


def _add(document: Document, block: Block) -> None:
    match block:
        case Heading(text, level):
            document.add_heading(text, level - 1)
        case Paragraph(text):
            document.add_paragraph(text)
        case Bullets(lines):
            for line in lines:
                document.add_paragraph(line, style="List Bullet")
        case Table(rows):
            _add_table(document, rows)
        case Columns(columns):
            for part in (part for column in columns for part in column):
                _add(document, part)


def _add_table(document: Document, rows: tuple[tuple[str, ...], ...]) -> None:
    table = document.add_table(len(rows), len(rows[0]), style="Table Grid")
    for i, row in enumerate(rows):
        for j, text in enumerate(row):
            cell = table.cell(i, j)
            cell.text = text
            cell.paragraphs[0].runs[0].bold = i == 0


def _slim(document: Document) -> None:
    """Drop the template's styles and parts that nothing here uses."""
    styles = document.styles.element
    kept = {style.style_id for style in document.styles if style.name in STYLES or style.element.get(_w("default"))}
    while more := {link for name in kept for link in _links(styles, name)} - kept:
        kept |= more
    for element in list(styles):
        if element.tag == _w("latentStyles") or (element.tag == _w("style") and element.get(_w("styleId")) not in kept):
            styles.remove(element)
    for rels in (document.part.package.rels, document.part.rels):
        for key in [key for key, rel in rels.items() if rel.reltype.rpartition("/")[2] in SPARE]:
            del rels[key]


def _w(name: str) -> str:
    from docx.oxml.ns import qn

    return qn(f"w:{name}")


def _links(styles: Any, name: str) -> set[str]:
    """Ids of the styles that a style builds on, is linked with or is followed by."""
    path = f"./w:style[@w:styleId='{name}']/*[self::w:basedOn or self::w:link or self::w:next]/@w:val"
    return set(styles.xpath(path))


def _stored(buffer: io.BytesIO) -> bytes:
    """The same package with fixed times, in the order of its names, uncompressed."""
    out = io.BytesIO()
    with zipfile.ZipFile(buffer) as package, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as copy:
        for name in sorted(package.namelist(), key=lambda name: (name != "[Content_Types].xml", name)):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            copy.writestr(entry, package.read(name))
    return out.getvalue()


def render_pdf(manuscript: Manuscript) -> bytes:
    """A4 pages with a running header and footer; the metadata hold the title.

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
