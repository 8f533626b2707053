# %% [markdown]
# # 09 · Adapters: exercises
#
# You will count what LoRA trains, apply it, and squeeze numbers into four bits.

# %%
import numpy as np
from checks import Question, exercise

# %% [markdown]
# ## 1. How many numbers are trained?
#
# LoRA leaves a matrix W of shape (out, in) alone and trains two thin ones beside it: A of shape (rank, in) and B of
# shape (out, rank). Their product has the shape of W, and far fewer numbers.


# %% tags=["solution"]
@exercise(
    cases=[
        ([(64, 64)], 8),
        ([(64, 64), (256, 64), (64, 256)], 4),
        ([(2048, 512)], 1),
        ([], 8),
    ],
    hint="A has rank times in numbers, B has out times rank; add over the matrices.",
    wrong=[
        ("rank * (out + width)", "rank * out * width"),
        ("rank * (out + width)", "2 * rank * out"),
        ("rank * (out + width)", "rank * rank * (out + width)"),
    ],
)
def trained(shapes: list[tuple[int, int]], rank: int) -> int:
    """How many numbers LoRA of this rank trains beside matrices of these shapes (out, in).

    >>> trained([(64, 64)], 8)
    1024
    """
    return sum(rank * (out + width) for out, width in shapes)


# %% [markdown]
# ## 2. Through the adapted layer
#
# The layer's output is W x plus the adapter's B A x, scaled by alpha / rank. B begins with zeros, so that at the start
# the adapted model is the old one.


# %% tags=["solution"]
@exercise(
    cases=[
        ([[1, 0], [0, 1]], [[1, 1]], [[2], [0]], 4, [1, 2]),
        ([[1, 0], [0, 1]], [[1, 1], [0, 2]], [[2, 1], [0, 1]], 4, [1, 2]),
        ([[1, 2, 3]], [[1, 0, 1]], [[0]], 8, [1, 1, 1]),
        ([[1, 2], [3, 4], [5, 6]], [[1, 0], [0, 1]], [[1, 0], [0, 1], [1, 1]], 1, [1, -1]),
    ],
    hint="The rank is the number of A's rows. First A, then B: x has the width of W's rows.",
    wrong=[
        ("alpha / len(A)", "alpha"),
        ("alpha / len(A)", "alpha / len(x)"),
        ("np.array(W) @ x + ", ""),
    ],
)
def adapted(W: list, A: list, B: list, alpha: float, x: list[float]) -> list[float]:
    """W x + alpha / rank * B A x, for W of shape (out, in), A (rank, in), B (out, rank), x (in).

    >>> adapted([[1, 2, 3]], [[1, 0, 1]], [[0]], 8, [1, 1, 1])
    [6.0]
    """
    return (np.array(W) @ x + alpha / len(A) * (np.array(B) @ (np.array(A) @ x))).tolist()


# %% [markdown]
# ## 3. Four bits
#
# Quantisation keeps for each block of weights one scale, the largest absolute value, and for each weight the number of
# the nearest of 16 levels between -1 and 1. NF4's levels lie close together near zero, where most weights are. Here
# there are fewer levels, and the idea is the same.


# %% tags=["solution"]
@exercise(
    cases=[
        ([0.5, -2.0, 0.1, 1.1], [-1, -0.25, 0, 0.25, 1], 4),
        ([0.5, -2.0, 0.1, 1.0], [-1, -0.25, 0, 0.25, 1], 2),
        ([0.0, 0.0], [-1, 0, 1], 2),
        ([3, 1, -1, 8, 4, 2], [-1, -0.5, 0, 0.5, 1], 3),
    ],
    hint="Each block has its own scale: divide by it, take the nearest level, multiply again. A block of zeros stays zeros.",
    wrong=[
        ("np.abs(block).max()", "block.max()"),
        ("np.abs(block).max()", "np.abs(weights).max()"),
        ("scale * np.array(levels)[near]", "np.array(levels)[near]"),
    ],
)
def quantised(weights: list[float], levels: list[float], size: int) -> list[float]:
    """The weights as they come back from quantisation in blocks of `size`, each scaled by its largest absolute value.

    Of two levels equally near, the first is taken.

    >>> quantised([0.5, -2.0], [-1, 0, 1], 2)
    [0.0, -2.0]
    """
    found: list[float] = []
    for block in np.array(weights, float).reshape(-1, size):
        scale = np.abs(block).max()
        near = np.abs(block[:, None] / (scale or 1) - np.array(levels)).argmin(axis=1)
        found += (scale * np.array(levels)[near]).tolist()
    return found


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "Where does QLoRA save memory against LoRA?",
        ["In the frozen weights.", "In the adapter.", "In the optimiser's state of the adapter."],
        "a",
        "The base is kept in four bits; what is trained stays in full numbers.",
    ),
    Question(
        "An adapter taught a model facts, and it reads passages worse than before. What helps?",
        ["A higher rank.", "Replaying examples of reading while it learns.", "More epochs."],
        "b",
        "What training never shows is forgotten; some of the old among the new keeps it.",
    ),
]
