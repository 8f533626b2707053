# %% [markdown]
# # 0b · LoRA in 40 lines: exercises
#
# You will make a training row, compute its loss, and merge an adapter, by hand.

# %%
import numpy as np
from checks import Question, exercise

# %% [markdown]
# ## 1. A training row
#
# The model shall learn the answer and where it ends, and not the question. A label of -100 is left out of the loss.


# %% tags=["solution"]
@exercise(
    cases=[
        ([5, 6, 7], [8, 9], 2),
        ([1], [4], 2),
        ([3, 3], [3, 3, 3], 0),
        ([7, 8], [], 2),
    ],
    hint="The end token stands behind the answer, and is learned: else the model never stops.",
    wrong=[
        ("[-100] * len(prompt) + told", "prompt + told"),
        ("told = [*answer, end]", "told = answer"),
        ("[-100] * len(prompt) + told", "[-100] * len(prompt) + answer + [-100]"),
    ],
)
def row(prompt: list[int], answer: list[int], end: int) -> tuple[list[int], list[int]]:
    """The ids of prompt, answer and end token, and their labels: -100 in the prompt, elsewhere the id itself.

    >>> row([5, 6], [7], 2)
    ([5, 6, 7, 2], [-100, -100, 7, 2])
    """
    told = [*answer, end]
    return prompt + told, [-100] * len(prompt) + told


# %% [markdown]
# ## 2. The loss
#
# The logits at one place guess the token at the *next*. Softmax makes probabilities of them: e to the power of each,
# divided by the sum. The loss is the mean of minus the logarithm of what each learned token got.


# %% tags=["solution"]
@exercise(
    cases=[
        ([[0.0, 0.0], [0.0, 0.0], [5.0, 0.0]], [-100, 1, 0]),
        ([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 4.0]], [-100, 0, 1]),
        ([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 4.0]], [-100, -100, 2]),
        ([[1.0, -1.0], [0.5, 2.0], [0.0, 0.0], [3.0, 1.0]], [1, -100, 1, 0]),
    ],
    hint="Pair the logits of each place but the last with the label of the place behind it; skip -100.",
    wrong=[
        ("zip(logits[:-1], labels[1:], strict=True)", "zip(logits, labels, strict=True)"),
        (" if label != -100", ""),
        ("-np.log(np.exp(scores[label]) / np.exp(scores).sum())", "-scores[label]"),
    ],
)
def loss(logits: list[list[float]], labels: list[int]) -> float:
    """The mean cross-entropy of the labels that are not -100, each guessed one place before.

    >>> round(loss([[0.0, 0.0], [9.0, 9.0]], [-100, 1]), 4)
    0.6931
    """
    pairs = [(scores, label) for scores, label in zip(logits[:-1], labels[1:], strict=True) if label != -100]
    return float(np.mean([-np.log(np.exp(scores[label]) / np.exp(scores).sum()) for scores, label in pairs]))


# %% [markdown]
# ## 3. Merging
#
# LoRA adds (alpha / r) B A to a frozen matrix W. The rank r is the number of rows of A. Merged, the sum is the new W.


# %% tags=["solution"]
@exercise(
    cases=[
        ([[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0]], [[3.0], [4.0]], 2.0),
        ([[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [0.0, 1.0]], 4.0),
        ([[5.0, 6.0]], [[1.0, 1.0], [2.0, 0.0]], [[0.0, 0.0]], 16.0),
    ],
    hint="A comes last in the product: x goes through A first, then through B.",
    wrong=[
        (" / len(A)", ""),
        ("np.array(B) @ np.array(A)", "np.array(A) @ np.array(B)"),
        ("np.array(W) + ", ""),
    ],
)
def merge(W: list[list[float]], A: list[list[float]], B: list[list[float]], alpha: float) -> np.ndarray:
    """W + (alpha / r) B A, where r is the rank.

    >>> merge([[1.0, 0.0]], [[1.0, 2.0]], [[3.0]], 1.0).tolist()
    [[4.0, 6.0]]
    """
    return np.array(W) + alpha / len(A) * np.array(B) @ np.array(A)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "Why does B begin as zero?",
        [
            "So that the network at first computes what it did without the adapter.",
            "So that it trains faster.",
            "So that it can be stored in four bits.",
        ],
        "a",
        "B A is zero then, whatever A is: training starts from the model as it came.",
    ),
    Question(
        "What does the loss mask leave out?",
        ["The answer.", "The prompt.", "Rare tokens."],
        "b",
        "The model shall learn to answer, not to ask.",
    ),
    Question(
        "How many numbers does LoRA of rank 8 train beside a matrix of 576 rows and 576 columns?",
        ["8 × 8", "8 × (576 + 576)", "576 × 576"],
        "b",
        "A has 8 rows of 576, B has 576 rows of 8.",
    ),
]
