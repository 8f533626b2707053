"""Documents become overlapping windows of tokens that know where they stand. Introduced in 02_chunk."""

from __future__ import annotations

import re
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from labkit.errors import LabError

if TYPE_CHECKING:
    from langchain_core.documents import Document as LangChainDocument
    from transformers import PreTrainedTokenizerBase

    from labkit.rag.ingest import Document

SEPARATORS = ["\n\n", "\n", ". ", "! ", "? ", "; ", ", ", " ", ""]


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
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerBase, size: int = 96, overlap: int = 14
) -> list[Chunk]:
    """Split documents into chunks of at most `size` tokens, each repeating up to `overlap` before it.

    Sizes are in tokens of the embedder's `tokenizer`. Cuts fall between paragraphs, lines, sentences, clauses
    or words, the first that fits; no text but white space is lost. Raises `LabError` unless
    0 <= overlap < size; warns if the embedder would cut off what is beyond its limit. Introduced in 02_chunk.

    >>> chunks = chunk_documents(found.documents, embedder.tokenizer, size=96, overlap=14)
    >>> chunks[3].id
    'handbook.pdf#3'
    """
    if not 0 <= overlap < size:
        raise LabError(f"overlap {overlap} does not fit chunk size {size}: choose 0 <= overlap < size")
    limit = tokenizer.model_max_length
    if size > limit:
        warnings.warn(
            f"chunks of {size} tokens, but the embedder reads {limit}: it silently ignores the rest",
            stacklevel=2,
        )
    return [chunk for document in documents for chunk in _chunks(document, tokenizer, size, overlap)]


def _chunks(document: Document, tokenizer: PreTrainedTokenizerBase, size: int, overlap: int) -> Iterator[Chunk]:
    text = document.text
    for number, (start, end) in enumerate(_spans(text, tokenizer, size - overlap)):
        if number and overlap:
            start = _reach_back(text, start, tokenizer, overlap)
        page = bisect_right(document.pages, start) or None
        name = f"{document.id}#{number}"
        yield Chunk(name, document.id, document.title, text[start:end], start, end, page)


def _spans(text: str, tokenizer: PreTrainedTokenizerBase, size: int) -> Iterator[tuple[int, int]]:
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
        separators=SEPARATORS,
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


def _reach_back(text: str, start: int, tokenizer: PreTrainedTokenizerBase, overlap: int) -> int:
    """The earliest start of a word from which at most `overlap` tokens lead up to `start`."""
    near = max(0, start - 40 * overlap)
    words = [near + match.start() for match in re.finditer(r"(?<!\S)\S+", text[near:start])][-overlap:]
    words = [word for word in words if word == 0 or text[word - 1].isspace()]
    first = bisect_left(words, -overlap, key=lambda word: -_count(tokenizer, text[word:start]))
    return words[first] if first < len(words) else start


def to_langchain(chunk: Chunk) -> LangChainDocument:
    """The chunk as a LangChain document: its place goes into the metadata. Introduced in 04_index.

    >>> to_langchain(chunk).metadata["start"] == chunk.start
    True
    """
    from langchain_core.documents import Document

    about = asdict(chunk)
    return Document(id=about.pop("id"), page_content=about.pop("text"), metadata=about)


def from_langchain(document: LangChainDocument) -> Chunk:
    """The chunk in a LangChain document; one from elsewhere counts as a document of its own.

    >>> from_langchain(to_langchain(chunk)) == chunk
    True
    """
    about, text, name = document.metadata, document.page_content, document.id or ""
    start = about.get("start", 0)
    place = (start, about.get("end", start + len(text)), about.get("page"))
    return Chunk(name, about.get("document_id", name), about.get("title", ""), text, *place)
