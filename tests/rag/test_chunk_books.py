"""A book holds its documents, and a chunk proves a fact when it covers the passage."""

import pytest

from labkit.data import Evidence, load_questions
from labkit.rag.chunk import Chunk, chunk_documents
from labkit.rag.chunk_books import bind
from labkit.rag.ingest import Document

PUMP = "Pump data sheet\n\nThe pump weighs\n12 kilograms.\n\nIt is blue."
LIST = "Price list\n\nName | Weight\nPump | 12 kilograms\nValve | 3 kilograms"


def document(name: str, text: str) -> Document:
    return Document(name, text.split("\n")[0], text, "text", "0")


@pytest.fixture
def library():
    return bind([document("tools/pump.txt", PUMP), document("lists/all.txt", LIST), document("tools/b.txt", "B\n\nc.")])


WEIGHT = Evidence(
    "tools/pump.txt", "12 kilograms", "The pump weighs 12 kilograms.", "tool", "Pump", "weight", ("lists/all.txt",)
)


def chunk(library, book: str, start: int, end: int) -> Chunk:
    text = next(b.text for b in library.books if b.id == book)
    return Chunk("x", book, "", text[start:end], start, end)


def test_a_folder_becomes_one_book_with_a_chapter_for_each_document(library):
    assert [book.id for book in library.books] == ["tools", "lists"]
    tools = library.books[0].text
    assert tools.startswith("# Pump data sheet\n\nThe pump") and tools.count("Pump data sheet") == 1
    assert library.text("tools/b.txt") == "# B\n\nc.\n\n" == tools[library.places["tools/b.txt"][1] :]


def test_a_passage_is_found_across_line_breaks(library):
    book, start, end = library.span(WEIGHT)
    assert library.books[0].id == book and library.books[0].text[start:end] == "The pump weighs\n12 kilograms."


def test_only_a_chunk_with_the_whole_passage_proves_it(library):
    book, start, end = library.span(WEIGHT)
    assert library.proves(chunk(library, book, start, end), WEIGHT)
    assert not library.proves(chunk(library, book, start + 1, end), WEIGHT)
    assert not library.proves(chunk(library, book, start, end - 1), WEIGHT)


def test_a_line_that_restates_a_fact_proves_it_with_its_name_only(library):
    text = library.text("lists/all.txt")
    row = text.index("Pump | 12")
    assert library.proves(chunk(library, "lists", row, row + len("Pump | 12 kilograms")), WEIGHT)
    assert not library.proves(chunk(library, "lists", row + len("Pump"), len(text)), WEIGHT)
    assert not library.proves(chunk(library, "lists", 0, row + len("Pump | 12")), WEIGHT)


def test_a_lost_passage_or_document_is_proved_by_nothing(library):
    lost = Evidence("tools/pump.txt", "blue", "It is painted blue.", "tool", "Pump", "colour")
    absent = Evidence("tools/none.txt", "blue", "It is blue.", "tool", "Pump", "colour")
    assert library.span(lost) is None and library.span(absent) is None
    assert not library.proves(chunk(library, "tools", 0, 70), lost)


@pytest.fixture(scope="module")
def company():
    from labkit.data import documents_folder, updates_folder
    from labkit.rag.ingest import ingest

    merged = {
        d.id: d for folder in (documents_folder(), updates_folder()) for d in ingest(folder, progress=False).documents
    }
    return bind(merged.values())


def test_every_passage_of_the_questions_stands_in_the_companys_books(company):
    evidence = [fact for item in load_questions() for fact in item.evidence]
    assert len(evidence) > 200 and all(company.span(fact) for fact in evidence)


def test_whole_books_prove_every_fact(company):
    whole = [Chunk(b.id, b.id, "", b.text, 0, len(b.text)) for b in company.books]
    evidence = [fact for item in load_questions() for fact in item.evidence]
    assert all(any(company.proves(book, fact) for book in whole) for fact in evidence)


def test_chunks_of_a_book_are_exact_spans_too(company, embedder):
    texts = {book.id: book.text for book in company.books}
    for by in ("paragraph", "heading"):
        chunks = chunk_documents(company.books, embedder.tokenizer, 96, 14, by)
        assert all(texts[c.document_id][c.start : c.end] == c.text for c in chunks)
