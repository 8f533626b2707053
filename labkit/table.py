"""Tables as people save them: text with any separator, quoting and encoding, or a sheet of Excel as it is shown."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from labkit.encoding import decode
from labkit.errors import LabError, Unreadable, one_line

REMEDY = "save it again as CSV in UTF-8, or as .xlsx"
Record = tuple[int, list[str] | str]
"""A row's number in the file, from 1, and its cells, or what is wrong with it."""


def read_table(path: Path | str) -> list[Record]:
    """The rows of a .csv, .tsv or .xlsx file, the header first; a blank row has no cells.

    A quote that is never closed costs its own line and no other; a formula without a stored value costs its row. Bytes
    that are wrong in UTF-8 stay as lone surrogates. Raises LabError for a file that cannot be read.
    """
    path = Path(path)
    try:
        rows = list(_sheet(path) if path.suffix.casefold() == ".xlsx" else _records(text_of(path)[0]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise LabError(f"cannot read {path.name} ({one_line(error)}): {REMEDY}") from error
    header = rows[0][1] if rows and isinstance(rows[0][1], list) else []
    width = max((n for n, name in enumerate(header, start=1) if name), default=0)
    return [(n, _cut(cells, width) if isinstance(cells, list) else cells) for n, cells in rows]


def text_of(path: Path) -> tuple[str, list[str]]:
    """The text of a file and notes on its encoding; bytes that are wrong in UTF-8 stay as lone surrogates."""
    try:
        return decode(path.read_bytes(), errors="surrogateescape")
    except (OSError, ValueError, Unreadable) as error:
        raise LabError(f"cannot read {path.name} ({one_line(error)}): {REMEDY}") from error


def _cut(cells: list[str], width: int) -> list[str]:
    """Cells without the empty ones behind those of the header; none of a blank row."""
    if not "".join(cells).strip():
        return []
    return cells[:width] if not "".join(cells[width:]).strip() else cells


def _records(text: str) -> Iterator[Record]:
    """Each record with the number of its first line; behind a broken one, with its reason, reading goes on a line below."""
    lines = list(io.StringIO(text, newline=""))
    at, mark = separator(lines)
    loose = any(f'{mark} "' in line for line in lines[:20])
    while at < len(lines):
        reader, start = csv.reader(islice(lines, at, None), delimiter=mark, strict=True, skipinitialspace=loose), at
        try:
            for cells in reader:
                yield start + 1, cells
                start = at + reader.line_num
            return
        except csv.Error as error:
            yield start + 1, f"not CSV: {error}"
            at = start + 1


def separator(lines: list[str]) -> tuple[int, str]:
    """In which line a table begins, and the mark that divides most columns in it, or that its first line names."""
    named = re.fullmatch(r"sep=(.)\s*", lines[0]) if lines else None  # as Excel writes it
    return (1, named[1]) if named else (0, max(",;\t|", key=lambda mark: _columns(lines, mark)))


def _columns(lines: list[str], mark: str) -> int:
    try:
        return len(next(csv.reader(lines, delimiter=mark, strict=True), []))
    except csv.Error:
        return 0


def _sheet(path: Path) -> Iterator[Record]:
    """The rows of the first sheet, each cell as a spreadsheet shows it."""
    from openpyxl import load_workbook

    stored, written = (load_workbook(path, data_only=only).worksheets[0].iter_rows() for only in (True, False))
    for number, (cells, formulas) in enumerate(zip(stored, written, strict=False), start=1):
        unknown = [cell.coordinate for cell, formula in zip(cells, formulas, strict=True)
                   if cell.data_type == "e" or (cell.value is None and formula.data_type == "f")]  # fmt: skip
        wrong = f"{', '.join(unknown)} holds an error, or a formula without its value; save the file in a spreadsheet"
        yield number, wrong if unknown else [shown(cell.value, cell.number_format).strip() for cell in cells]


def shown(value: Any, form: str = "General") -> str:
    """A value as a spreadsheet shows it in a number format of Excel's, with English names of months.

    >>> shown(0.125, "0.0%"), shown(1240.5, '"£"#,##0.00'), shown(date(2031, 5, 8), "d mmmm yyyy")
    ('12.5%', '£1,240.50', '8 May 2031')
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int) and form == "General":
        return str(value)  # all digits of a long one, which a narrow cell rounds
    sections = re.sub(r"\[\$([^\]-]*)[^\]]*\]|\[(?!h)[^\]]*\]|_.|\*.", r"\1", form, flags=re.IGNORECASE).split(";")
    if isinstance(value, date | time | timedelta):
        return _moment(value, "m/d/yyyy" if form == "mm-dd-yy" else sections[0])  # Excel's short date
    value, form = (-value, sections[1]) if value < 0 and len(sections) > 1 else (value, sections[0])
    form = re.sub(r'"([^"]*)"|\\(.)', r"\1\2", form)
    slot = re.search(r"[#0?][#0?,]*(?:\.([#0?]*))?(E\+0+)?", form)
    if "general" in form.casefold() or "/" in form or not slot:
        return f"{value:.11g}".upper()
    exact, places = Decimal(repr(value)) * (100 if "%" in form else 1), len(slot[1] or "")
    exact = exact if slot[2] else exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    text = f"{float(exact):.{places}E}" if slot[2] else f"{exact:,f}" if "," in slot[0] else f"{exact:f}"
    whole, _, part = text.partition(".")
    least, kept = (some.count("0") for some in (slot[0].partition(".")[0], slot[1] or ""))
    part = part[:kept] + part[kept:].rstrip("0")
    return form[: slot.start()] + whole.zfill(least) + ("." + part if part else "") + form[slot.end() :]


_CODES = {"y": "%Y", "yy": "%y", "yyyy": "%Y", "m": "%-m", "mm": "%m", "mmm": "%b", "mmmm": "%B", "d": "%-d", "dd": "%d",
          "ddd": "%a", "dddd": "%A", "h": "%-H", "hh": "%H", "n": "%-M", "nn": "%M", "s": "%-S", "ss": "%S",
          "am/pm": "%p"}  # fmt: skip


def _moment(value: date | time | timedelta, form: str) -> str:
    """A date, a time or a span in a format of Excel's, in which m is a minute beside hours or seconds."""
    moment: Any = datetime(1900, 1, 1) + value if isinstance(value, timedelta) else value
    form = re.sub(r"(?i)(?<=h[:. \]])m+|(?<=h\]:)m+|m+(?=[:. ]*s)", lambda match: "n" * len(match[0]), form)
    codes = _CODES | ({"h": "%-I", "hh": "%I"} if "am/pm" in form.casefold() else {})

    def piece(match: re.Match[str]) -> str:
        """One code of the format as text."""
        if match[0][0] == "[":
            return str(int(value.total_seconds() // 3600) if isinstance(value, timedelta) else moment.hour)
        code = codes.get(match[0].casefold())
        return moment.strftime(code) if code else match[0].strip('"\\')

    return re.sub(r'"[^"]*"|\\.|am/pm|\[h+\]|y+|m+|n+|d+|h+|s+', piece, form, flags=re.IGNORECASE)
