"""Documents become overlapping chunks that know where they stand."""

from __future__ import annotations

import re
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError

if TYPE_CHECKING:
    from langchain_core.documents import Document as LangChainDocument
    from transformers import PreTrainedTokenizerBase

    from labkit.rag.ingest import Document

_WORD, _SENTENCE = r"\s+", r"(?<=[.!?])\s+|\n+"
CUTS = {
    "token": [_WORD, ""],
    "sentence": [_SENTENCE, _WORD, ""],
    "paragraph": [r"\n\n", r"\n", r"\. ", "! ", r"\? ", "; ", ", ", " ", ""],
    "heading": [_SENTENCE, _WORD, ""],
}
"""Where a text may be cut, by kind of chunk: patterns, those tried first coming first."""
# What may be a heading: a line marked as in Markdown, or a short one; `_level` looks at what is around it. LangChain's
# MarkdownHeaderTextSplitter would forget where a section stands, and knows no heading without a mark.
_LINE = re.compile(r"^[ \t]*(?:(?P<marks>#{1,6})[ \t]+(?P<marked>\S.*)|(?P<plain>[^\W_].{0,79}))$", re.MULTILINE)
_PLAIN_LEVEL = 7  # below every marked heading


@dataclass(frozen=True)
class Chunk:
    """A span of a document: `document.text[start:end] == text`; `page` counts from 1, None without pages."""

    id: str
    document_id: str
    title: str
    text: str
    start: int
    end: int
    page: int | None = None

    @property
    def embedding_text(self) -> str:
        """What is embedded and indexed: the document's title, then the text."""
        return f"{self.title}: {self.text}" if self.title else self.text


def chunk_documents(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerBase,
    size: int = 96,
    overlap: int = 14,
    by: str = "paragraph",
) -> list[Chunk]:
    """Split documents into chunks of at most `size` tokens, each repeating up to `overlap` before it.

    Sizes are in tokens of the embedder's `tokenizer`; no text but white space is lost. `by` says where cuts fall:

    - "token": after the last word that fits;
    - "sentence": after the last sentence or line that fits; what is repeated are whole sentences too;
    - "paragraph": between paragraphs, lines, sentences, clauses or words, the first of these that fits;
    - "heading": by sentence within a section, and never across its heading, which joins the chunk's title.

    Raises `LabError` unless 0 <= overlap < size; warns of chunks that the embedder would cut off, because with
    their title they exceed its limit.
    """
    if not 0 <= overlap < size:
        raise LabError(f"overlap {overlap} does not fit chunk size {size}: choose 0 <= overlap < size")
    if by not in CUTS:
        raise LabError(f"chunks cannot be cut by '{by}': choose {', '.join(CUTS)}")
    chunks = [chunk for document in documents for chunk in _chunks(document, tokenizer, size, overlap, by)]
    if unread := truncated(chunks, tokenizer):
        warnings.warn(
            f"{len(unread)} of {len(chunks)} chunks of up to {size} tokens exceed, with their title, the "
            f"{tokenizer.model_max_length} tokens that the embedder reads: it silently ignores the rest",
            stacklevel=2,
        )
    return chunks


def truncated(chunks: Sequence[Chunk], tokenizer: PreTrainedTokenizerBase) -> list[Chunk]:
    """The chunks whose end the embedder does not see: title, text and its own marks exceed its limit."""
    limit = tokenizer.model_max_length
    texts = [chunk.embedding_text for chunk in chunks]
    tokens = tokenizer(texts, verbose=False)["input_ids"] if texts else []
    return [chunk for chunk, ids in zip(chunks, tokens, strict=True) if len(ids) > limit]


def _chunks(
    document: Document, tokenizer: PreTrainedTokenizerBase, size: int, overlap: int, by: str
) -> Iterator[Chunk]:
    text, number = document.text, 0
    for section in sections(text) if by == "heading" else [Section(0, len(text))]:
        title = ", ".join(dict.fromkeys(filter(None, [document.title, *section.headings])))
        first = True
        for start, end in _spans(text[section.start : section.end], tokenizer, size - overlap, by):
            start, end = section.start + start, section.start + end
            if not first and overlap:
                start = _reach_back(text, section.start, start, tokenizer, overlap, by)
            page = bisect_right(document.pages, start) or None
            yield Chunk(f"{document.id}#{number}", document.id, title, text[start:end], start, end, page)
            first, number = False, number + 1


def _spans(text: str, tokenizer: PreTrainedTokenizerBase, size: int, by: str) -> Iterator[tuple[int, int]]:
    """Spans that follow one another, without the white space around them.

    The splitter's own overlap and `add_start_index` are not used: it keeps only whole pieces as overlap, and
    searches for the start by a distance in tokens taken as characters, which misses when text repeats.
    """
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=size,
        chunk_overlap=0,
        # A piece without a token counts as one: the splitter would repeat it.
        length_function=lambda piece: _count(tokenizer, piece) or bool(piece),
        separators=CUTS[by],
        is_separator_regex=True,
        keep_separator="end",
        strip_whitespace=False,
    )
    end = 0
    for piece in splitter.split_text(text):
        start, end = end, end + len(piece)
        if piece.strip():
            yield start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


def _count(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    return len(tokenizer.tokenize(text, verbose=False))  # verbose warns of long texts, which are cut here


def _reach_back(text: str, floor: int, start: int, tokenizer: PreTrainedTokenizerBase, overlap: int, by: str) -> int:
    """The earliest start of a sentence, or else of a word, from which `overlap` tokens or fewer lead up to `start`."""
    near = max(floor, start - 40 * overlap)  # more characters than `overlap` tokens have
    unit = _SENTENCE if CUTS[by][0] == _SENTENCE else _WORD
    starts = [near + match.end() for match in re.finditer(unit, text[near:start])]
    starts = ([floor] if near == floor else []) + [place for place in starts if place < start]
    starts = starts[-overlap:]  # each is a token at least
    first = bisect_left(starts, -overlap, key=lambda place: -_count(tokenizer, text[place:start]))
    return starts[first] if first < len(starts) else start


@dataclass(frozen=True)
class Section:
    """Characters `start` to `end` of a text, and the headings above them, the widest first."""

    start: int
    end: int
    headings: tuple[str, ...] = ()


def sections(text: str) -> Iterator[Section]:
    """The sections of a text, each beginning with its heading; together they are the whole text.

    A heading is a line marked with `#` as in Markdown (CommonMark, ATX headings), or a short line that stands
    alone, starts with a capital or a digit and ends without a punctuation mark. A heading followed at once by
    another one begins the same section.

    >>> [section.headings for section in sections("# Pumps\\n\\nWeight\\n\\nIt weighs 12 kg.")]
    [('Pumps', 'Weight')]
    """
    start = body = 0
    stack: dict[int, str] = {}
    for match in _LINE.finditer(text):
        if not (level := _level(text, match)):
            continue
        if text[body : match.start()].strip():
            yield Section(start, match.start(), tuple(stack.values()))
            start = match.start()
        body = match.end()
        stack = {above: heading for above, heading in stack.items() if above < level}
        stack[level] = (match["marked"] or match["plain"]).strip(" \t#")
    yield Section(start, len(text), tuple(stack.values()))


def _level(text: str, match: re.Match[str]) -> int:
    """1 to 6 for a marked heading, 7 for a plain one, 0 for any other line."""
    if match["marks"]:
        return len(match["marks"])
    line = match["plain"].rstrip()
    before = match.start() == 0 or text.endswith("\n\n", 0, match.start())
    alone = before and text.startswith("\n\n", match.end())
    named = not line[0].islower() and line[-1].isalnum() and " | " not in line
    return _PLAIN_LEVEL if alone and named else 0


def to_langchain(chunk: Chunk, **about: Any) -> LangChainDocument:
    """The chunk as a LangChain document: its place, and what else is known about it, go into the metadata."""
    from langchain_core.documents import Document

    about = asdict(chunk) | about
    return Document(id=about.pop("id"), page_content=about.pop("text"), metadata=about)


def from_langchain(document: LangChainDocument) -> Chunk:
    """The chunk in a LangChain document; one from elsewhere counts as a document of its own."""
    about, text, name = document.metadata, document.page_content, document.id or ""
    start = about.get("start", 0)
    place = (start, about.get("end", start + len(text)), about.get("page"))
    return Chunk(name, about.get("document_id", name), about.get("title", ""), text, *place)
