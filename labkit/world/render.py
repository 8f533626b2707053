"""Manuscripts become files: always the same bytes, without the date of the day. Introduced in 01_ingest."""

from html import escape
from string import Template

from labkit.world.draft import Block, Bullets, Columns, Heading, Manuscript, Paragraph, Table
from labkit.world.render_docx import render_docx
from labkit.world.render_pdf import render_pdf

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
    """The file of a manuscript, in the format that the ending of its id names. Introduced in 01_ingest.

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
    return ("\n\n".join([*parts, f"*{manuscript.revision}*"]) + "\n").encode()


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
