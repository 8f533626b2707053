"""The reader of PDF: pages in drawing order, rows of tables on one line, what a form holds, and what cannot be read."""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from labkit.errors import Unreadable
from labkit.rag import ocr
from labkit.rag.markup import Reading, Turned

# Where a line of a PDF begins an item of a list, and what is a label drawn before its text.
_BULLET = re.compile(r"(?:[•◦▪·*–-]|\(?\w{1,2}[.)])\s")
_LABEL = re.compile(r"[•◦▪·*–-]|\(?\w{1,2}[.)]|\d{1,2}")
# Letters of a font that does not say what they are, by several programs; and joined letters under their names.
_UNMAPPED = re.compile(r"/[A-Za-z]{1,3}\d{1,5}(?![\w/.])|/[A-Za-z]{1,3}\d{1,5}(?=/)|\(cid:\d+\)|[\ufffd\ue000-\uf8ff]")
_JOINED = re.compile(r"/((?:f_)+[bfhijklt]|[TSc]_[ht])(?![a-z]_)")
# Letters of scripts that are written from right to left; numbers and other words between them, which are not.
_LEFTWARD = "[\u0590-\u065f\u066d-\u06ef\u06fa-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]"
_RIGHTWARD = re.compile(
    rf"[%$€£₪°]*(?!{_LEFTWARD})\w(?:(?:[-.,:/@&'+٪-٬]*|(?<=[a-zA-Z]) (?=\w)|(?<=\w) (?=[a-zA-Z]))(?!{_LEFTWARD})\w)*[%$€£₪°]*"
)
_MIRRORED = str.maketrans("()[]{}", ")(][}{")
_FEW = 50  # characters: what a page may hold beside a scan of it, as a number or a stamp


def read_pdf(data: bytes, password: str = "", turned: Turned = lambda page, pages: None) -> Reading:
    """The title of a PDF and the text of each page, by pypdf, and by pdfminer where that fails; headers and footers stay.

    Pages that are pictures are read by OCR where its extra is installed. `turned` hears how many of the pages are read.
    Raises `Unreadable` if it is encrypted and the password does not open it, only pictures, or unpacks beyond a limit.
    """
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    logging.getLogger("pdfminer").setLevel(logging.CRITICAL)
    limits = {"page_tree_maximum_entries": 100_000, "xform_maximum_invocations_per_extraction": 100_000}
    with pypdf.apply_configuration(**limits):
        try:
            reader = pypdf.PdfReader(io.BytesIO(data))
            if reader.is_encrypted and not (reader.decrypt("") or password and reader.decrypt(password)):
                how = reader.trailer["/Encrypt"]
                if how["/V"] < 4 or how.get("/StmF", "/Identity") != "/Identity":
                    wrong = "the password given does not open it" if password else "it needs a password"
                    raise Unreadable("encrypted", f"{wrong}; give it with --password, or save a copy without one")
                reader._encryption = None  # only what is attached to it is encrypted
            title = reader.metadata["/Title"] if "/Title" in (reader.metadata or ()) else None
            pages, pictured, failed = _pages(reader, data, password, turned)
        except pypdf.errors.LimitReachedError as error:
            raise Unreadable("refused", f"it unpacks beyond a limit ({error}); leave it out, or split it") from error
        except (MemoryError, Unreadable):
            raise
        except Exception:  # of any kind: what pypdf makes of a damaged file is not foreseen
            title, pages, pictured = None, [_second_text(page) for page in _second(data, password)], []
            failed = [*range(1, len(pages) + 1)]
            if not pages:
                raise
    read_so = _read_pictures(pages, pictured, data, password, turned) if pictured and ocr.installed() else []
    pictured = [number for number in pictured if number not in read_so]
    if pages and len(pictured) == len(pages):
        lost = (
            "OCR finds no text in its pictures; leave it out"
            if ocr.installed()
            else f"pictures without a text layer; {ocr.REMEDY}"
        )
        raise Unreadable("scanned image", lost)
    if failed and not "".join(pages).strip():
        raise Unreadable("broken", "its letters cannot be identified; print it to PDF again, or run OCR on it")
    notes = [f"{_numbers(read_so)}: {ocr.CHECK}"] if read_so else []
    notes += [f"{_numbers(pictured)}: a picture with hardly any text; {ocr.REMEDY}"] if pictured else []
    notes += [f"{_numbers(failed)}: not or not wholly readable; open it and print it to PDF again"] if failed else []
    return Reading(title if isinstance(title, str) else None, _rejoined(pages), notes)


def _read_pictures(pages: list[str], pictured: list[int], data: bytes, password: str, turned: Turned) -> list[int]:
    """Put what OCR finds on these pages in their place; the numbers of those on which it finds more than stood there."""
    read_so, others = [], len(pages) - len(pictured)
    for done, (number, text) in enumerate(
        zip(pictured, ocr.page_texts(data, pictured, password), strict=True), start=1
    ):
        read_so += [number] if len(text) > len(pages[number - 1].strip()) else []
        pages[number - 1] = text or pages[number - 1]
        turned(others + done, len(pages))
    return read_so


def _pages(reader: Any, data: bytes, password: str, turned: Turned) -> tuple[list[str], list[int], list[int]]:
    """The text of each page, the numbers of those that are pictures, and of those that cannot be read wholly."""
    from pypdf.errors import LimitReachedError

    pages, pictured, failed, second, count = [], [], [], None, len(reader.pages)
    for number, page in enumerate(reader.pages, start=1):
        text, damaged, lost = "", True, True
        try:
            text = _page_text(page)
            contents = None if text.strip() else page.get_contents()
            damaged = (
                contents is not None and not contents.get_data().strip()
            )  # there is something, and nothing unpacks
            lost = damaged or _unmapped(text) > 0.3
        except (MemoryError, LimitReachedError):
            raise
        except Exception:  # one bad page must not lose the others
            pass
        if lost or _is_misspaced(text) or _runs_left(text):
            second = _second(data, password) if second is None else second
            other = "".join(map(_second_text, second[number - 1 : number]))
            text = other if _unmapped(other) < 0.3 and (lost or len(other) > len(text) // 2) else "" if lost else text
        failed += [number] if damaged or lost and not text.strip() or _unmapped(text) > 0.03 else []
        if len(text.strip()) < _FEW and number not in failed and _pictured(page) > (1 / 3 if text.strip() else 0):
            pictured.append(number)
        pages.append("\n".join(filter(None, [text, *_filled(page)])))
        turned(number - len(pictured) * ocr.installed(), count)  # what OCR reads is still to come
    return pages, pictured, failed


def _second(data: bytes, password: str) -> list[Any]:
    """The pages as pdfminer finds them, which forgives other faults than pypdf does; none where it fails too."""
    with suppress(Exception):
        import pdfplumber

        return pdfplumber.open(io.BytesIO(data), password=password).pages
    return []


def _second_text(page: Any) -> str:
    """The text of a page by where its letters stand, with lines of Hebrew and Arabic read from the right."""
    with suppress(Exception):
        text = page.extract_text(x_tolerance_ratio=0.15)
        if not _runs_left(text):
            return text
        text = page.extract_text(x_tolerance_ratio=0.15, char_dir="rtl", char_dir_render="ltr")
        return "\n".join(map(_in_reading_order, text.split("\n")))
    return ""


def _runs_left(text: str) -> bool:
    """Whether most letters of a text are of a script that is written from right to left."""
    return 2 * len(re.findall(_LEFTWARD, text)) > len(re.findall(r"[^\W\d_]", text))


def _in_reading_order(line: str) -> str:
    """A line whose letters were taken from the right, with the numbers and the Latin words in it reversed.

    pypdf has pieces of Hebrew and Arabic in the order of drawing. Brackets open where the line begins.

    >>> _in_reading_order("\u05d4\u05de\u05e9\u05d0\u05d1\u05d4 14 gk )002-XK(")
    '\u05d4\u05de\u05e9\u05d0\u05d1\u05d4 kg 41 (KX-200)'
    """
    if not _runs_left(line):
        return re.sub(rf"{_LEFTWARD}+(?: +{_LEFTWARD}+)*", lambda run: run[0][::-1], line[::-1])
    line = _RIGHTWARD.sub(lambda run: run[0][::-1], line)
    bracket = re.search(r"[()\[\]{}]", line)
    return line.translate(_MIRRORED) if bracket and bracket[0] in ")]}" else line


def _unmapped(text: str) -> float:
    """The share of the letters that have no meaning in the fonts of the file."""
    return sum(map(len, _UNMAPPED.findall(text))) / max(1, len(text.strip()))


def _is_misspaced(text: str) -> bool:
    """Whether no space stands between the words of a text in Latin letters, or one between all letters."""
    length = len(text) / max(1, len(text.split()))
    return (length > 15 or 0 < length < 2.2) and sum(map(str.isascii, text)) > 0.9 * len(text)


def _pictured(page: Any) -> float:
    """The share of the page that pictures cover."""
    area = 0.0

    def visit(operator: bytes, operands: list[Any], cm: list[float], _: Any) -> None:
        nonlocal area
        forms = page["/Resources"].get("/XObject", {}) if operator == b"Do" else {}
        if operator == b"INLINE IMAGE" or operator == b"Do" and forms.get_object()[operands[0]]["/Subtype"] == "/Image":
            area += abs(cm[0] * cm[3] - cm[1] * cm[2])

    with suppress(Exception):  # nothing is lost here
        page.extract_text(visitor_operand_before=visit)
    return area / float(page.mediabox.width * page.mediabox.height)


def _filled(page: Any) -> Iterator[str]:
    """Values of form fields and notes that are written on the page."""
    for entry in page.get("/Annots", None) or ():
        with suppress(AttributeError, KeyError, TypeError):  # an entry that is none
            note = entry.get_object()
            field = note["/Parent"] if "/T" not in note and "/Parent" in note else note
            value = field.get("/V") if note.get("/Subtype") == "/Widget" and field.get("/FT") != "/Sig" else None
            if note.get("/Subtype") == "/FreeText" and isinstance(note.get("/Contents"), str):
                yield note["/Contents"]
            elif isinstance(value, str) and value.strip("/ ") not in ("", "Off"):
                yield f"{field.get('/TU') or field.get('/T', 'field')}: {value.lstrip('/')}"


def _numbers(pages: list[int]) -> str:
    """The pages as ranges.

    >>> _numbers([2, 3, 4, 9])
    'page 2-4, 9'
    """
    runs = (list(run) for _, run in groupby(enumerate(pages), lambda place: place[1] - place[0]))
    return "page " + ", ".join("-".join(str(page) for page in dict.fromkeys((run[0][1], run[-1][1]))) for run in runs)


@dataclass
class _Cell:
    """Lines of a page, one below the other: where they begin, where the last one and the longest one end, the baselines
    of the first and the last, the size of the letters."""

    x: float
    end: float
    right: float
    top: float
    bottom: float
    size: float
    lines: list[str]

    def goes_on(self, new: _Cell) -> bool:
        """Whether the new piece stands on its last line, about a space apart."""
        return abs(self.bottom - new.top) < 3 and -0.3 < (new.x - self.end) / max(new.size, 1) < 0.7

    def is_above(self, new: _Cell) -> bool:
        return abs(self.x - new.x) < 2 and 0.9 * new.size < self.bottom - new.top < 1.45 * new.size

    def is_beside(self, new: _Cell) -> bool:
        """Whether the new one is the next cell of its row: level with it at the top, the bottom or in the middle."""
        if len(self.lines) == len(new.lines) == 1:
            return abs(self.top - new.top) < 3 and new.x > self.x + 1
        few, many = sorted((len(self.lines), len(new.lines)))
        # Columns of prose, or a table that is drawn column by column.
        columns = few > 3 and max(map(len, [*self.lines, *new.lines])) > 30 or few == many > 2
        middle = (self.top + self.bottom - new.top - new.bottom) / 2
        level = min(abs(self.top - new.top), abs(self.bottom - new.bottom), abs(middle)) < 3
        return level and not columns and new.x > self.right - 2 and many < 9

    def joined(self) -> str:
        return re.sub(r"(?<=[^\W\d_])-\n(?=[a-z])", "", "\n".join(self.lines)).replace("\n", " ").strip()


def _page_text(page: Any) -> str:
    """Text in drawing order; what is drawn side by side are the cells of a row."""
    cells: list[_Cell] = []
    fonts: dict[int, Any] = {}
    going_on = False

    def visit(piece: str, cm: list[float], tm: list[float], font: Any, size: float) -> None:
        nonlocal going_on
        text = piece.rstrip("\n")
        last = cells[-1] if cells else None
        if going_on and not piece.strip():
            cells[-1].lines[-1] += text
        elif piece.strip():
            x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
            y = tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
            size *= math.hypot(tm[0] * cm[0] + tm[1] * cm[2], tm[0] * cm[1] + tm[1] * cm[3])
            end = x + _ems(font, text, fonts) * size
            new = _Cell(x, end, end, y, y, size, [text])
            if last is None or not (going_on or last.goes_on(new) or last.is_above(new)):
                cells.append(new)
            elif going_on or last.goes_on(new):
                apart = "" if going_on or x - last.end < 0.15 * size else " "
                last.lines[-1] = f"{last.lines[-1].rstrip()} {text.lstrip()}" if apart else last.lines[-1] + text
                last.end = end
            else:
                last.lines.append(text)
                last.end, last.bottom = end, y
            cells[-1].right = max(cells[-1].right, end)
        going_on = (going_on or bool(piece.strip())) and not piece.endswith("\n")

    page.extract_text(visitor_text=visit)
    return "\n".join(_rows(cells))


def _ems(font: Any, text: str, fonts: dict[int, Any]) -> float:
    """How wide a text is, in sizes of its letters; half a size each where the font does not tell."""
    with suppress(Exception):  # fonts of any kind, damaged ones too
        if id(font) not in fonts:
            from pypdf.generic._font import Font

            fonts[id(font)] = Font.from_font_resource(font)
        return fonts[id(font)].get_text_width(text) / 1000
    return len(text) / 2


def _rows(cells: list[_Cell]) -> Iterator[str]:
    row: list[_Cell] = []
    for cell in [*cells, None]:
        if row and cell and row[-1].is_beside(cell):
            row.append(cell)
            continue
        if len(row) == 1:
            yield from row[0].lines
        elif row:
            text = row[0].joined()
            for before, after in pairwise(row):
                # In points: less than 30 sideways may be a bullet and its text.
                mark = after.x - before.x < 30 and _LABEL.fullmatch(text.rpartition(" | ")[2].strip())
                text += f"{' ' if mark else ' | '}{after.joined()}"
            yield text
        row = [cell] if cell else []


def _rejoined(pages: list[str]) -> list[str]:
    """The pages, with the lines that their width broke joined again, words with a hyphen at the end of a line too."""
    pages = [_JOINED.sub(lambda name: name[1].replace("_", ""), page) for page in pages]
    compounds = {word.lower() for page in pages for word in re.findall(r"[^\W\d_]+-[^\W\d_]+", page)}
    return [_unwrap(page, compounds) for page in pages]


def _unwrap(text: str, compounds: set[str]) -> str:
    """Join lines that were broken: long ones that do not end a sentence, and those that end within a word."""
    lines = [line.strip() for line in text.split("\n")]
    width = max((len(line) for line in lines if " | " not in line), default=0)
    joined = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        full = len(line) > max(40, 0.7 * width) and line[-1] not in ".!?:;|"
        goes_on = following and " | " not in line + following and not _BULLET.match(following)
        broken = goes_on and re.search(r"([^\W\d_]+)[-\u2010\u00ad]$", line)
        if broken and (rest := re.match(r"[^\W\d_]+", following)) and (full or following[0].islower()):
            whole = following[0].islower() and f"{broken[1]}-{rest[0]}".lower() not in compounds
            joined += line[:-1] if whole else line  # a name of two parts keeps its hyphen
        else:
            joined += line + (" " if full and goes_on else "\n")
    return joined
