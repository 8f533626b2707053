"""Readers of PDF, DOCX, HTML, Markdown and text: bytes in, the document's own title and its text out.

A table row becomes one line, 'a | b | c', in every format.
"""

from __future__ import annotations

import io
import logging
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from labkit.errors import Unreadable

Reading = tuple[str | None, list[str]]  # title, pages
_UNPACKED_BYTES, _UNPACKED_RATIO = 100_000_000, 100
_UTF16, _SAMPLE = (b"\xff\xfe", b"\xfe\xff"), 100_000
_ESCAPED = 0xE000  # private-use characters stand for escaped ones while the marks are stripped
_NO_TEXT = re.compile(r"\s*(?:\|?[\s:|-]*-{2,}[\s:|-]*|[-*_=]{3,}|(?:`{3}|~{3}).*)\s*")
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
# Where a line of a PDF begins an item of a list, and what is a label drawn before its text.
_BULLET = re.compile(r"(?:[•◦▪·*–-]|\(?\w{1,2}[.)])\s")
_LABEL = re.compile(r"[•◦▪·*–-]|\(?\w{1,2}[.)]|\d{1,2}")
# Of HTML: where a page declares its encoding, what is no content of it, and what stays within a paragraph or table.
_HEAD = 2048
_FURNITURE = (
    ".//script | .//style | .//noscript | .//template | .//nav | .//footer | .//button | .//iframe | .//svg"
    " | .//*[@role='dialog' or @role='navigation'] | .//header[not(ancestor::article or ancestor::main or .//h1)]"
)
_INLINE = frozenset(
    "a abbr b bdi bdo big cite code data del dfn em font i img ins kbd label mark q s samp small span strong sub sup "
    "tbody td tfoot th thead time tt u wbr".split()
)


def read_pdf(data: bytes) -> Reading:
    """The title of a PDF and the text of each page, by pypdf under limits; page headers and footers stay.

    Raises `Unreadable` if it is encrypted, only pictures, or unpacks beyond a limit.
    """
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    limits = {"page_tree_maximum_entries": 5_000, "xform_maximum_invocations_per_extraction": 500}
    try:
        with pypdf.apply_configuration(**limits):
            reader = pypdf.PdfReader(io.BytesIO(data))
            if reader.is_encrypted and not reader.decrypt(""):
                raise Unreadable("encrypted", "it needs a password; save a copy without one")
            pages = [_page_text(page) for page in reader.pages]
            if not "".join(pages).strip() and any(len(page.images) for page in reader.pages):
                raise Unreadable("scanned image", "pictures without a text layer; run OCR on it first")
            return (reader.metadata or {}).get("/Title"), pages
    except pypdf.errors.DependencyError as error:
        raise Unreadable("encrypted", "AES encryption; save a copy without it") from error
    except pypdf.errors.LimitReachedError as error:
        raise Unreadable("refused", f"it unpacks beyond a limit ({error}); leave it out, or split it") from error


def _page_text(page: Any) -> str:
    """Text in drawing order; pieces drawn side by side on one baseline are the cells of a row."""
    text, last = "", (0.0, 0.0)

    def visit(piece: str, cm: list[float], tm: list[float], *_: Any) -> None:
        nonlocal text, last
        if piece.strip():
            x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
            y = tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
            gap = x - last[0]
            # In points: less than 3 up or down is the same line, less than 30 sideways may be a bullet and its text.
            if text.endswith("\n") and abs(y - last[1]) < 3 and gap > 1:
                text = text.rstrip("\n")
                mark = gap < 30 and _LABEL.fullmatch(text.rpartition("\n")[2].strip())
                text += " " if mark else " | "
                piece = piece.lstrip()
            last = (x, y)
        text += piece

    page.extract_text(visitor_text=visit)
    return _unwrap(text)


def _unwrap(text: str) -> str:
    """Join the lines that the width of the page broke: long ones that do not end a sentence."""
    lines = [line.strip() for line in text.split("\n")]
    width = max((len(line) for line in lines if " | " not in line), default=0)
    joined = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        full = len(line) > max(40, 0.7 * width) and line[-1] not in ".!?:;|"
        goes_on = following and " | " not in line + following and not _BULLET.match(following)
        joined += line + (" " if full and goes_on else "\n")
    return joined


def read_docx(data: bytes) -> Reading:
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
        item = line and (style.startswith("List") or element.find(f"{_W}pPr/{_W}numPr") is not None)
        lines += [f"- {line}"] if item else ["", line, ""]
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
                markup = package.read(part).replace(b"\0", b"")  # without zero bytes, UTF-16 reads like ASCII here
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
        yield _table_row([" ".join(_docx_text(p) for p in cell.iter(f"{_W}p")) for cell in cells])


def _table_row(cells: list[str]) -> str:
    return " | ".join(" ".join(cell.split()) for cell in cells)


def read_html(data: bytes) -> Reading:
    """Title (first h1, else title element) and text; navigation, scripts and page furniture are dropped.

    Raises `Unreadable` if there is no body.

    >>> read_html(b"<title>Pump</title><p>It weighs 12 kg.</p>")
    ('Pump', ['It weighs 12 kg.'])
    """
    tree = _html_tree(data)
    if (body := tree.find("body")) is None:
        raise Unreadable("empty", "there is no HTML body in it; leave it out, or put the text in")
    titles = [node.text_content() for node in [*body.iter("h1"), *tree.iter("title")]]
    for node in body.xpath(_FURNITURE):
        if node.getparent() is not None:  # else it went with what was around it
            node.drop_tree()
    lines = [re.sub(r"^ (?=\S)", "", line).rstrip() for line in _html_text(body).split("\n")]
    return next((title for title in titles if title.strip()), None), ["\n".join(lines).strip()]


def _html_tree(data: bytes) -> Any:
    """The tree, decoded as UTF-16 by its mark, as UTF-8 if it is, as the page declares, else by a guess."""
    from lxml import etree, html

    encoding = encoding_of(data)
    declared = not encoding.startswith("utf") and re.search(rb"(?:charset|encoding)\s*=", data[:_HEAD])
    known = data if declared else data.decode(encoding, "replace").encode()
    try:
        return html.document_fromstring(known, parser=html.HTMLParser(encoding=None if declared else "utf-8"))
    except etree.ParserError as error:
        raise Unreadable("empty", "there is no HTML in it; leave it out, or put the text in") from error


def _html_text(node: Any) -> str:
    """A line for each item of a list and row of a table, an empty line around every other block."""
    if not isinstance(node.tag, str):
        return ""  # a comment
    if node.tag == "tr":
        return "\n" + _table_row([_html_text(cell) for cell in node.iterchildren("td", "th")])
    if node.tag == "br":
        return "\n"
    if node.tag == "pre":
        return f"\n\n{node.text_content()}\n\n"
    text = _squeeze(node.text) + "".join(_html_text(child) + _squeeze(child.tail) for child in node)
    if node.tag == "li":
        return "\n- " + text.strip()
    return text if node.tag in _INLINE else f"\n\n{text.strip()}\n\n"


def _squeeze(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "")


def read_markdown(data: bytes) -> Reading:
    """Markdown: the title is the first heading, the syntax is stripped, the text kept."""
    text = decode(data)
    heading = re.search(r"^#{1,6}[ \t]+(.+?)[ \t#]*$|^(\S.*)\n=+[ \t]*$", text, re.MULTILINE)
    title = plain_markdown(heading[1] or heading[2]) if heading else None
    return title, [plain_markdown(text)]


def plain_markdown(text: str) -> str:
    """Markdown without its marks: headings, emphasis, code, links, rules, quotes; rows as 'a | b'."""
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
    return _table_row(row[1].split("|")) if row else line.rstrip()


def read_text(data: bytes) -> Reading:
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
    """
    if data.startswith(_UTF16):
        return "utf-16"
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        sample = data[:_SAMPLE]
    if sum(byte > 127 for byte in sample) < 0.4 * len(sample):
        return "cp1252"
    from charset_normalizer import from_bytes

    guess = from_bytes(sample).best()
    return guess.encoding if guess else "cp1252"
