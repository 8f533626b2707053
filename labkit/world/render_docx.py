"""Manuscripts as DOCX by python-docx: headings, lists, tables, a footer.

The package is written again without dates and compression, because both differ from run to run or from one
zlib to another, and without the hundreds of styles of the template. Introduced in 01_ingest.
"""

from __future__ import annotations

import io
import zipfile
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkit.world.draft import Block, Bullets, Columns, Heading, Manuscript, Paragraph, Table

if TYPE_CHECKING:
    from docx.document import Document

STYLES = ("Normal", "Title", "Heading 1", "Heading 2", "List Bullet", "Table Grid", "Footer")
SPARE = ("stylesWithEffects", "theme", "webSettings", "customXml", "thumbnail")
DATED = datetime(2032, 1, 1)


def render_docx(manuscript: Manuscript) -> bytes:
    """A Word document; its revision stands in the footer. Introduced in 01_ingest.

    >>> render_docx(manuscript)[:2]
    b'PK'
    """
    import docx

    document = docx.Document()
    for block in manuscript.blocks:
        _add(document, block)
    document.sections[0].footer.paragraphs[0].text = f"{manuscript.house}, {manuscript.revision}"
    about = document.core_properties
    about.title, about.author, about.comments, about.revision = manuscript.title, manuscript.house, "", 1
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
