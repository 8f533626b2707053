"""What the readers get out of the written files is what was put in: facts, passages, titles."""

import io
import zipfile
from functools import cache

import pytest

from data.make.documents import Columns, Heading, Manuscript, Paragraph, Table, make_documents
from data.make.facts import make_company
from data.make.render import render, render_docx, render_html, render_markdown
from labkit.data import data_folder, documents_folder, load_pairs, load_questions, updates_folder
from labkit.metrics import contains
from labkit.rag.ingest import FORMATS, Ingested, ingest

COMPANY = make_company()
VERSIONS = {"documents": make_documents(COMPANY), "updates": make_documents(COMPANY, updated=True)}
BOILERPLATE = ("cookie", "Imprint", "Privacy", "All rights reserved", "window.visits", "Accept")


@cache
def read(part: str) -> Ingested:
    return ingest(data_folder() / part, progress=False)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("part", VERSIONS)
def test_every_file_is_read_with_its_title(part):
    found = read(part)
    titles = {m.id: m.title for m in VERSIONS[part]}
    assert not found.rejected
    assert all(document.title == titles[document.id] for document in found.documents)
    assert part == "updates" or len(found.documents) == len(titles)


@pytest.mark.parametrize("part", VERSIONS)
@pytest.mark.parametrize("format_", ["pdf", "docx", "html", "markdown"])
def test_every_fact_and_passage_survives_the_readers(part, format_):
    texts = {d.id: flat(d.text) for d in read(part).documents if d.format == format_}
    stated = [(texts[m.id], s) for m in VERSIONS[part] if m.id in texts for s in m.statements]
    values = [contains(text, s.fact.value) for text, s in stated]
    passages = [flat(s.passage) in text for text, s in stated]
    assert len(stated) > 100 and sum(values) == sum(passages) == len(stated)


def test_every_fact_has_one_document_of_its_own():
    for part, manuscripts in VERSIONS.items():
        own = [s.fact for m in manuscripts for s in m.statements if not s.restated]
        assert len(own) == len(set(own)) and set(own) == set(COMPANY.facts(updated=part == "updates"))


def test_evidence_stands_in_the_document_that_it_names():
    today = {d.id: flat(d.text) for d in [*read("documents").documents, *read("updates").documents]}
    first = {d.id: flat(d.text) for d in read("documents").documents}
    for items, texts in ((load_questions(), today), (load_pairs(), first)):
        for e in (e for item in items for e in item.evidence):
            assert flat(e.passage) in texts[e.document] and contains(e.passage, e.value)
            assert all(contains(texts[name], e.entity) and contains(texts[name], e.value) for name in e.also)


def test_an_update_replaces_old_values_and_what_did_not_change_has_none():
    old, new = ({d.id: d for d in read(part).documents} for part in VERSIONS)
    touched = {m.id for m in VERSIONS["documents"] for s in m.statements if s.fact.key in COMPANY.changed}
    assert set(new) == touched < set(old)
    for before, after in zip(VERSIONS["documents"], VERSIONS["updates"], strict=True):
        pairs = zip(before.statements, after.statements, strict=True)
        assert all(a.passage == b.passage for a, b in pairs if a.fact == b.fact and a.passage.count(" | ") < 2)
    assert all(old[name].sha256 != document.sha256 for name, document in new.items())


def test_a_revision_dates_both_versions():
    for before, after in zip(VERSIONS["documents"], VERSIONS["updates"], strict=True):
        assert before.revision.startswith("Revision 1, ") and after.revision.startswith("Revision 2, ")
    shown = {d.id: d.text for d in read("updates").documents if d.format in ("pdf", "markdown")}
    assert all(m.revision in shown[m.id] for m in VERSIONS["updates"] if m.id in shown)


def test_each_sentence_names_its_entity():
    for manuscript in VERSIONS["documents"]:
        several = len({s.fact.entity for s in manuscript.statements}) > 1
        for s in manuscript.statements:
            assert not (several or s.passage.endswith(".")) or s.fact.entity in s.passage
        assert several or all(s.fact.entity in manuscript.title for s in manuscript.statements)


def test_boilerplate_of_web_pages_is_not_read():
    pages = [d for d in read("documents").documents if d.format == "html"]
    raw = [(documents_folder() / d.id).read_text("utf-8") for d in pages]
    assert all(mark in text for text in raw for mark in BOILERPLATE)
    assert not [d.id for d in pages if any(mark in d.text for mark in BOILERPLATE)]


def test_data_sheets_have_header_footer_page_numbers_a_table_and_two_columns():
    sheets = {d.id: d for d in read("documents").documents if d.format == "pdf" and "overview" not in d.id}
    assert len(sheets) == 35
    for manuscript in (m for m in VERSIONS["documents"] if m.id in sheets):
        text, pages = sheets[manuscript.id].text, sheets[manuscript.id].pages
        left, right = next(block for block in manuscript.blocks if isinstance(block, Columns)).columns
        assert len(pages) >= 2 and text.count("Norvale document library") == len(pages)
        assert "Property | Value" in text and f"{manuscript.revision}, page 2" in text[pages[1] :]
        assert flat(left[-1].text) in flat(text[pages[1] :]) and flat(right[-1].text) in flat(text[pages[1] :])


def test_word_files_hold_no_date_of_the_day_and_open_again():
    import docx

    manuscript = next(m for m in VERSIONS["documents"] if m.id.endswith("directory.docx"))
    made = render_docx(manuscript)
    with zipfile.ZipFile(io.BytesIO(made)) as package:
        assert {entry.date_time for entry in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert package.testzip() is None
    document = docx.Document(io.BytesIO(made))
    assert document.core_properties.title == "Site directory" and document.tables[0].style.name == "Table Grid"
    assert manuscript.revision == document.core_properties.comments


def test_markup_in_a_text_stays_text(tmp_path):
    """Characters that mean something to a format come out as they went in, and columns follow one another."""
    columns = Columns(((Paragraph("Left."), Paragraph("R&D <b>bold</b>.")), (Paragraph("Right."),)))
    blocks = (Heading("A & B <i>", 1), columns, Table((("Name", "Note"), ("R&D", "1 < 2"))))
    for ending in ("pdf", "docx", "html", "md"):
        name = f"odd.{ending}"
        (tmp_path / name).write_bytes(render(Manuscript(name, "A & B <i>", "Revision 1", blocks, ())))
    for document in ingest(tmp_path, progress=False).documents:
        text = flat(document.text)
        assert "Left. R&D <b>bold</b>. Right." in text and "R&D | 1 < 2" in text and "A & B <i>" in text


def test_formats_differ_but_say_the_same():
    manuscript = VERSIONS["documents"][0]
    for written in (render_html(manuscript), render_markdown(manuscript)):
        assert all(contains(written.decode(), s.fact.value) for s in manuscript.statements)
    assert {FORMATS["." + m.id.rpartition(".")[2]] for m in VERSIONS["documents"]} == {
        "pdf", "docx", "html", "markdown",
    }  # fmt: skip
    assert updates_folder().is_dir()
