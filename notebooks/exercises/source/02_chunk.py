# %% [markdown]
# # 02 · Chunk: exercises
#
# You will cut the company's documents into windows, find the questions that lose their passage at a cut, and count the
# chunks that overlap costs.

# %%
from functools import cache

from checks import Question, exercise, open_lab
from tokenizers import Tokenizer

lab = open_lab()


@cache
def texts():
    """The text of each of the company's documents, by its id."""
    return {document.id: document.text for document in lab.documents}


@cache
def tokens(document):
    """The (start, end) of each token of a document in its text, as the pocket model's tokenizer cuts it."""
    tokenizer = Tokenizer.from_file(f"{lab.profile.model_path}/tokenizer.json")
    return tokenizer.encode(texts()[document]).offsets


# %% [markdown]
# ## 1. Windows with overlap
#
# A chunker by tokens slides a window over a document. The window is `size` tokens wide, and each chunk repeats the last
# `overlap` tokens of the chunk before it. The last window ends with the document: a further chunk would repeat only
# what its neighbour holds already.


# %% tags=["solution"]
@exercise(
    cases=[(10, 4, 1), (10, 4, 0), (3, 4, 1), (4, 4, 1), (0, 4, 1), (7, 4, 1), (9, 5, 3), (428, 96, 14)],
    hint="The next chunk starts size - overlap after this one. Stop once a chunk has reached the end.",
    wrong=[
        ("start += size - overlap", "start += size"),
        ("if end == n:", "if start >= n:"),
        ("while n:", "while True:"),
    ],
)
def spans(n: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """The (start, end) of each chunk of a document of `n` tokens, in order; end is the first token that is not in it.

    No chunk is longer than `size`; `overlap` is smaller than `size`. A document without tokens has no chunks.

    >>> spans(10, 4, 1)
    [(0, 4), (3, 7), (6, 10)]
    """
    found, start = [], 0
    while n:
        end = min(start + size, n)
        found.append((start, end))
        if end == n:
            break
        start += size - overlap
    return found


# %% [markdown]
# ## 2. Break the chunker
#
# An answer is found only if one chunk holds its whole gold passage. Cut the documents too small, and some questions
# lose their passage: a part of it stands in one chunk and the rest in the next. Cut the company's documents with your
# `spans`. Which questions are hurt, and how much overlap brings them back?


# %% tags=["solution"]
@exercise(
    cases=[(2000, 0), (96, 14), (24, 0), (24, 12), (12, 0)],
    hint="A chunk's text goes from the start of its first token to the end of its last, which is number end - 1.",
    wrong=[
        ("gold.passage in text[", "gold.value in text["),
        ("at[end - 1][1]", "at[end - 1][0]"),
        ("if not any(", "if any("),
        ("size, overlap)", "size, 0)"),
    ],
    seconds=10,
)
def whole(size: int, overlap: int) -> list[str]:
    """The ids of those of the first 70 questions that have no chunk with their whole passage, in order.

    A question of `lab.questions` has one `evidence` here: its `passage`, and the id of the `document`, whose text is in
    `texts()`. Cut the `tokens` of this document with your `spans`.

    >>> whole(2000, 0)
    []
    """
    found = []
    for question in lab.questions[:70]:
        gold = question.evidence[0]
        text, at = texts()[gold.document], tokens(gold.document)
        cuts = spans(len(at), size, overlap)
        if not any(gold.passage in text[at[start][0] : at[end - 1][1]] for start, end in cuts):
            found.append(question.id)
    return found


# %% [markdown]
# ## 3. What overlap costs
#
# Every chunk is a vector to compute, to store and to search. A step of `size - overlap` makes more chunks than a step
# of `size`. How many vectors do the company's documents need, without cutting them?


# %% tags=["solution"]
@exercise(
    cases=[(1, 96, 14), (10, 96, 14), (117, 96, 0), (117, 96, 14), (117, 96, 48), (117, 24, 8)],
    hint="The first chunk covers size tokens, every further one size - overlap new tokens: round the rest up.",
    wrong=[
        ("-(-max(length - size, 0) // (size - overlap))", "max(length - size, 0) // (size - overlap)"),
        ("max(length - size, 0)", "length"),
        ("1 + ", ""),
    ],
)
def chunk_count(n: int, size: int, overlap: int) -> int:
    """How many windows `spans` would make of the first `n` documents of `texts()` together, by arithmetic alone.

    The length of a document is that of its `tokens`; none is empty.

    >>> chunk_count(1, 96, 14)
    6
    """
    lengths = [len(tokens(document)) for document in list(texts())[:n]]
    return sum(1 + -(-max(length - size, 0) // (size - overlap)) for length in lengths)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "A chunk is longer than the embedder's limit. What happens?",
        [
            "The embedder raises an error.",
            "The embedder leaves out what exceeds the limit, without a word.",
            "The vector is longer.",
        ],
        "b",
        "What exceeds the limit is invisible to a dense search; only a count of tokens reveals it.",
    ),
    Question(
        "Chunks of 24 tokens lost passages; an overlap of 12 tokens brought some back. Which passages does an overlap save?",
        [
            "Those that are not longer than the overlap, and some longer ones.",
            "All of them.",
            "Those at the end of a document.",
        ],
        "a",
        "A passage that the overlap can hold is whole in one of the two neighbours. A longer one may still be cut.",
    ),
    Question(
        "Five chunks of 200 tokens did better than five of 50. What does that show?",
        [
            "Larger chunks are better.",
            "Larger chunks are easier to embed.",
            "Little: the reader was given four times the text.",
        ],
        "c",
        "Compare sizes at the same number of tokens read, and look at the answers too.",
    ),
]
