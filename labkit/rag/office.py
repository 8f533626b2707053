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

from labkit.errors import Unreadable
from labkit.rag.markup import Reading, lines_of, read_html, rows_text

_UNPACKED_BYTES, _PART_BYTES, _UNPACKED_RATIO = 100_000_000, 10_000_000, 300
_SYMBOLS = dict(zip("F0B0 F0B1 F0B4 F0A3 F0B3 F0B7 F0AE F061 F062 F06D F070 F057".split(), "°±×≤≥•→αβµπΩ", strict=True))


def _package(data: bytes) -> zipfile.ZipFile:
    """A package whose parts are not larger than a document's are."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable(
            "encrypted", "a password-protected or old binary file; save it without, as .docx, .xlsx or .pptx"
        )
    if not data:
        raise Unreadable("empty", "there are no bytes in it; leave it out, or save it again")
    package = zipfile.ZipFile(io.BytesIO(data))
    parts = package.infolist()
    # A table of thousands of rows packs well, and so does a white picture: what is small is no bomb.
    big = [part for part in parts if part.file_size > max(_PART_BYTES, _UNPACKED_RATIO * part.compress_size)]
    if big or sum(part.file_size for part in parts) > _UNPACKED_BYTES:
        raise Unreadable("refused", "it unpacks to far more than its size, a zip bomb; leave it out")
    return package


def _xml(package: zipfile.ZipFile, name: str) -> Any:
    """The tree of a part, or an empty one where the part is missing."""
    from lxml import etree

    markup = package.read(name) if name in package.namelist() else b"<none/>"
    if any(word in markup.replace(b"\0", b"") for word in (b"<!DOCTYPE", b"<!ENTITY")):  # without zeros, UTF-16 too
        raise Unreadable("refused", f"{name} declares a DOCTYPE or ENTITY; leave it out")
    return etree.fromstring(markup, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))


def _related(package: zipfile.ZipFile, part: str, kind: str) -> dict[str, str]:
    """The parts that a part refers to as of this kind, by the name that it calls them."""
    folder, name = posixpath.split(part)
    found = _xml(package, posixpath.join(folder, "_rels", f"{name}.rels"))
    targets = {r.get("Id"): r.get("Target", "") for r in found if r.get("Type", "").endswith(f"/{kind}")}
    return {key: posixpath.normpath(posixpath.join("/", folder, target))[1:] for key, target in targets.items()}


def _value(node: Any, *names: str) -> str | None:
    """The attribute `val` at the end of a path of local names: strict documents have other namespaces."""
    for name in names:
        node = node.find(f"{{*}}{name}") if node is not None else None
    return next((value for key, value in node.items() if key.endswith("val")), "") if node is not None else None


def _attribute(node: Any, name: str) -> str | None:
    """An attribute by its local name."""
    return next((value for key, value in node.items() if key.rpartition("}")[2] == name), None)


# Elements of Word, PowerPoint and OpenDocument as HTML has them, and what was removed or is no text.
_OFFICE = {
    "p": "p", "tbl": "table", "tr": "tr", "tc": "td", "br": "br", "cr": "br", "tab": "tab", "ptab": "tab", "txbxContent": "div",
    "sSup": "msup", "f": "mfrac", "sup": "sup",
}  # fmt: skip
_OPEN_DOCUMENT = {
    "p": "p", "h": "p", "table": "table", "table-row": "tr", "table-cell": "td", "line-break": "br", "tab": "tab", "s": "tab",
    "frame": "div", "page": "div", "list-item": "li",
}  # fmt: skip
_REMOVED = "del moveFrom Fallback instrText pPr fPr sSupPr tracked-changes annotation note-citation forms".split()


def _as_html(tree: Any, names: dict[str, str] = _OFFICE) -> Any:
    """The tree under HTML's names; of Word and PowerPoint only what stands in `t` is text, and hidden text is left out."""
    from lxml import etree

    etree.strip_elements(tree, *(f"{{*}}{name}" for name in _REMOVED), with_tail=False)
    for mark in list(tree.iter("{*}vanish", "{*}vertAlign")):
        run = mark.getparent().getparent()
        if mark.tag.endswith("vanish") and _value(mark.getparent(), "vanish") not in ("0", "false"):
            run.clear(keep_tail=True)
        elif _value(mark.getparent(), "vertAlign") == "superscript":
            run.tag = "sup"
    for node in list(tree.iter(etree.Element)):
        name = node.tag.rpartition("}")[2]
        if names is _OFFICE:
            node.tail, node.text = None, node.text if name == "t" else None
        if name == "sym":
            code = (_attribute(node, "char") or "F020").upper()
            node.text = _SYMBOLS.get(code, chr(int(code, 16)))
        elif name == "noBreakHyphen":
            node.text = "-"
        node.tag = "li" if node.get("label") else names.get(name, "span")
    return tree


def read_docx(data: bytes) -> Reading:
    """DOCX: headings, paragraphs, numbered lists and tables in their order; notes where they are referred to."""
    from lxml import etree

    package = _package(data)
    main = next(iter(_related(package, "", "officeDocument").values()), "word/document.xml")
    tree, title = _xml(package, main), None
    remarks = {}
    for kind in ("footnote", "endnote"):
        for path in _related(package, main, f"{kind}s").values():
            remarks |= {(kind, _attribute(note, "id")): lines_of(_as_html(note)) for note in _xml(package, path)}
    for place in tree.iter("{*}footnoteReference", "{*}endnoteReference"):
        kind = place.tag.rpartition("}")[2].removesuffix("Reference")
        etree.SubElement(
            place, "t"
        ).text = f" (note: {' '.join(remarks.get((kind, _attribute(place, 'id')), '').split())})"
    for paragraph, label, heading in _labelled(package, main, tree):
        if heading:
            first = etree.Element("t")
            first.text = f"{label} ".lstrip()
            paragraph.insert(1, first)
            title = title or "".join(node.text or "" for node in paragraph.iter("{*}t"))
        elif label:
            paragraph.set("label", label)
    furniture = {
        kind: _texts(package, _related(package, main, kind).values()) for kind in ("header", "footer", "diagramData")
    }
    body = lines_of(_as_html(tree))
    parts = [*furniture["header"], body, *furniture["diagramData"], *furniture["footer"]]
    return Reading(title or _core_title(package), ["\n\n".join(parts)])


def _texts(package: zipfile.ZipFile, paths: Iterable[str]) -> list[str]:
    """What parts say, each text once."""
    return [text for text in dict.fromkeys(lines_of(_as_html(_xml(package, path))) for path in paths) if text]


def _core_title(package: zipfile.ZipFile) -> str | None:
    for path in _related(package, "", "core-properties").values():
        return next((node.text for node in _xml(package, path).iter("{*}title")), None)
    return None


def _labelled(package: zipfile.ZipFile, main: str, tree: Any) -> Iterator[tuple[Any, str, bool]]:
    """Each paragraph that is numbered, has a bullet or is a heading: its label as Word counts, and whether it is one."""
    styles = {}
    for path in _related(package, main, "styles").values():
        styles = {_attribute(style, "styleId"): style for style in _xml(package, path).iter("{*}style")}
    levels, counts = _levels(package, main), {}
    for paragraph in tree.iter("{*}p"):
        if paragraph.find("{*}pPr") is None:
            continue
        style = styles.get(_value(paragraph, "pPr", "pStyle"))
        name = (_value(style, "name") or "").lower()
        number, level = _value(paragraph, "pPr", "numPr", "numId"), _value(paragraph, "pPr", "numPr", "ilvl")
        while number is None and style is not None:
            number, level = _value(style, "pPr", "numPr", "numId"), level or _value(style, "pPr", "numPr", "ilvl")
            style = styles.get(_value(style, "basedOn"))
        label = _count(levels.get(number, {}), counts.setdefault(number, {}), level or "0")
        label = label or ("-" if name.startswith("list") and number != "0" else "")
        if label or name.startswith(("heading", "title")):
            yield paragraph, label, name.startswith(("heading", "title"))


def _levels(package: zipfile.ZipFile, main: str) -> dict[str | None, dict[str, Any]]:
    """The levels of each numbering by its id."""
    for path in _related(package, main, "numbering").values():
        tree = _xml(package, path)
        kinds = {_attribute(kind, "abstractNumId"): kind for kind in tree.iter("{*}abstractNum")}
        found = ((number, kinds.get(_value(number, "abstractNumId"))) for number in tree.iter("{*}num"))
        return {
            _attribute(number, "numId"): {_attribute(level, "ilvl"): level for level in kind.iter("{*}lvl")}
            for number, kind in found
            if kind is not None
        }
    return {}


def _count(levels: dict[str, Any], counts: dict[str, int], level: str) -> str:
    """The label of the next item at a level, which ends the counts below it."""
    if level not in levels:
        return ""
    if _value(levels[level], "numFmt") in ("bullet", "none"):
        return "-" if _value(levels[level], "numFmt") == "bullet" else ""
    start = int(_value(levels[level], "start") or 1)
    counts[level] = counts.get(level, start - 1) + 1
    for below in [key for key in counts if key > level]:
        del counts[below]

    def shown(mark: re.Match[str]) -> str:
        key = str(int(mark[1]) - 1)
        return _figure(counts.get(key, 1), _value(levels.get(key), "numFmt") or "decimal")

    return re.sub(r"%(\d)", shown, _value(levels[level], "lvlText") or "")


def _figure(number: int, form: str) -> str:
    """A number as Word's lists write it.

    >>> _figure(4, "lowerRoman"), _figure(28, "upperLetter")
    ('iv', 'BB')
    """
    text = str(number)
    if form.endswith("Letter"):
        text = chr(97 + (number - 1) % 26) * (1 + (number - 1) // 26)
    elif form.endswith("Roman"):
        steps = (
            (1000, "m"),
            (900, "cm"),
            (500, "d"),
            (400, "cd"),
            (100, "c"),
            (90, "xc"),
            (50, "l"),
            (40, "xl"),
            (10, "x"),
        )
        text = ""
        for value, letters in (*steps, (9, "ix"), (5, "v"), (4, "iv"), (1, "i")):
            text, number = text + letters * (number // value), number % value
    return text.upper() if form.startswith("upper") else text


def read_pptx(data: bytes) -> Reading:
    """PPTX: a part for each slide in order of the presentation, with its notes; hidden slides are left out."""
    package = _package(data)
    main = next(iter(_related(package, "", "officeDocument").values()), "ppt/presentation.xml")
    targets, parts, hidden = _related(package, main, "slide"), [], []
    for number, entry in enumerate(_xml(package, main).iter("{*}sldId"), start=1):
        path = targets[next(value for key, value in entry.items() if key.startswith("{") and key.endswith("id"))]
        slide = _xml(package, path)
        if slide.get("show") in ("0", "false"):
            hidden.append(number)
        more = [*_related(package, path, "diagramData").values(), *_related(package, path, "notesSlide").values()]
        parts.append(
            "" if hidden[-1:] == [number] else "\n\n".join([lines_of(_as_html(slide)), *_texts(package, more)])
        )
    notes = (
        [f"slide {', '.join(map(str, hidden))} is hidden and left out; show it in the presentation"] if hidden else []
    )
    return Reading(
        _core_title(package) or next((part.strip().partition("\n")[0] for part in parts if part.strip()), None),
        parts,
        notes,
    )


def read_xlsx(data: bytes) -> Reading:
    """XLSX: a part for each sheet, a line for each row with its columns' names, values as they were last computed."""
    import openpyxl

    package = _package(data)
    lost = sum(
        len(re.findall(rb"</f>(?:<v\s*/>|<v></v>)?</c>", package.read(name)))
        for name in package.namelist()
        if "worksheets/sheet" in name
    )
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    parts = []
    for sheet in book.worksheets:
        if sheet.sheet_state == "visible":
            sheet.reset_dimensions()
            rows = ([_shown(cell) for cell in row] for row in sheet.iter_rows())
            parts.append("\n".join([sheet.title, "", *rows_text(rows)]))
    notes = [f"{lost} formulas hold no value; open it in a spreadsheet program and save it"] if lost else []
    return Reading(book.properties.title, parts, notes)


def _shown(cell: Any) -> str:
    """The value of a cell about as the sheet shows it."""
    value = cell.value
    if isinstance(value, float) and "%" in str(cell.number_format):
        return f"{round(value * 100, 4):g}%"
    if hasattr(value, "isoformat"):
        return (
            value.isoformat(" ").removesuffix(" 00:00:00")
            if hasattr(value, "hour") and hasattr(value, "year")
            else value.isoformat()
        )
    return "" if value is None else f"{value:.15g}" if isinstance(value, float) else str(value).strip()


def read_odf(data: bytes) -> Reading:
    """ODT, ODS and ODP: paragraphs, lists and tables in their order."""
    package = _package(data)
    tree = _xml(package, "content.xml")
    for cell in list(tree.iter("{*}table-cell")):  # what stands in several cells alike is written once
        times = int(_attribute(cell, "number-columns-repeated") or 1)
        for _ in range(min(times, 100) - 1 if len(cell) else 0):
            cell.addnext(copy.deepcopy(cell))
    titles = [node.text for node in [*_xml(package, "meta.xml").iter("{*}title"), *tree.iter("{*}h")]]
    return Reading(next(filter(None, titles), None), [lines_of(_as_html(tree, _OPEN_DOCUMENT))])


def read_epub(data: bytes) -> Reading:
    """EPUB: a part for each chapter, in the order of its spine."""
    package = _package(data)
    book = next(_attribute(node, "full-path") for node in _xml(package, "META-INF/container.xml").iter("{*}rootfile"))
    tree = _xml(package, book)
    paths = {
        item.get("id"): posixpath.join(posixpath.dirname(book), unquote(item.get("href")))
        for item in tree.iter("{*}item")
    }
    chapters = [paths[item.get("idref")] for item in tree.iter("{*}itemref")]
    locked = {
        unquote(node.get("URI", "")) for node in _xml(package, "META-INF/encryption.xml").iter("{*}CipherReference")
    }
    if locked & set(chapters):
        raise Unreadable("encrypted", "its chapters are protected; use a copy without protection")
    parts = [read_html(package.read(path)).parts[0] for path in chapters]
    return Reading(next((node.text for node in tree.iter("{*}title")), None), parts)


def read_mail(data: bytes) -> Reading:
    """A message: sender, receivers, date and subject, and its text; attachments are named in the notes."""
    from email import message_from_bytes, policy

    message = message_from_bytes(data, policy=policy.default)
    body = message.get_body(("plain", "html"))
    text = body.get_content() if body else ""
    text = read_html(text.encode()).parts[0] if body and body.get_content_subtype() == "html" else text
    head = [f"{name}: {message[name]}" for name in ("From", "To", "Cc", "Date", "Subject") if message[name]]
    names = [part.get_filename() or "one without a name" for part in message.iter_attachments()]
    notes = [f"what is attached is not read: {', '.join(names)}; save it as a file beside the message"] if names else []
    return Reading(message["Subject"], ["\n".join([*head, "", text])], notes)


def read_rtf(data: bytes) -> Reading:
    """RTF by striprtf."""
    from striprtf.striprtf import rtf_to_text

    return Reading(None, [rtf_to_text(data.decode("latin-1"), errors="replace")])
