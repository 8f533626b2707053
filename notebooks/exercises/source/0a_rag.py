# %% [markdown]
# # 0a · RAG in 40 lines: exercises
#
# You will make a text's vector, score a word as BM25 does, and write an answer greedily.

# %%
from math import log

from checks import Question, exercise

# %% [markdown]
# ## 1. From tokens to one vector
#
# An embedder gives a vector for each token. Short texts of a batch are filled up with tokens that mean nothing: the mask
# is 0 there, and 1 elsewhere. The mean of the real ones, divided by its length, is the vector of the text.


# %% tags=["solution"]
@exercise(
    cases=[
        ([[3.0, 0.0], [0.0, 4.0]], [1, 1]),
        ([[3.0, 4.0], [9.0, 9.0]], [1, 0]),
        ([[1.0, 2.0, 2.0], [3.0, 2.0, 2.0], [7.0, 7.0, 7.0]], [1, 1, 0]),
        ([[0.0, -5.0]], [1]),
    ],
    hint="Leave out the vectors where the mask is 0; the length is the root of the sum of squares.",
    wrong=[
        (" if use", ""),
        ("value / length for", "value for"),
        ("** 0.5", "** 1"),
    ],
)
def pool(states: list[list[float]], mask: list[int]) -> list[float]:
    """The mean of the states whose mask is 1, divided by its length.

    >>> pool([[3.0, 4.0], [9.0, 9.0]], [1, 0])
    [0.6, 0.8]
    """
    kept = [state for state, use in zip(states, mask, strict=True) if use]
    mean = [sum(column) / len(kept) for column in zip(*kept, strict=True)]
    length = sum(value * value for value in mean) ** 0.5
    return [value / length for value in mean]


# %% [markdown]
# ## 2. What one word counts
#
# BM25 weighs a word by how rare it is, idf = ln(1 + (n - with + 0.5) / (with + 0.5)), where `n` is the number of chunks
# and `with` of those that have the word. In a chunk that has it `times` times, it counts
# idf × times / (times + k1 × (1 - b + b × length / mean length)).


# %% tags=["solution"]
@exercise(
    cases=[
        (1, 100, 100.0, 10, 1),
        (3, 100, 100.0, 10, 1),
        (1, 200, 100.0, 10, 1),
        (2, 50, 100.0, 345, 30),
        (0, 50, 100.0, 345, 30),
        (1, 80, 80.0, 10, 10),
    ],
    hint="A longer chunk makes the fraction smaller; more chunks with the word make idf smaller.",
    wrong=[
        ("length / mean_length", "mean_length / length"),
        ("idf * times / (times", "times / (times"),
        ("(n - having + 0.5)", "(n + 0.5)"),
        ("b * length", "length"),
    ],
)
def bm25(times: int, length: int, mean_length: float, n: int, having: int) -> float:
    """What a word counts that a chunk of `length` words has `times` times and `having` of `n` chunks have; k1 1.5, b 0.75.

    >>> round(bm25(1, 100, 100.0, 10, 1), 3)
    0.797
    """
    k1, b = 1.5, 0.75
    idf = log(1 + (n - having + 0.5) / (having + 0.5))
    return idf * times / (times + k1 * (1 - b + b * length / mean_length))


# %% [markdown]
# ## 3. Greedily
#
# Here is a language model that looks at the last token only: for each token, the scores of those that may come next.
# Take the highest, again and again, until the end token comes or there is no room left.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"Q": {"It": 2.0, "No": 1.0}, "It": {"is": 3.0, "<end>": 1.0}, "is": {"<end>": 1.0}}, "Q", 5),
        ({"Q": {"a": 1.0, "<end>": 0.5}, "a": {"a": 2.0, "<end>": 1.0}}, "Q", 3),
        ({"Q": {"<end>": 1.0, "a": -1.0}}, "Q", 3),
        ({"Q": {"a": -1.0, "b": -2.0}, "a": {"<end>": 0.0}}, "Q", 1),
    ],
    hint="The end token is not part of the answer, and the answer has at most `room` tokens.",
    wrong=[
        ("max(", "min("),
        ("range(room)", "range(room + 1)"),
        ("return written", "return [*written, token]"),
    ],
)
def greedy(scores: dict[str, dict[str, float]], token: str, room: int) -> list[str]:
    """At most `room` tokens behind `token`, the likeliest each time, up to "<end>", which is left out.

    >>> greedy({"Q": {"Yes": 2.0, "No": 1.0}, "Yes": {"<end>": 1.0}}, "Q", 9)
    ['Yes']
    """
    written: list[str] = []
    for _ in range(room):
        token = max(scores[token], key=scores[token].__getitem__)
        if token == "<end>":
            break
        written.append(token)
    return written


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "What does RAG change in the model?",
        ["Its weights.", "Its vocabulary.", "Nothing: it changes what the model is given to read."],
        "c",
        "Passages are put into the prompt; the weights stay as they came.",
    ),
    Question(
        "A passage with the answer is among the three in the prompt, and the answer is wrong. What would mend it?",
        ["A better search.", "A model that reads better.", "More documents."],
        "b",
        "The search has done its part: the model misreads.",
    ),
    Question(
        "Why are a cosine and a BM25 score not added?",
        ["They have different units.", "BM25 is always right.", "A cosine may be negative."],
        "a",
        "Their ranks have the same unit, and can be fused.",
    ),
]
