"""Pages that are pictures are read where the extra is there, and the verdict says how."""

import io

import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from labkit.rag import ocr
from labkit.rag.ingest import ingest, load_file
from labkit.rag.ocr import rows


def box(left, top, right, bottom, text):
    return [[left, top], [right, top], [right, bottom], [left, bottom]], text, 0.9


def test_boxes_that_stand_level_make_a_row_and_wide_gaps_part_its_cells():
    level = [box(120, 12, 160, 22, "3 kg"), box(0, 10, 40, 20, "Rotor"), box(44, 11, 80, 21, "A1")]
    assert rows([box(0, 30, 40, 40, "Shaft"), *level]) == ["Rotor A1 | 3 kg", "Shaft"]


def test_scans_and_pictures_are_read_and_marked(tmp_path):
    pytest.importorskip("rapidocr_onnxruntime")
    pypdfium2 = pytest.importorskip("pypdfium2")
    drawn = Canvas(str(tmp_path / "drawn.pdf"))
    drawn.setFont("Helvetica", 14)
    drawn.drawString(72, 700, "The battery lasts 89 hours at 20 degrees.")
    drawn.save()
    picture = pypdfium2.PdfDocument(tmp_path / "drawn.pdf")[0].render(scale=2).to_pil().convert("RGB")
    folder = tmp_path / "in"
    folder.mkdir()
    picture.save(folder / "scan.pdf", resolution=144)
    picture.save(folder / "photo.png")
    Image.new("RGB", (300, 300), "grey").save(folder / "grey.png")
    found = ingest(folder)
    for document in found.documents:
        assert "89 hours" in document.text and ocr.CHECK in document.notes[0]
    names = {document.id: document.notes[0].partition(":")[0] for document in found.documents}
    names |= {copy: "copy" for document in found.documents for copy in document.copies}
    assert names.keys() == {"scan.pdf", "photo.png"} and names.get("scan.pdf") in ("page 1", "copy")
    reasons = {file.id: file.detail for file in found.rejected if file.reason != "copy"}
    assert reasons == {"grey.png": "OCR finds no text in it; leave it out"}


def test_each_page_that_ocr_reads_moves_progress_once(tmp_path):
    pytest.importorskip("rapidocr_onnxruntime")
    from reportlab.lib.utils import ImageReader

    drawn = Canvas(str(tmp_path / "mixed.pdf"))
    for number in (1, 2, 3, 4):
        drawn.drawString(
            72, 700, "This page has words enough to be no scan of anything." if number % 2 else str(number)
        )
        if not number % 2:
            drawn.drawImage(ImageReader(Image.new("RGB", (50, 50), "grey")), 0, 0, 600, 800)
        drawn.showPage()
    drawn.save()
    told: list[tuple[int, int]] = []
    load_file(tmp_path / "mixed.pdf", turned=lambda *pages: told.append(pages))
    assert told == [(1, 4), (1, 4), (2, 4), (2, 4), (3, 4), (4, 4)]


def test_without_the_extra_the_remedy_names_it(monkeypatch):
    monkeypatch.setattr(ocr, "installed", lambda: False)
    with pytest.raises(ocr.Unreadable, match=r"a picture; install the extra for OCR \(pip install 'labkit\[ocr\]'\)"):
        ocr.read_picture(io.BytesIO().getvalue())
