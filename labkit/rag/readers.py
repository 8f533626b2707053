"""Readers of DOCX, Markdown and text: bytes in, the document's own title and its text out.

A table row becomes one line, 'a | b | c', in every format. Introduced in 01_ingest.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from labkit.errors import Unreadable

Read = tuple[str | None, list[str]]  # title, pages
_UNPACKED_BYTES, _UNPACKED_RATIO = 100_000_000, 100
_UTF16, _SAMPLE = (b"\xff\xfe", b"\xfe\xff"), 100_000
_ESCAPED = 0xE000  # private-use characters stand for escaped ones while the marks are stripped
_NO_TEXT = re.compile(r"\s*(?:\|?[\s:|-]*-{2,}[\s:|-]*|[-*_=]{3,}|(?:`{3}|~{3}).*)\s*")
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


def read_docx(data: bytes) -> Read:
    """DOCX by python-docx: headings, paragraphs, lists and tables in document order."""
    from docx import Document

    _check_package(data)
    document = Document(io.BytesIO(data))
    styles = {style.style_id: style.name or "" for style in document.styles}
    lines: list[str] = []
    headings: list[str] = []
    for element in _docx_blocks(document.element.body):
        if element.tag == f"{_W}tbl":
            lines += ["", *_docx_rows(element), ""]
            continue
        style = styles.get(element.style or "", "")
        line = _docx_text(element).strip()
        if line and style.startswith(("Heading", "Title")):
            headings.append(line)
        listed = style.startswith("List") or element.find(f"{_W}pPr/{_W}numPr") is not None
        lines += [f"- {line}"] if listed and line else ["", line, ""]
    return next(iter(headings), document.core_properties.title), ["\n".join(lines)]


def _check_package(data: bytes) -> None:
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable("encrypted", "a password-protected or old binary Word file; save it as plain DOCX")
    if not data:
        raise Unreadable("empty", "there are no bytes in it; leave it out, or save it again")
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        parts = package.infolist()
        big = [part for part in parts if part.file_size > max(1e6, _UNPACKED_RATIO * part.compress_size)]
        if big or sum(part.file_size for part in parts) > _UNPACKED_BYTES:
            raise Unreadable("refused", "it unpacks to far more than its size, a zip bomb; leave it out")
        for part in parts:
            if part.filename.endswith((".xml", ".rels")):
                # Without the zero bytes, UTF-16 reads like ASCII here.
                markup = package.read(part).replace(b"\0", b"")
                if b"<!DOCTYPE" in markup or b"<!ENTITY" in markup:
                    raise Unreadable("refused", f"{part.filename} declares a DOCTYPE or ENTITY; leave it out")


def _docx_blocks(parent: Any) -> Iterator[Any]:
    """Paragraphs and tables in order, also those inside content controls and tracked insertions."""
    for child in parent:
        if child.tag in (f"{_W}p", f"{_W}tbl"):
            yield child
        elif child.tag in (f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}customXml"):
            yield from _docx_blocks(child)


def _docx_text(element: Any) -> str:
    breaks = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
    runs = element.xpath(".//w:r//*[not(ancestor::*[local-name()='Fallback' or local-name()='moveFrom'])]")
    return "".join(node.text or "" if node.tag == f"{_W}t" else breaks.get(node.tag, "") for node in runs)


def _docx_rows(table: Any) -> Iterator[str]:
    for row in table.xpath("./w:tr | ./w:sdt/w:sdtContent/w:tr"):
        cells = row.xpath("./w:tc | ./w:sdt/w:sdtContent/w:tc")
        yield table_row([" ".join(_docx_text(p) for p in cell.iter(f"{_W}p")) for cell in cells])


def table_row(cells: list[str]) -> str:
    """One line for one row of a table.

    >>> table_row(["bolt", "3 g"])
    'bolt | 3 g'
    """
    return " | ".join(" ".join(cell.split()) for cell in cells)


def read_markdown(data: bytes) -> Read:
    """Markdown: the title is the first heading, the syntax is stripped, the text kept."""
    text = decode(data)
    heading = re.search(r"^#{1,6}[ \t]+(.+?)[ \t#]*$|^(\S.*)\n=+[ \t]*$", text, re.MULTILINE)
    title = plain_markdown(heading[1] or heading[2]) if heading else None
    return title, [plain_markdown(text)]


def plain_markdown(text: str) -> str:
    """Markdown without its marks: headings, emphasis, code, links, rules, quotes; rows as 'a | b'.

    >>> plain_markdown("## Sizes | | **A** | 3 |".replace("Sizes |", "Sizes" + chr(10)))
    'Sizes\\nA | 3'
    """
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\\([!-/:-@\[-`{-~])", lambda mark: chr(_ESCAPED + ord(mark[1])), text)
    lines = [_plain_line(line) for line in text.splitlines() if not _NO_TEXT.fullmatch(line)]
    return "\n".join(lines).translate({_ESCAPED + code: code for code in range(128)})


def _plain_line(line: str) -> str:
    line = re.sub(r"^\s*(?:#{1,6}\s+(?=\S)|>\s?)|(?<=\s)#+\s*$", "", line)
    line = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line)
    line = re.sub(r"(\*\*|`+)(?=\S)(.+?)(?<=\S)\1", r"\2", line)
    line = re.sub(r"(?<![\w*])(__|[*_])(?=[^\s*_])([^*_]+?)(?<=\S)\1(?!\w)", r"\2", line)
    row = re.fullmatch(r"\s*\|(.*)\|\s*", line)
    return table_row(row[1].split("|")) if row else line.rstrip()


def read_text(data: bytes) -> Read:
    """Plain text, its encoding found by `decode`; the title is the file's name."""
    return None, [decode(data)]


def decode(data: bytes) -> str:
    """Bytes to text in the encoding that `encoding_of` finds; raises `Unreadable` for binary data."""
    if b"\0" in data and not data.startswith(_UTF16):
        raise Unreadable("broken", "binary data under the name of a text file; leave it out")
    return data.decode(encoding_of(data), "replace").removeprefix("\ufeff")


def encoding_of(data: bytes) -> str:
    """UTF-16 by its mark, UTF-8 if it is; else Windows-1252 for mostly plain letters, or a guess for other scripts.

    The guess is charset-normalizer's, which knows Cyrillic, Greek and East Asian encodings better than Western ones.

    >>> encoding_of("Größe".encode("cp1252"))
    'cp1252'
    """
    if data.startswith(_UTF16):
        return "utf-16"
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        pass
    sample = data[:_SAMPLE]
    if sum(byte > 127 for byte in sample) < 0.4 * len(sample):
        return "cp1252"
    from charset_normalizer import from_bytes

    guess = from_bytes(sample).best()
    return guess.encoding if guess else "cp1252"
