# %% [markdown]
# # 03 · Embed: exercises
#
# You will compute what "similar" means, search with one multiplication, and save an embedder its work.

# %%
import numpy as np
from checks import Question, exercise

# %% [markdown]
# ## 1. Cosine similarity
#
# Two vectors are similar if they point the same way, however long they are. The cosine of the angle between them is
# their inner product over the product of their lengths: 1 for the same direction, 0 for a right angle, -1 for opposite
# ones.


# %% tags=["solution"]
@exercise(
    cases=[
        ([1, 0], [0, 1]),
        ([3, 4], [4, 3]),
        ([1, 2, 3], [-2, -4, -6]),
        ([1, 1], [5, 5]),
        ([0.5, 0], [0.5, 0.5]),
        ([0, 0], [1, 2]),
    ],
    hint="The length is the square root of the vector's product with itself. Ask for the zero vector before you divide.",
    wrong=[
        ("np.sqrt(x @ x) * np.sqrt(y @ y)", "(x @ x) * (y @ y)"),
        ("np.sqrt(x @ x) * np.sqrt(y @ y)", "len(x)"),
        ("float(x @ y / lengths)", "abs(float(x @ y / lengths))"),
    ],
)
def cosine(a: list[float], b: list[float]) -> float:
    """The cosine of the angle between two vectors, from -1 to 1; 0 if one of them has only zeros.

    >>> cosine([3, 4], [4, 3])
    0.96
    """
    x, y = np.array(a, float), np.array(b, float)
    lengths = np.sqrt(x @ x) * np.sqrt(y @ y)
    return float(x @ y / lengths) if lengths else 0.0


# %% [markdown]
# ## 2. Search is one multiplication
#
# Make every chunk's vector one long, once. Then a question's cosine with *all* chunks is one product of a matrix with a
# vector, and the search is a sort.


# %% tags=["solution"]
@exercise(
    cases=[
        ([[1, 0], [10, 10], [0, 2]], [1, 0.1], 2),
        ([[1, 0], [10, 10], [0, 2]], [0, 5], 3),
        ([[3, 4], [4, 3], [-1, 0]], [1, 0], 1),
        ([[1, 1], [2, 2], [1, 0]], [1, 1], 2),
    ],
    hint="Divide each row by its own length, keep the dimensions, and sort by falling cosine.",
    wrong=[
        ("chunks / np.linalg.norm(chunks, axis=1, keepdims=True)", "chunks"),
        ("chunks / np.linalg.norm(chunks, axis=1, keepdims=True)", "chunks / np.linalg.norm(chunks)"),
        ("np.argsort(-scores.round(9)", "np.argsort(scores.round(9)"),
    ],
)
def nearest(vectors: list[list[float]], question: list[float], k: int) -> list[int]:
    """The numbers, from 0, of the `k` vectors with the highest cosine to the question's, best first.

    Where two are the same to nine digits, the lower number comes first. No vector is all zeros.

    >>> nearest([[1, 0], [10, 10], [0, 2]], [0, 5], 2)
    [2, 1]
    """
    chunks = np.array(vectors, float)
    units = chunks / np.linalg.norm(chunks, axis=1, keepdims=True)
    scores = units @ np.array(question) / np.linalg.norm(question)
    return np.argsort(-scores.round(9), kind="stable")[:k].tolist()


# %% [markdown]
# ## 3. Padding
#
# A batch is a rectangle: every text is padded to the longest of its batch, and the embedder computes on the padding
# too. Texts of like length in the same batch waste least, so sort before you batch.


# %% tags=["solution"]
@exercise(
    cases=[
        ([5, 1, 4, 1], 2),
        ([3, 3, 3], 2),
        ([9, 1, 1, 1, 8], 3),
        ([7], 4),
        ([1, 9, 2, 8, 3, 7], 2),
    ],
    hint="A batch costs its longest text times the number of texts in it; the last batch may hold fewer.",
    wrong=[
        ("max(batch) * len(batch)", "max(batch) * size"),
        ("max(batch) * len(batch)", "sum(batch)"),
        ("sorted(lengths)", "lengths"),
    ],
)
def padded(lengths: list[int], size: int) -> tuple[int, int]:
    """How many tokens are computed, padding included, in batches of `size` texts: in the given order, and sorted by length.

    `lengths` has the tokens of each text.

    >>> padded([5, 1, 4, 1], 2)
    (18, 12)
    """

    def cost(order: list[int]) -> int:
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        return sum(max(batch) * len(batch) for batch in batches)

    return cost(list(lengths)), cost(sorted(lengths))


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "An index was made with one embedder and is searched with another of the same width. What happens?",
        ["An error.", "Hits without sense, and no error.", "The same hits, more slowly."],
        "b",
        "Nothing fails by itself: bind an index to its embedder by a fingerprint.",
    ),
    Question(
        "A sentence is copied with another figure in it. Its vector is ...",
        ["close to the first one.", "at a right angle to it.", "the opposite of it."],
        "a",
        "Closeness is about topic and wording; one figure changes little.",
    ),
]
