"""Readers of packages (DOCX, PPTX, XLSX, OpenDocument, EPUB), mail and RTF.

Office documents are renamed to HTML's elements and read as HTML is, so that one function writes their lines.
"""

from __future__ import annotations

import copy
import io
import posixpath
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from labkit.encoding import decode
from labkit.errors import Unreadable
from labkit.rag.markup import Reading, lines_of, read_html, rows_text
from labkit.table import shown

_UNPACKED_BYTES, _PART_BYTES, _UNPACKED_RATIO = 100_000_000, 10_000_000, 300
_SYMBOLS = dict(zip("F0B0 F0B1 F0B4 F0A3 F0B3 F0B7 F0AE F061 F062 F06D F070 F057".split(), "°±×≤≥•→αβµπΩ", strict=True))


def _package(data: bytes) -> zipfile.ZipFile:
    """A package whose parts are not larger than a document's are."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable("encrypted", "a password-protected or old binary file; save it as plain .docx, .xlsx or .pptx")
    if not data:
        raise Unreadable("empty", "there are no bytes in it; leave it out, or save it again")
    package = zipfile.ZipFile(io.BytesIO(data))
    parts = package.infolist()
    # A table of thousands of rows packs well, and so does a white picture: what is small is no bomb.
    big = [part for part in parts if part.file_size > max(_PART_BYTES, _UNPACKED_RATIO * part.compress_size)]
    if big or sum(part.file_size for part in parts) > _UNPACKED_BYTES:
        raise Unreadable("refused", "it unpacks to far more than its size, a zip bomb; leave it out")
    return package


def _xml(package: zipfile.ZipFile, name: str, needed: bool = False) -> Any:
    """The tree of a part, or an empty one where the part is missing; `Unreadable` if it is the document itself."""
    from lxml import etree

    if needed and name not in package.namelist():
        wrong = "a ZIP file without a document of this kind in it"
        raise Unreadable("broken", f"{wrong}; give it its own ending, or unpack it into the folder")
    markup = package.read(name) if name in package.namelist() else b"<none/>"
    if any(word in markup.replace(b"\0", b"") for word in (b"<!DOCTYPE", b"<!ENTITY")):  # without zeros, UTF-16 too
        raise Unreadable("refused", f"{name} declares a DOCTYPE or ENTITY; leave it out")
    return etree.fromstring(markup, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))


def _related(package: zipfile.ZipFile, part: str, *kinds: str) -> dict[str, str]:
    """The parts that a part refers to as of these kinds, by the name that it calls them."""
    folder, name = posixpath.split(part)
    found = _xml(package, posixpath.join(folder, "_rels", f"{name}.rels"))
    targets = {r.get("Id"): r.get("Target", "") for r in found if r.get("Type", "").rpartition("/")[2] in kinds}
    return {key: posixpath.normpath(posixpath.join("/", folder, target))[1:] for key, target in targets.items()}


def _trees(package: zipfile.ZipFile, part: str, *kinds: str) -> list[Any]:
    return [_xml(package, path) for path in _related(package, part, *kinds).values()]


def _main(package: zipfile.ZipFile, usual: str) -> str:
    """The path of the document itself, which some programs call otherwise than usual."""
    return next(iter(_related(package, "", "officeDocument").values()), usual)


def _core_title(package: zipfile.ZipFile) -> str | None:
    return next((node.text for tree in _trees(package, "", "core-properties") for node in tree.iter("{*}title")), None)


def _get(node: Any, *names: str) -> str | None:
    """An attribute by its local name, at the end of a path of local names: strict documents have other namespaces."""
    for name in names[:-1]:
        node = node.find(f"{{*}}{name}") if node is not None else None
    return next((v for k, v in node.items() if k.rpartition("}")[2] == names[-1]), "") if node is not None else None


# Elements of Word, PowerPoint and OpenDocument as HTML has them, and what was removed or is no text.
_OFFICE = {
    "p": "p", "tbl": "table", "tr": "tr", "tc": "td", "br": "br", "cr": "br", "tab": "tab", "ptab": "tab", "txbxContent": "div",
    "sSup": "msup", "f": "mfrac", "sup": "sup", "s": "s",
}  # fmt: skip
_OPEN_DOCUMENT = {
    "p": "p", "h": "p", "table": "table", "table-row": "tr", "table-cell": "td", "line-break": "br", "tab": "tab", "s": "tab",
    "frame": "div", "page": "div", "list-item": "li",
}  # fmt: skip
_FIGURES = {"lowerLetter": "a", "upperLetter": "A", "lowerRoman": "i", "upperRoman": "I"}
_REMOVED = "del moveFrom Fallback instrText pPr tracked-changes annotation note-citation forms".split()


def _as_html(tree: Any, names: dict[str, str] = _OFFICE) -> Any:
    """The tree under HTML's names; of Word and PowerPoint only what stands in `t` is text, and hidden text is left out."""
    from lxml import etree

    for table in tree.iter("{*}tbl"):
        _spans(table)
    etree.strip_elements(tree, *(f"{{*}}{name}" for name in _REMOVED), with_tail=False)
    for mark in list(tree.iter("{*}vanish", "{*}vertAlign", "{*}strike", "{*}dstrike")):
        run, value = mark.getparent().getparent(), _get(mark, "val")
        if mark.tag.endswith("vanish") and value not in ("0", "false"):
            run.clear(keep_tail=True)
        elif value == "superscript":
            run.tag = "sup"
        elif mark.tag.endswith("strike") and value not in ("0", "false"):
            run.tag = "s"
    for node in list(tree.iter(etree.Element)):
        name = node.tag.rpartition("}")[2]
        if names is _OFFICE:
            node.tail, node.text = None, {"t": node.text, "noBreakHyphen": "-"}.get(name)
        if name == "sym":
            code = _get(node, "char").upper()
            node.text = _SYMBOLS.get(code, chr(int(code, 16)))
        node.tag = "li" if node.get("label") else names.get(name, "span")
    return tree


def _spans(table: Any) -> None:
    """Give the cells of Word's and PowerPoint's tables HTML's attributes, and remove those that others cover."""
    first: dict[int, Any] = {}  # by column: the cell that covers those below it
    for row in table.iterchildren("{*}tr"):
        column = 0
        for cell in list(row.iterchildren("{*}tc")):
            merged, width = _get(cell, "tcPr", "vMerge", "val"), _get(cell, "tcPr", "gridSpan", "val") or "1"
            cell.set("colspan", cell.get("gridSpan", width))
            cell.set("rowspan", cell.get("rowSpan", "1"))
            if merged in ("", "continue") and column in first:
                first[column].set("rowspan", str(int(first[column].get("rowspan")) + 1))
                row.remove(cell)
            elif cell.get("vMerge") or cell.get("hMerge"):
                row.remove(cell)
            elif merged is not None:
                first[column] = cell
            column += int(width)


def _texts(trees: Iterable[Any]) -> list[str]:
    """What parts say, each text once."""
    return [text for text in dict.fromkeys(lines_of(_as_html(tree)) for tree in trees) if text]


def read_docx(data: bytes) -> Reading:
    """DOCX: headings, paragraphs, numbered lists and tables in their order; notes where they are referred to."""
    from lxml import etree

    package = _package(data)
    main = _main(package, "word/document.xml")
    tree, titles = _xml(package, main, needed=True), []
    _remove_hidden(tree, _trees(package, main, "styles"))
    remarks = [note for part in _trees(package, main, "footnotes", "endnotes") for note in part]
    said = {(note.tag, _get(note, "id")): " ".join(lines_of(_as_html(note)).split()) for note in remarks}
    for place in tree.iter("{*}footnoteReference", "{*}endnoteReference"):
        text = said.get((place.tag.removesuffix("Reference"), _get(place, "id")))
        etree.SubElement(place, "t").text = f" (note: {text})" if text else ""
    for paragraph, label, name in _labelled(package, main, tree):
        if name.startswith(("heading", "title")):
            titles.append("".join(node.text or "" for node in paragraph.iter("{*}t")))
            paragraph.insert(1, etree.Element("t"))
            paragraph[1].text = f"{label} ".lstrip()
        elif label or name.startswith("list"):
            paragraph.set("label", label or "-")
    above, beside = (_texts(_trees(package, main, *kinds)) for kinds in (["header"], ["diagramData", "footer"]))
    return Reading(
        next(filter(None, titles), _core_title(package)), ["\n\n".join([*above, lines_of(_as_html(tree)), *beside])]
    )


def _remove_hidden(tree: Any, styles: Iterable[Any]) -> None:
    """Empty the runs and paragraphs whose style hides them."""
    marks = [mark for part in styles for mark in part.iter("{*}vanish") if _get(mark, "val") not in ("0", "false")]
    hidden = {_get(mark.getparent().getparent(), "styleId") for mark in marks}
    for style in list(tree.iter("{*}pStyle", "{*}rStyle")) if hidden else ():
        owner = style.getparent().getparent()
        if _get(style, "val") in hidden and owner.tag.endswith(("}p", "}r")):
            owner.clear(keep_tail=True)


def _labelled(package: zipfile.ZipFile, main: str, tree: Any) -> Iterator[tuple[Any, str, str]]:
    """Each paragraph with a style or a number: its label as Word counts, and the name of its style."""
    styles = {
        _get(style, "styleId"): style for part in _trees(package, main, "styles") for style in part.iter("{*}style")
    }
    levels: dict[tuple[str | None, str], Any] = {}
    for part in _trees(package, main, "numbering"):
        kinds = {_get(kind, "abstractNumId"): list(kind.iter("{*}lvl")) for kind in part.iter("{*}abstractNum")}
        for number in part.iter("{*}num"):
            found = kinds.get(_get(number, "abstractNumId", "val"), [])
            levels |= {(_get(number, "numId"), _get(level, "ilvl")): level for level in found}
    counts: dict[tuple[str | None, str], int] = {}
    for paragraph in (node for node in tree.iter("{*}p") if node.find("{*}pPr") is not None):
        style = owner = styles.get(_get(paragraph, "pPr", "pStyle", "val"))
        node = paragraph
        while _get(node, "pPr", "numPr", "numId", "val") is None and owner is not None:
            node, owner = owner, styles.get(_get(owner, "basedOn", "val"))
        numbered = _get(node, "pPr", "numPr", "numId", "val"), _get(node, "pPr", "numPr", "ilvl", "val") or "0"
        yield paragraph, _count(levels, counts, *numbered), (_get(style, "name", "val") or "").lower()


def _count(levels: dict[Any, Any], counts: dict[Any, int], number: str | None, level: str) -> str:
    """The label of the next item at a level, which ends the counts below it."""
    from reportlab.lib.sequencer import Sequencer

    if (kind := levels.get((number, level))) is None or _get(kind, "numFmt", "val") == "none":
        return ""
    if _get(kind, "numFmt", "val") == "bullet":
        return "-"
    counts[number, level] = counts.get((number, level), int(_get(kind, "start", "val") or 1) - 1) + 1
    for below in [key for key in counts if key[0] == number and key[1] > level]:
        del counts[below]
    write = Sequencer()

    def figure(mark: re.Match[str]) -> str:
        key = number, str(int(mark[1]) - 1)
        form = _FIGURES.get(_get(levels.get(key), "numFmt", "val") or "", "1")
        write.setFormat("n", form)
        write.reset("n", counts.get(key, 1))
        return write.format("%(n)s")

    return re.sub(r"%(\d)", figure, _get(kind, "lvlText", "val") or "")


def read_pptx(data: bytes) -> Reading:
    """PPTX: a part for each slide in order of the presentation, with its notes; hidden slides are left out."""
    package = _package(data)
    main = _main(package, "ppt/presentation.xml")
    slides, parts, hidden = _related(package, main, "slide"), [], []
    for number, entry in enumerate(_xml(package, main, needed=True).iter("{*}sldId"), start=1):
        path = slides[next(value for key, value in entry.items() if key.endswith("}id"))]
        slide = _xml(package, path)
        hidden += [number] if slide.get("show") in ("0", "false") else []
        trees = [] if number in hidden else [slide, *_trees(package, path, "diagramData", "notesSlide")]
        parts.append("\n\n".join(_texts(trees)))
    notes = [f"slide {number} is hidden and left out; show it in the presentation" for number in hidden]
    return Reading(_core_title(package) or "".join(parts).partition("\n")[0], parts, notes)


def read_xlsx(data: bytes) -> Reading:
    """XLSX: a part for each sheet, a line for each row with its columns' names, values as they were last computed and as the
    sheet shows them."""
    import openpyxl

    package, parts = _package(data), []
    sheets = [package.read(name) for name in package.namelist() if "worksheets/sheet" in name]
    lost = sum(len(re.findall(rb"</f>(?:<v\s*/>|<v></v>)?</c>", sheet)) for sheet in sheets)
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    for sheet in book.worksheets:
        if sheet.sheet_state == "visible":
            sheet.reset_dimensions()
            rows = ([shown(cell.value, cell.number_format).strip() for cell in row] for row in sheet.iter_rows())
            whole = _filled_down(rows, package.read(sheet._worksheet_path))
            parts.append("\n".join([sheet.title, "", *rows_text(whole)]))
    notes = [f"formulas without a value: {lost}; open it in a spreadsheet program and save it"] if lost else []
    return Reading(book.properties.title, parts, notes)


def _filled_down(rows: Iterable[list[str]], markup: bytes) -> Iterator[list[str]]:
    """The rows of a sheet; what stands in a cell that is merged over several of them stands in each."""
    from openpyxl.utils import range_boundaries

    merged = [range_boundaries(ref.decode()) for ref in re.findall(rb'mergeCell ref="([A-Z]+\d+:[A-Z]+\d+)"', markup)]
    covered = {(row, left) for left, top, _, bottom in merged for row in range(top + 1, min(bottom, top + 10_000) + 1)}
    above: list[str] = []
    for number, cells in enumerate(rows, start=1):
        if any(cells):
            old = [*above, *[""] * len(cells)]
            cells = [old[n] if (number, n + 1) in covered else cell for n, cell in enumerate(cells)]
            above = cells
        yield cells


def read_odf(data: bytes) -> Reading:
    """ODT, ODS and ODP: paragraphs, lists and tables in their order."""
    package = _package(data)
    tree = _xml(package, "content.xml", needed=True)
    for cell in list(tree.iter("{*}table-cell")):  # what stands in several cells alike is written once
        for _ in range(1, min(int(_get(cell, "number-columns-repeated") or 1), 100) if len(cell) else 0):
            cell.addnext(copy.deepcopy(cell))
    for cell in tree.iter("{*}table-cell"):
        for name, spanned in {"rowspan": "number-rows-spanned", "colspan": "number-columns-spanned"}.items():
            cell.set(name, _get(cell, spanned) or "")
    for note in list(tree.iter("{*}note")):  # stands where it is referred to, as in Word's files
        text = " ".join(" ".join(node.itertext()) for node in note.iter("{*}note-body")).split()
        note[:], note.text = [], f" (note: {' '.join(text)})"
    titles = [node.text for node in [*_xml(package, "meta.xml").iter("{*}title"), *tree.iter("{*}h")]]
    return Reading(next(filter(None, titles), None), [lines_of(_as_html(tree, _OPEN_DOCUMENT))])


def read_epub(data: bytes) -> Reading:
    """EPUB: a part for each chapter, in the order of its spine."""
    package = _package(data)
    book = next(_get(node, "full-path") for node in _xml(package, "META-INF/container.xml").iter("{*}rootfile"))
    tree, folder = _xml(package, book), posixpath.dirname(book)
    places = {item.get("id"): posixpath.join(folder, unquote(item.get("href"))) for item in tree.iter("{*}item")}
    paths = {name: posixpath.normpath(place) for name, place in places.items()}
    chapters = [paths[item.get("idref")] for item in tree.iter("{*}itemref")]
    locked = (node.get("URI") for node in _xml(package, "META-INF/encryption.xml").iter("{*}CipherReference"))
    if set(map(unquote, locked)) & set(chapters):
        raise Unreadable("encrypted", "its chapters are protected; use a copy without protection")
    title = next((node.text for node in tree.iter("{*}title")), None)
    return Reading(title, [_page_text(package.read(path)) for path in chapters])


def read_mail(data: bytes) -> Reading:
    """A message: sender, receivers, date and subject, and its texts; attachments are named in the notes."""
    from email import message_from_bytes, policy

    head, gap, rest = data.partition(b"\r\n\r\n" if b"\r\n" in data[:1000] else b"\n\n")
    text, notes = decode(head)  # some programs write names there as they are, in any encoding
    message, attached = message_from_bytes(text.encode() + gap + rest, policy=policy.default), []
    text = _mail_text(message, attached, notes)
    head = [f"{name}: {message[name]}" for name in ("From", "To", "Cc", "Date", "Subject") if message[name]]
    notes += (
        [f"not read: {', '.join(attached)}; save what is attached as a file beside the message"] if attached else []
    )
    return Reading(message["Subject"], ["\n".join([*head, "", text])], notes)


def _mail_text(part: Any, attached: list[str], notes: list[str]) -> str:
    """The texts of a part of a message, of alternatives the first that says something; pictures in it are part of no text."""
    kind, name = part.get_content_type(), part.get_filename()
    if part.is_multipart() and kind != "message/rfc822":
        texts = [text for inner in part.iter_parts() if (text := _mail_text(inner, attached, notes)).strip()]
        return "\n\n".join(texts[:1] if kind == "multipart/alternative" else texts)
    if kind in ("text/plain", "text/html") and not name and not part.is_attachment():
        text, doubts = decode(part.get_payload(decode=True) or b"", part.get_content_charset() or "")
        notes += doubts
        return _page_text(text.encode()) if kind == "text/html" else text
    if part.get_content_maintype() != "image" or part.is_attachment():
        attached.append(name or f"one of type {kind}")
    return ""


def _page_text(data: bytes) -> str:
    """The text of a page within a file, which may be empty."""
    try:
        return read_html(data).parts[0]
    except Unreadable:
        return ""


def read_rtf(data: bytes) -> Reading:
    """RTF by striprtf."""
    from striprtf.striprtf import rtf_to_text

    text = data.decode("latin-1")
    lost = len(re.findall(r"\\footnote\b", text))
    notes = [f"footnotes that are not read: {lost}; save it as .docx"] if lost else []
    return Reading(None, [rtf_to_text(text, errors="replace")], notes)
