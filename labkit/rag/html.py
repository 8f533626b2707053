"""HTML to text by trafilatura, with its losses mended before it looks. Introduced in 01_ingest."""

from __future__ import annotations

import logging
import re
from typing import Any

from labkit.errors import Unreadable
from labkit.rag.readers import Read, encoding_of, plain_markdown

_HEAD = 2048  # bytes in which a page declares its encoding
_DROPPED = {"script", "style", "noscript", "template", "nav", "button", "iframe", "svg"}
_RENAMED = {"article": "div", "main": "div", "figure": "div", "figcaption": "p", "summary": "p"}
_INLINE = {
    "a", "abbr", "b", "bdi", "bdo", "br", "cite", "code", "data", "dfn", "em", "i", "kbd", "mark", "q", "s",
    "samp", "small", "span", "strong", "sub", "sup", "time", "u",
}  # fmt: skip


def read_html(data: bytes) -> Read:
    """Title (first h1, else title element) and text; navigation, scripts and page furniture are dropped.

    Raises `Unreadable` if there is no body. Introduced in 01_ingest.

    >>> read_html(b"<title>Pump</title><p>It weighs 12 kg.</p>")
    ('Pump', ['It weighs 12 kg.'])
    """
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    tree = _parse(data)
    if (body := tree.find("body")) is None:
        raise Unreadable("empty", "there is no HTML body in it; leave it out, or put the text in")
    titles = [node.text_content() for node in [*body.iter("h1"), *tree.iter("title")]]
    _prepare(body)
    settings = trafilatura.settings.use_config()
    settings.set("DEFAULT", "MIN_EXTRACTED_SIZE", "1")  # below it, the navigation would come back
    options = {"include_comments": False, "favor_recall": True, "output_format": "markdown"}
    text = trafilatura.extract(tree, include_tables=True, config=settings, **options)
    return next((title for title in titles if title.strip()), None), [plain_markdown(text or "")]


def _parse(data: bytes) -> Any:
    """The tree, decoded as UTF-16 by its mark, as UTF-8 if it is, as the page declares, else by a guess."""
    from lxml import etree, html

    found = encoding_of(data)
    declared = not found.startswith("utf") and re.search(rb"(?:charset|encoding)\s*=", data[:_HEAD])
    known = data if declared else data.decode(found, "replace").encode()
    try:
        return html.document_fromstring(known, parser=html.HTMLParser(encoding=None if declared else "utf-8"))
    except etree.ParserError as error:
        raise Unreadable("empty", "there is no HTML in it; leave it out, or put the text in") from error


def _prepare(body: Any) -> None:
    """Make the whole body one article: of several, trafilatura keeps the first, and it drops loose text."""
    for node in list(body.iter(*_DROPPED)):
        node.drop_tree()
    for header in list(body.iter("header")):
        inside = header.xpath("ancestor::article or ancestor::main or descendant::h1")
        header.tag = "div" if inside else "footer"
    for node in list(body.iter(*_RENAMED)):
        node.tag = _RENAMED[node.tag]
    for caption in list(body.iter("caption")):
        caption.tag, table = "p", next(caption.iterancestors("table"), None)
        if table is not None:
            table.addprevious(caption)
    for block in list(body.iter("body", "div", "section")):
        _wrap_loose(block)
    body.tag = "article"
    outer = body.makeelement("body")
    body.getparent().replace(body, outer)
    outer.append(body)


def _wrap_loose(block: Any) -> None:
    """Give each run of loose text and inline marks in a block a paragraph of its own."""
    runs: list[list[Any]] = [[block.text or ""]]
    for child in list(block):
        tail, child.tail = child.tail or "", None
        if child.tag in _INLINE:
            runs[-1] += [child, tail]
        else:
            runs += [[child], [tail]]
    block.text = None
    block[:] = []
    for run in runs:
        if not isinstance(run[0], str):
            block.append(run[0])
        elif "".join(part if isinstance(part, str) else part.text_content() for part in run).strip():
            paragraph = block.makeelement("p")
            paragraph.text = run[0]
            for node, tail in zip(run[1::2], run[2::2], strict=True):
                node.tail = tail
                paragraph.append(node)
            block.append(paragraph)
