# %% [markdown]
# # 02 · Chunk: exercises
#
# You will write the arithmetic of chunks: where they begin and end, what falls between two of them, and how many there
# are.

# %%
from checks import Question, exercise

# %% [markdown]
# ## 1. Spans with overlap
#
# A chunker by tokens slides a window over a document: the window is `size` tokens wide, and each chunk repeats the last
# `overlap` tokens of the one before. The last window ends with the document, and nothing comes after it: a chunk that
# repeats only what its neighbour holds already would be a wasted vector.


# %% tags=["solution"]
@exercise(
    cases=[(10, 4, 1), (10, 4, 0), (3, 4, 1), (4, 4, 1), (0, 4, 1), (7, 4, 1), (9, 5, 3)],
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
# ## 2. A fact at the seam
#
# A fact is found whole only if one chunk holds all of it. A fact that two chunks share in halves is stated by neither.


# %% tags=["solution"]
@exercise(
    cases=[
        ([(0, 4), (4, 8)], [(0, 2), (3, 5), (6, 8)]),
        ([(0, 4), (3, 7)], [(3, 4), (2, 5), (0, 4), (3, 7)]),
        ([(0, 4)], [(3, 5), (4, 5)]),
        ([], [(0, 1)]),
    ],
    hint="A chunk holds a fact if it starts no later and ends no earlier. One such chunk is enough.",
    wrong=[
        ("start <= first and last <= end", "start < last and first < end"),
        ("start <= first and last <= end", "start < first and last < end"),
        ("any(", "all("),
    ],
)
def whole(chunks: list[tuple[int, int]], facts: list[tuple[int, int]]) -> list[bool]:
    """For each fact, given as its span (first, last), whether some chunk holds the whole span.

    >>> whole([(0, 4), (4, 8)], [(0, 2), (3, 5)])
    [True, False]
    """
    return [any(start <= first and last <= end for start, end in chunks) for first, last in facts]


# %% [markdown]
# ## 3. What overlap costs
#
# Overlap is paid in vectors: a step of `size - overlap` makes more chunks than a step of `size`. How many chunks does a
# document have, without making them?


# %% tags=["solution"]
@exercise(
    cases=[(10, 4, 1), (10, 4, 0), (3, 4, 1), (4, 4, 1), (5, 4, 1), (0, 4, 1), (1000, 64, 13), (7, 4, 1)],
    hint="The first chunk covers size tokens, every further one size - overlap new ones: round the rest up.",
    wrong=[
        ("-(-max(n - size, 0) // (size - overlap))", "max(n - size, 0) // (size - overlap)"),
        ("max(n - size, 0)", "n"),
        ("bool(n) + ", "1 + "),
    ],
)
def chunk_count(n: int, size: int, overlap: int) -> int:
    """How many chunks `spans` would make of `n` tokens, by arithmetic alone, without a loop.

    >>> chunk_count(10, 4, 1)
    3
    >>> chunk_count(0, 4, 1)
    0
    """
    return bool(n) + -(-max(n - size, 0) // (size - overlap))


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "A chunk is longer than the embedder's limit. What happens?",
        [
            "The embedder raises an error.",
            "What exceeds the limit is left out without a word.",
            "The vector is longer.",
        ],
        "b",
        "What exceeds the limit is invisible to a dense search; only a count of tokens reveals it.",
    ),
    Question(
        "Why does a chunk keep its document and its span of characters?",
        [
            "So that an answer can show where it was said.",
            "So that chunks can be embedded faster.",
            "So that two chunks never overlap.",
        ],
        "a",
        "A span can be checked: cutting the document there gives the chunk's very text.",
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
