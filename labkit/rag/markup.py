"""Readers of text, HTML, Markdown, tables and data: bytes in; the document's own title, its text and notes out.

A table row becomes one line, 'a | b | c', in every format. What could not be read is named in the notes.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from labkit.encoding import DECLARED, decode
from labkit.errors import Unreadable
from labkit.table import separator


class Reading(NamedTuple):
    """What a reader makes of a file: its own title, its parts (pages), and what is missing or unsure: 'what; remedy'."""

    title: str | None
    parts: list[str]
    notes: Sequence[str] = ()


Turned = Callable[[int, int], object]
"""Is called with the number of pages read, and of all."""


def read_text(data: bytes) -> Reading:
    """Plain text, its encoding found by `decode`; the title is the file's name."""
    text, notes = decode(data)
    return Reading(None, [text], notes)


# Of HTML: what is no content of a page, what is hidden, and which elements stand apart from the text around them.
_FURNITURE = (
    ".//script | .//style | .//noscript | .//template | .//nav | .//iframe | .//svg | .//annotation"
    " | .//footer[not(ancestor::blockquote or ancestor::td)]"
    " | .//button[not(@aria-expanded or ancestor::dt or ancestor::summary or ancestor::h1 or ancestor::h2"
    " or ancestor::h3 or ancestor::h4 or ancestor::h5 or ancestor::h6)]"
    " | .//*[@role='dialog' or @role='navigation'] | .//header[not(ancestor::article or ancestor::main or .//h1)]"
)
_HIDDEN = re.compile(
    r"(?:^|;)(?:display:none|visibility:hidden|font-size:(?:0(?:\.0*)?[a-z%]*|1p[xt])(?:;|$)"
    r"|(?:left|top|text-indent):-(?:9\d\d|\d{4,})|clip:rect\(0|clip-path:inset\((?:50|100)%)"
)
_COLOUR = re.compile(r"(?:^|;)(color|background(?:-color)?):([^;]+)")
_WHITE = {"white", "#fff", "#ffffff", "rgb(255,255,255)"}
_SHORT = 80  # characters: a longer cell that spans rows places things on the page
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure form "
    "h1 h2 h3 h4 h5 h6 header footer hgroup hr legend main menu ol optgroup option p section select summary table td th tr ul".split()
)
_RAISED = str.maketrans("0123456789+-()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ")


def read_html(data: bytes) -> Reading:
    """Title (first h1, else title element) and text; navigation, scripts, page furniture and hidden text are dropped.

    Raises `Unreadable` if there is no body.

    >>> read_html(b"<title>Pump</title><p>It weighs 12 kg.</p>").parts
    ['It weighs 12 kg.']
    """
    found = DECLARED.search(data)
    text, notes = decode(data, (found[1] or found[2]).decode() if found else "")
    return _page(text, notes, "h1")


def _page(markup: str, notes: list[str], *headings: str) -> Reading:
    from lxml import etree, html

    markup = re.sub(r"</(?:html|body)\s*>", "", markup, flags=re.I)  # what stands after them is read too
    try:
        parser = html.HTMLParser(encoding="utf-8", huge_tree=True)
        tree = html.document_fromstring(markup.encode(), parser=parser)
    except etree.ParserError as error:
        raise Unreadable("empty", "there is no HTML in it; leave it out, or put the text in") from error
    if (body := tree.find("body")) is None:
        raise Unreadable("empty", "there is no HTML body in it; leave it out, or put the text in")
    title = next(filter(None, map(lines_of, chain(body.iter(*headings), tree.iter("title")))), None)
    for node in [*body.xpath(_FURNITURE), *_hidden(tree)]:
        if node.getparent() is not None:  # else it went with what was around it
            node.drop_tree()
    return Reading(title, [lines_of(body)], notes)


def _hidden(tree: Any) -> Iterator[Any]:
    """Elements that no reader of the page sees; what a control of the page unfolds is seen."""
    unfolded = {name for value in tree.xpath("//@aria-controls") for name in value.split()}
    styled = bool(tree.xpath("//style | //link[@rel='stylesheet']"))
    for node in tree.xpath("//body//*[@hidden or @aria-hidden='true' or @style]"):
        if node.get("id") in unfolded or node.get("role") == "tabpanel" or node.get("hidden") == "until-found":
            continue
        style = re.sub(r"\s", "", node.get("style", "")).lower()
        colours = dict(_COLOUR.findall(style))
        ground = colours.get("background-color", colours.get("background"))
        if ground is None and colours.get("color") in _WHITE and not styled:
            around = node.xpath("ancestor-or-self::*[@bgcolor or @background or contains(@style, 'background')]")
            ground = None if around else colours["color"]
        same = ground is not None and (ground == colours.get("color") or {ground, colours.get("color")} <= _WHITE)
        if node.get("hidden") is not None or node.get("aria-hidden") or _HIDDEN.search(style) or same:
            yield node


def lines_of(tree: Any) -> str:
    """The text of a tree with HTML's names: a line for each row and item, an empty line around other blocks."""
    for table in tree.iter("table"):
        _fill_down(table)
    return "\n".join(re.sub(r"^ (?=\S)", "", line).rstrip() for line in _lines(tree).split("\n")).strip()


def _fill_down(table: Any) -> None:
    """Put a short cell that spans several rows into each of them: a row is read alone."""
    spanning: dict[int, tuple[Any, int]] = {}  # by column: a cell, and how many rows it still covers
    for row in table.xpath("tr | thead/tr | tbody/tr | tfoot/tr"):
        cells, column, below = list(row.iterchildren("td", "th")), 0, {}
        has_own = bool(cells)
        while cells or column in spanning:
            if column in spanning:
                cell, covers = spanning[column]
                if has_own and len("".join(cell.itertext()).strip()) < _SHORT:
                    again = copy.deepcopy(cell)
                    again.tail = None
                    cells[0].addprevious(again) if cells else row.append(again)
            else:
                cell = cells.pop(0)
                covers = _number(cell.attrib.pop("rowspan", None))
            if covers > 1:
                below[column] = cell, covers - 1
            column += max(1, _number(cell.get("colspan")))
        spanning = below


def _number(value: str | None, otherwise: int = 1) -> int:
    return int(value) if value and re.fullmatch(r"-?\d{1,5}", value) else otherwise


def _lines(node: Any) -> str:
    tag = node.tag
    if not isinstance(tag, str):
        return ""  # a comment
    if tag == "tr" and node.find(".//table") is None:  # else the table only places things on the page
        return "\n" + table_row(_lines(cell) for cell in node.iterchildren("td", "th"))
    if tag in ("br", "tab", "pre"):
        return {"br": "\n", "tab": " "}.get(tag) or f"\n\n{node.text_content()}\n\n"
    if tag == "input" and node.get("type", "text") in ("text", "number", "email", "tel", "date", "url"):
        return f" {node.get('value', '')} "
    if tag in ("msup", "mfrac") and len(node) > 1:  # of MathML and of Word's equations, where their form comes first
        *_, above, below = map(_lines, node)
        return f"{above}/{below}" if tag == "mfrac" else above + _raised(below)
    if tag == "img":
        return node.get("alt", "")
    if tag == "ol":
        items, step = list(node.iterchildren("li")), -1 if node.get("reversed") is not None else 1
        number = _number(node.get("start"), len(items) if step < 0 else 1)
        for item in items:
            number = _number(item.get("value"), number)
            item.set("label", f"{number}.")
            number += step
    text = _squeeze(node.text) + "".join([_lines(child) + _squeeze(child.tail) for child in node])
    if tag == "li":
        return f"\n{node.get('label', '-')} {text.strip()}"
    if tag in _BLOCKS:
        return f"\n\n{text.strip()}\n\n"
    if tag in ("s", "strike", "del") and text.strip():
        return f"~~{text}~~"  # it is seen, and no longer right
    return _raised(text) if tag == "sup" else text


def _raised(text: str) -> str:
    """10³ is not 103: digits stay raised."""
    return text.translate(_RAISED) if re.fullmatch(r"[\d+()n-]+", text) else text


def _squeeze(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "")


def table_row(cells: Iterable[str]) -> str:
    """The cells of a row on one line.

    >>> table_row(["Bolt", "3 g"])
    'Bolt | 3 g'
    """
    return " | ".join(" ".join(cell.split()) for cell in cells)


@cache
def _markdown() -> Any:
    """CommonMark with tables, in which 2*3*4 has no emphasis."""
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import emphasis

    def emphasised(state: Any, silent: bool) -> bool:
        within = state.src[max(0, state.pos - 1) : state.pos + 2]
        product = len(within) == 3 and within[1] == "*" and within[0].isalnum() and within[2].isalnum()
        return not product and emphasis.tokenize(state, silent)

    markdown = MarkdownIt("commonmark").enable("table")
    markdown.inline.ruler.at("emphasis", emphasised)
    return markdown


def read_markdown(data: bytes) -> Reading:
    """Markdown by markdown-it, read as the HTML that it stands for; the title is the first heading."""
    text, notes = decode(data)
    end = text.rfind("-->") + 1  # a comment without an end is none
    text = text[:end] + text[end:].replace("<!--", "&lt;!--")
    text = re.sub(r"\A---\r?\n(.*?\n)---\r?\n", r"\1\n", text, flags=re.DOTALL)  # data before the text is no heading
    text = re.sub(r"^\[\^", r"\\[^", text, flags=re.MULTILINE)  # nor is a footnote an address
    return _page(f"<body>{_markdown().render(text)}</body>", notes, "h1", "h2", "h3", "h4", "h5", "h6")


def rows_text(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A line for each row of a table; with its column's name before each cell where the first row is one of names.

    >>> list(rows_text([["Part", "Weight"], ["Bolt", "3 g"]]))
    ['Part | Weight', 'Part: Bolt | Weight: 3 g']
    """
    names: Sequence[str] | None = None
    for row in filter(any, rows):
        named = zip_longest(names or (), row, fillvalue="")
        yield table_row([f"{name}: {cell}" if name else cell for name, cell in named if cell] if names else row)
        if names is None:
            figures = any(re.fullmatch(r"[-+]?[\d.,]+\s?%?", cell) for cell in row)
            names = row if 1 < len(set(row)) == len(row) and all(row) and not figures else ()


def read_table(data: bytes) -> Reading:
    """CSV and other text with one row a line, whatever divides its cells."""
    text, notes = decode(data)
    csv.field_size_limit(2**31 - 1)  # for the whole process: never less than another reader needs
    lines = list(io.StringIO(text, newline=""))
    start, mark = separator(lines)
    try:
        rows = list(csv.reader(lines[start:], delimiter=mark, strict=True))
    except csv.Error:
        rows = csv.reader(lines[start:], delimiter=mark, quoting=csv.QUOTE_NONE)
        notes = [*notes, "its quotes do not pair, and are read as text; save it again in a spreadsheet program"]
    return Reading(None, ["\n".join(rows_text([cell.strip() for cell in row] for row in rows))], notes)


def read_json(data: bytes) -> Reading:
    """JSON, or JSON lines: a line 'name: value' for each value, an empty line between records."""
    text, notes = decode(data)
    try:
        values = json.loads(text)
    except ValueError:
        values = [
            json.loads(line) for line in text.split("\n") if line.strip()
        ]  # a text in it may hold other line ends
    if isinstance(values, dict) and isinstance(values.get("cells"), list):
        return read_markdown(_notebook(values["cells"]).encode())
    records = values if isinstance(values, list) else [values]
    return Reading(None, ["\n\n".join("\n".join(_flat(record)) for record in records)], notes)


def _flat(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _flat(inner, name)
    elif value not in (None, ""):
        yield f"{name}: {value}" if name else str(value)


def _notebook(cells: list[dict[str, Any]]) -> str:
    """The prose and the code of a Jupyter notebook, and what was printed, as Markdown."""
    parts = []
    for cell in cells:
        source, code = "".join(cell.get("source", "")), cell.get("cell_type") == "code"
        printed = "\n".join(filter(None, map(_output, cell.get("outputs", []))))
        parts += [f"~~~~~~\n{text}\n~~~~~~" if code else text for text in (source, printed) if text]
    return "\n\n".join(parts)


def _output(output: dict[str, Any]) -> str:
    """What a cell printed, the value that it ended in, or its error; nothing for a picture."""
    data = output.get("data", {})
    value = "" if any(kind.startswith("image/") for kind in data) else data.get("text/plain", "")
    error = f"{output.get('ename')}: {output.get('evalue')}" if "ename" in output else ""
    return "".join(output.get("text", "") or value or error)


def read_xml(data: bytes) -> Reading:
    """XML: prose where text and elements mix, else a line 'name: value' for each element and attribute that has one."""
    from lxml import etree

    tree = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))
    return Reading(None, ["\n".join(_named(tree))])


def _named(node: Any) -> Iterator[str]:
    if not isinstance(node.tag, str):
        return  # a comment
    name = node.tag.rpartition("}")[2]
    yield from (f"{name} {key.rpartition('}')[2]}: {value}" for key, value in node.items())
    loose = (node.text or "") + "".join(child.tail or "" for child in node)
    if loose.strip():
        text = " ".join("".join(node.itertext()).split())
        yield text if len(node) else f"{name}: {text}"
    else:
        for child in node:
            yield from _named(child)
