"""A chunk is an exact span of its document; nothing but white space falls between chunks."""

import warnings
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import LabError
from labkit.rag.chunk import CUTS, chunk_documents, from_langchain, sections, to_langchain, truncated
from labkit.rag.ingest import Document

SENTENCES = " ".join(f"Sentence {i} says that pump {i} weighs {i * 7} kilograms." for i in range(120))
PARAGRAPHS = "\n\n".join(SENTENCES[i : i + 300] for i in range(0, len(SENTENCES), 300))


def make(text: str, pages: tuple[int, ...] = ()) -> Document:
    return Document("a.txt", "A", text, "text", "0", pages)


def tokens(embedder, text: str) -> int:
    return len(embedder.tokenizer.tokenize(text))


def check_spans(text, chunks):
    end = 0
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text != ""
        assert not text[end : chunk.start].strip(), "text was lost between two chunks"
        assert chunk.end > end
        end = chunk.end
    assert not text[end:].strip(), "text was lost at the end"


words = st.text(st.sampled_from("abA é世\u0301 \n\t.,;!?|-#😀\u200b\u00a0\x1c0"), max_size=300)
repeated = st.builds(lambda piece, times: piece * times, st.text(max_size=12), st.integers(0, 60))


@settings(max_examples=150)
@given(
    text=words | repeated | st.text(max_size=300),
    size=st.integers(2, 40),
    part=st.floats(0, 0.9),
    by=st.sampled_from(sorted(CUTS)),
)
def test_any_text_is_cut_into_exact_spans_and_none_is_lost(embedder, text, size, part, by):
    chunks = chunk_documents([make(text)], embedder.tokenizer, size, int(part * size), by)
    check_spans(text, chunks)
    assert [chunk.id for chunk in chunks] == [f"a.txt#{n}" for n in range(len(chunks))]


@pytest.mark.parametrize("text", [SENTENCES, PARAGRAPHS, SENTENCES.replace(". ", ".\n")])
@pytest.mark.parametrize(("size", "overlap"), [(96, 14), (32, 0), (64, 19), (240, 70)])
@pytest.mark.parametrize("by", ["paragraph", "token"])
def test_sizes_and_overlaps_are_kept_in_tokens(embedder, text, size, overlap, by):
    chunks = chunk_documents([make(text)], embedder.tokenizer, size, overlap, by)
    check_spans(text, chunks)
    assert max(tokens(embedder, chunk.text) for chunk in chunks) <= size
    for before, after in zip(chunks, chunks[1:], strict=False):
        shared = tokens(embedder, text[after.start : before.end])
        assert shared <= overlap
        assert shared > overlap - 6, "overlap reaches back to the last word that fits"


def test_text_that_repeats_is_still_located_exactly(embedder):
    text = "the same line again\n" * 200
    chunks = chunk_documents([make(text)], embedder.tokenizer, 24, 4)
    check_spans(text, chunks)
    assert [chunk.start for chunk in chunks] == sorted({chunk.start for chunk in chunks})


def test_cuts_fall_between_sentences(embedder):
    chunks = chunk_documents([make(SENTENCES)], embedder.tokenizer, 40, 0)
    assert all(chunk.text.startswith("Sentence") and chunk.text.endswith(".") for chunk in chunks)


def test_a_chunk_by_token_is_as_full_as_words_allow(embedder):
    chunks = chunk_documents([make(SENTENCES)], embedder.tokenizer, 40, 0, by="token")
    assert min(tokens(embedder, chunk.text) for chunk in chunks[:-1]) > 40 - 6
    assert any(not chunk.text.endswith(".") for chunk in chunks)


def test_a_chunk_by_sentence_holds_and_repeats_whole_sentences(embedder):
    chunks = chunk_documents([make(SENTENCES)], embedder.tokenizer, 60, 18, by="sentence")
    check_spans(SENTENCES, chunks)
    assert all(chunk.text.startswith("Sentence") and chunk.text.endswith(".") for chunk in chunks)
    shared = [SENTENCES[b.start : a.end].strip() for a, b in zip(chunks, chunks[1:], strict=False)]
    assert all(text.startswith("Sentence") and text.count(".") == 1 for text in shared)


def test_a_sentence_longer_than_a_chunk_is_cut_between_words(embedder):
    text = "Start. " + "word " * 60 + "end. Last one."
    chunks = chunk_documents([make(text)], embedder.tokenizer, 16, 4, by="sentence")
    check_spans(text, chunks)
    assert max(tokens(embedder, chunk.text) for chunk in chunks) <= 16


HANDBOOK = "\n\n".join(["# Pumps", SENTENCES[:600], "## Weight", SENTENCES[:200], "# Valves", "Care", "Oil it twice."])


def test_a_chunk_by_heading_stays_in_its_section_and_is_named_after_it(embedder):
    chunks = chunk_documents([make(HANDBOOK)], embedder.tokenizer, 48, 12, by="heading")
    check_spans(HANDBOOK, chunks)
    assert list(dict.fromkeys(c.title for c in chunks)) == ["A, Pumps", "A, Pumps, Weight", "A, Valves, Care"]
    starts = [chunk for chunk in chunks if chunk.text.startswith("#")]
    assert [chunk.text.split("\n")[0] for chunk in starts] == ["# Pumps", "## Weight", "# Valves"]
    assert all("#" not in chunk.text.lstrip("# ") for chunk in chunks)
    assert [chunk.id for chunk in chunks] == [f"a.txt#{n}" for n in range(len(chunks))]


def test_without_headings_a_chunk_by_heading_is_one_by_sentence(embedder):
    both = [chunk_documents([make(PARAGRAPHS)], embedder.tokenizer, 64, 10, by) for by in ("heading", "sentence")]
    assert both[0] == both[1]


def test_pages_count_from_one(embedder):
    text = "page one.\n\n" + "second page has more words in it. " * 5
    chunks = chunk_documents([make(text, pages=(0, 11))], embedder.tokenizer, 8, 0)
    assert chunks[0].page == 1 and {chunk.page for chunk in chunks[1:]} == {2}
    assert {chunk.page for chunk in chunk_documents([make(text)], embedder.tokenizer)} == {None}


def test_a_word_longer_than_a_chunk_is_cut(embedder):
    text = "internationalisation-" * 4 + " end " + "x1" * 90
    check_spans(text, chunk_documents([make(text)], embedder.tokenizer, 8, 2))


def test_white_space_alone_gives_no_chunk(embedder):
    assert chunk_documents([make(" \n\n\t ")], embedder.tokenizer) == []


@pytest.mark.parametrize(("size", "overlap"), [(10, 10), (10, 11), (10, -1), (0, 0)])
def test_an_impossible_overlap_is_an_error(embedder, size, overlap):
    with pytest.raises(LabError, match="overlap"):
        chunk_documents([make("text")], embedder.tokenizer, size, overlap)


def test_another_kind_of_cut_is_an_error(embedder):
    with pytest.raises(LabError, match="'page'.*token, sentence, paragraph, heading"):
        chunk_documents([make("text")], embedder.tokenizer, by="page")


def test_chunks_that_the_embedder_would_cut_off_are_counted_in_one_warning(embedder):
    with pytest.warns(UserWarning) as seen:
        chunks = chunk_documents([make(SENTENCES), make(PARAGRAPHS)], embedder.tokenizer, 500, 50)
    assert len(seen) == 1
    beyond = truncated(chunks, embedder.tokenizer)
    assert beyond and str(seen[0].message).startswith(f"{len(beyond)} of {len(chunks)} chunks of up to 500 ")
    assert "256 tokens that the embedder reads" in str(seen[0].message)
    assert seen[0].filename == __file__, "the warning points to the caller"


def test_a_title_counts_towards_the_embedders_limit(embedder):
    def long(title: str) -> list[str]:
        chunks = chunk_documents([replace(make(SENTENCES), title=title)], embedder.tokenizer, 250, 50)
        return [chunk.id for chunk in truncated(chunks, embedder.tokenizer)]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert long("A") == []
    with pytest.warns(UserWarning, match="with their title"):
        assert long("A handbook of many long words " * 3)


def test_a_chunk_survives_langchain(chunks):
    assert [from_langchain(to_langchain(chunk)) for chunk in chunks] == list(chunks)
    assert chunks[0].embedding_text == f"{chunks[0].title}: {chunks[0].text}"


LINES = st.sampled_from(
    ["# One", "## Two", "###### Six ##", "Plain heading", "a sentence.", "A | B", "", "", "- item", "x"]
)


@given(st.lists(LINES, max_size=30).map("\n".join) | st.text("#A \n.|", max_size=60))
def test_sections_follow_one_another_and_cover_any_text(text):
    found = list(sections(text))
    assert [found[0].start, found[-1].end] == [0, len(text)]
    assert all(a.end == b.start for a, b in zip(found, found[1:], strict=False))


def headings(text: str) -> list[tuple[str, ...]]:
    return [section.headings for section in sections(text)]


def test_marked_headings_nest_by_their_level():
    text = "intro\n\n# One\n\na.\n\n## Two ##\n\nb.\n\n# Three\n\nc."
    assert headings(text) == [(), ("One",), ("One", "Two"), ("Three",)]


def test_a_plain_heading_is_below_every_marked_one():
    assert headings("# One\n\na.\n\nKey facts\n\nb.\n\n## Two\n\nc.") == [
        ("One",),
        ("One", "Key facts"),
        ("One", "Two"),
    ]


@pytest.mark.parametrize("line", ["Ends with a stop.", "- An item", "A | B", "lower case", "A question?", "A" * 81])
def test_what_is_no_heading(line):
    assert headings(f"# One\n\na.\n\n{line}\n\nb.") == [("One",)]


def test_a_line_within_a_paragraph_is_no_heading():
    assert headings("# One\n\nA line\nAnother line\n\nb.") == [("One",)]


def test_headings_without_text_between_them_begin_one_section():
    assert headings("# One\n\n## Two\n\na.") == [("One", "Two")]


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_warns_of_truncation_and_judges_the_advice(lesson):
    said = lesson("02_chunk")
    assert "chunks are exact spans of their documents" in said and "start indexes are wrong or missing" in said
    assert "chunks of up to 500 tokens exceed" in said and "Chunks should overlap" in said
    verdicts = [line for line in said.splitlines() if line.startswith("• ")]
    assert len(verdicts) == 6
    assert all(any(word in line for word in ("better", "worse", "not told apart")) for line in verdicts)
