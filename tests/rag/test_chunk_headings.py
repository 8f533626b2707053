"""Sections cover the text, each under its headings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.rag.chunk_headings import sections

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
