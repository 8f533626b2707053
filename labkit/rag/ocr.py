"""Text in pictures, where the extra `ocr` is installed (RapidOCR, whose models lie in its wheel)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

from labkit.errors import Unreadable
from labkit.rag.markup import Reading

REMEDY = "install the extra for OCR (pip install 'labkit[ocr]'), or run OCR on it first"
CHECK = "read by OCR, which mistakes letters and figures; compare what matters with the original"
HEIGHT = 2000  # pixels of a page: with fewer the spaces between words get lost, more cost time
Box = tuple[Sequence[Sequence[float]], str, float]
"""The four corners of a line in pixels, from the top left on, its text, and how sure the model is."""


def installed() -> bool:
    """Whether pictures can be read here."""
    return find_spec("rapidocr_onnxruntime") is not None


def read_picture(data: bytes) -> Reading:
    """The text in a picture file; Unreadable without the extra, and for a picture without text."""
    from PIL import Image

    if not installed():
        raise Unreadable("scanned image", f"a picture; {REMEDY}")
    text = picture_text(Image.open(io.BytesIO(data)))
    if not text:
        raise Unreadable("scanned image", "OCR finds no text in it; leave it out")
    return Reading(None, [text], [CHECK])


def page_texts(data: bytes, numbers: Sequence[int], password: str = "") -> Iterator[str]:
    """The text that OCR finds on these pages of a PDF, numbered from 1; each as it is read."""
    import pypdfium2

    file = pypdfium2.PdfDocument(data, password=password or None)
    for page in (file[number - 1] for number in numbers):
        yield picture_text(page.render(scale=HEIGHT / max(page.get_size())).to_pil())


def picture_text(picture: Any) -> str:
    """The text in a PIL image, a line for each row of it."""
    import numpy as np

    boxes, _ = _engine()(np.asarray(picture.convert("RGB"))[:, :, ::-1])  # blue first, as OpenCV has it
    return "\n".join(rows(boxes or []))


@cache
def _engine() -> Any:
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)


def rows(boxes: Sequence[Box]) -> list[str]:
    """The texts of boxes from top to bottom: those that stand level make a row, apart by " | " where a gap is wide.

    >>> rows([([[90, 2], [120, 2], [120, 12], [90, 12]], "3 kg", 1), ([[0, 0], [40, 0], [40, 10], [0, 10]], "Rotor", 1)])
    ['Rotor | 3 kg']
    """
    level: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: box[0][0][1] + box[0][3][1]):
        corners, before = box[0], level[-1][0][0] if level else None
        if before and corners[0][1] + corners[3][1] < 2 * before[3][1]:  # its middle lies above the first one's bottom
            level[-1].append(box)
        else:
            level.append([box])
    lines = []
    for line in level:
        line.sort(key=lambda box: box[0][0][0])
        text = line[0][1].strip()
        for (before, *_), (after, piece, _) in pairwise(line):
            wide = after[0][0] - before[1][0] > before[3][1] - before[0][1]
            text += f"{' | ' if wide else ' '}{piece.strip()}"
        lines.append(text)
    return lines
