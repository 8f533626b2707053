"""PDF pages to text: table rows kept together, lines broken by the page joined. Introduced in 01_ingest."""

from __future__ import annotations

import io
import logging
import re
from typing import Any

from labkit.errors import Unreadable

_BULLET = re.compile(r"(?:[•◦▪·*–-]|\(?\w{1,2}[.)])\s")
_LABEL = re.compile(r"[•◦▪·*–-]|\(?\w{1,2}[.)]|\d{1,2}")


def read_pdf(data: bytes) -> tuple[str | None, list[str]]:
    """The title of a PDF and the text of each page, by pypdf under limits; page headers and footers stay.

    Raises `Unreadable` if it is encrypted, only pictures, or unpacks beyond a limit. Introduced in 01_ingest.

    >>> title, pages = read_pdf(Path("handbook.pdf").read_bytes())
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
