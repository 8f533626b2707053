"""A chunk of a book proves a fact when it covers the passage; the sweep keeps what it measured; figures are counted from rows."""

import pandas as pd
import pytest

import labkit
from labkit.compare import practices
from labkit.compare.claims import figure_names
from labkit.compare.practices import bind, sweep
from labkit.data import Evidence, load_questions
from labkit.rag.chunk import Chunk, chunk_documents
from labkit.rag.embed import load_embedder
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


def test_chunks_of_a_book_are_exact_spans_too(company):
    texts, tokenizer = {book.id: book.text for book in company.books}, load_embedder("bundled").tokenizer
    for by in ("paragraph", "heading"):
        chunks = chunk_documents(company.books, tokenizer, 96, 14, by)
        assert all(texts[c.document_id][c.start : c.end] == c.text for c in chunks)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield labkit.open("pocket", size="smoke", progress=False)


@pytest.mark.slow
def test_a_sweep_has_a_row_for_each_question_and_is_kept(lab, monkeypatch):
    swept = sweep(lab, [64, 128, 256, 500], [0.15])
    assert set(swept["size"]) == {64, 500}, "a smoke run sweeps little"
    answerable = {item.id for item in lab.questions if item.evidence}
    assert all(set(rows.id) == answerable for _, rows in swept.groupby("size"))
    assert swept.correct.notna().groupby(swept["size"]).sum().eq(6).all()
    assert (swept.read.dropna() <= swept.found[swept.read.notna()]).all(), "a prompt shows no more than was found"
    assert swept.prompt_tokens.max() <= 1024 and swept.passages.between(1, 5)[swept.passages.notna()].all()
    small, large = (swept[swept["size"] == size].iloc[0] for size in (64, 500))
    assert small.chunks > large.chunks and small.truncated == 0 < large.truncated
    assert small.megabytes == small.chunks * 384 * 4 / 1e6
    monkeypatch.setattr(practices, "_measure", None)
    pd.testing.assert_frame_equal(sweep(lab, [64, 128, 256, 500], [0.15]), swept)


def test_an_index_of_yesterday_misses_what_changed_and_another_embedder_misses_nearly_all(lab):
    made = practices.embedding(lab)
    assert set(made) == set(figure_names("03_embed"))
    assert all(value.low > 0 for value in made.values())


def test_overlap_is_judged_question_by_question_over_all_sizes(lab, monkeypatch):
    rows = [
        {"id": n, "size": size, "overlap": overlap, "found": float(overlap > 0), "correct": float(n == 0)}
        for n in range(4)
        for size in (64, 500)
        for overlap in (0.0, 0.1, practices.OVERLAP)
    ]
    monkeypatch.setattr(
        practices, "sweep", lambda lab, overlaps: pd.DataFrame(r for r in rows if r["overlap"] in overlaps)
    )
    made = practices.chunking(lab)
    assert set(made) == set(figure_names("02_chunk"))
    assert {name.partition(" ")[0]: value.mean for name, value in made.items()} == {"accuracy": 0, "recall": 1}


def test_an_adapter_saves_bytes_and_is_compared_with_all_weights_fact_by_fact(lab, monkeypatch):
    rows = [{"id": n, "seed": 0, "correct": int(n < 3)} for n in range(4)]
    both = pd.concat([pd.DataFrame(rows).assign(arm="tuned"), pd.DataFrame(rows).assign(arm="full", correct=1)])
    monkeypatch.setattr(practices, "full_tuning", lambda lab: both)
    made = practices.adapting(lab)
    assert set(made) == set(figure_names("09_adapters"))
    assert made["accuracy: lora - full tuning"].mean == -0.25
    assert 0 < made["trained bytes: lora / full"].mean < 0.2
    assert 0 < made["bytes of the weights: qlora / full"].mean < 0.5


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_warns_of_truncation_and_judges_the_advice(lesson):
    said = lesson("02_chunk")
    assert "chunks are exact spans of their documents" in said and "start indexes are wrong or missing" in said
    assert "chunks of up to 500 tokens exceed" in said
    verdicts = [line for line in said.splitlines() if line.startswith("• ")]
    assert len(verdicts) == 6
    assert all(any(word in line for word in ("better", "worse", "not told apart")) for line in verdicts)
