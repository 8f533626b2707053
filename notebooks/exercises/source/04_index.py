# %% [markdown]
# # 04 · Index: exercises
#
# You will measure what an approximate index misses, search only where it is promising, and count bytes.

# %%
import numpy as np
from checks import Question, exercise

# %% [markdown]
# ## 1. What an approximate index misses
#
# An approximate index saves time by not looking everywhere. Its price is measured against the exact search: of the true
# k nearest, what share did it find?


# %% tags=["solution"]
@exercise(
    cases=[
        ([[1, 2, 3]], [[3, 1, 9]], 3),
        ([[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [6, 5, 4]], 3),
        ([[1, 2, 3], [4, 5, 6]], [[3, 2, 1], [9, 8, 4]], 2),
        ([[1, 2]], [[-1, -1]], 2),
    ],
    hint="Cut both lists at k, and count what they share: the order inside the first k does not matter.",
    wrong=[
        ("len(set(true[:k]) & set(got[:k])) / k", "len(set(true) & set(got)) / len(true)"),
        ("len(set(true[:k]) & set(got[:k])) / k", "sum(a == b for a, b in zip(true[:k], got[:k])) / k"),
        ("len(set(true[:k]) & set(got[:k])) / k", "float(true[0] in got[:k])"),
    ],
)
def recall(exact: list[list[int]], found: list[list[int]], k: int) -> float:
    """The mean over the questions of the share of the true `k` nearest that are among the first `k` found.

    A row for each question, nearest first; -1 stands where an index found nothing.

    >>> recall([[1, 2, 3], [4, 5, 6]], [[3, 2, 1], [9, 8, 4]], 2)
    0.25
    """
    rows = [len(set(true[:k]) & set(got[:k])) / k for true, got in zip(exact, found, strict=True)]
    return sum(rows) / len(rows)


# %% [markdown]
# ## 2. Look only into the nearest cells
#
# An IVF index sorts the vectors into cells, each with a centre. A question is compared with the centres, and then only
# with the vectors in the `probes` nearest cells. More probes find more and take longer.


# %% tags=["solution"]
@exercise(
    cases=[
        ([[0, 0], [10, 0]], [[4, 0], [6, 0], [1, 1]], [4.9, 0], 1),
        ([[0, 0], [10, 0]], [[4, 0], [6, 0], [1, 1]], [4.9, 0], 2),
        ([[0, 0], [10, 0]], [[3, 0], [5.5, 0]], [4.8, 0], 1),
        ([[0, 0], [10, 0]], [[3, 0], [5.5, 0]], [4.8, 0], 2),
        ([[0], [4], [9]], [[1], [3], [8]], [6.2], 1),
        ([[0], [10]], [[1], [2]], [9], 1),
    ],
    hint="Each vector belongs to its own nearest centre. Compare the question with the vectors of the nearest cells only.",
    wrong=[
        ("[:probes]", ""),
        ("cell in near", "cell not in near"),
        ("distance(np.array(centres), question)", "distance(np.array(centres), vectors[0])"),
    ],
)
def search(centres: list[list[float]], vectors: list[list[float]], question: list[float], probes: int) -> int | None:
    """The number, from 0, of the nearest vector (Euclidean) within the `probes` cells whose centres are nearest.

    Every vector lies in the cell of the centre nearest to it. None if these cells are empty.

    >>> search([[0, 0], [10, 0]], [[4, 0], [6, 0], [1, 1]], [4.9, 0], 1)
    0
    """

    def distance(points: np.ndarray, to: list[float]) -> np.ndarray:
        return ((points - np.array(to)) ** 2).sum(axis=1)

    near = np.argsort(distance(np.array(centres), question))[:probes]
    cells = [int(distance(np.array(centres), vector).argmin()) for vector in vectors]
    inside = [n for n, cell in enumerate(cells) if cell in near]
    return min(inside, key=lambda n: distance(np.array([vectors[n]]), question)[0], default=None)


# %% [markdown]
# ## 3. Bytes
#
# A flat index keeps every number in four bytes. Product quantisation cuts a vector into `parts` and keeps for each part
# only the number of the nearest of 256 patterns: one byte. The patterns themselves, 256 for each part, are kept once.


# %% tags=["solution"]
@exercise(
    cases=[(1000, 384, 48), (0, 384, 48), (1, 64, 8), (100_000, 384, 24)],
    hint="The patterns of all parts together are 256 whole vectors in four bytes a number.",
    wrong=[
        ("n * parts + 256 * width * 4", "n * parts"),
        ("n * parts + 256 * width * 4", "n * parts + 256 * parts * width * 4"),
        ("n * width * 4,", "n * width,"),
    ],
)
def sizes(n: int, width: int, parts: int) -> tuple[int, int]:
    """The bytes of a flat index and of product quantisation, for `n` vectors of `width` numbers.

    `width` is a multiple of `parts`.

    >>> sizes(1, 64, 8)
    (256, 65544)
    """
    return n * width * 4, n * parts + 256 * width * 4


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "You have a thousand chunks. Which index?",
        ["HNSW, it is the fastest.", "A flat one: exact search hardly takes time there.", "PQ, it is the smallest."],
        "b",
        "Measure first: next to embedding the question, exact search of so few takes almost nothing.",
    ),
    Question(
        "HNSW's efSearch is raised. What follows?",
        ["More recall, more time.", "Less memory.", "Vectors are sorted into more cells."],
        "a",
        "It looks at more candidates; memory stays as the graph was built.",
    ),
]
