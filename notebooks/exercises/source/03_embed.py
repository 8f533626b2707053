# %% [markdown]
# # 03 · Embed: exercises
#
# You will make a text's vector from those of its tokens, search the company's passages with one multiplication, and
# save the embedder work.

# %%
from functools import cache

import numpy as np
from checks import Question, exercise, open_lab

lab = open_lab()


@cache
def tokens(text):
    """The embedder's vector of each token of a text, of shape (tokens, 384), before they become one."""
    return lab.embedder.model.encode(text, output_value="token_embeddings", show_progress_bar=False).numpy()


@cache
def passages():
    """The gold passages of the first 40 questions: their texts, and their vectors of shape (40, 384), each of length 1."""
    texts = [question.evidence[0].passage for question in lab.questions[:40]]
    return texts, lab.embedder.encode(texts)


# %% [markdown]
# ## 1. One vector for a text
#
# The embedder gives a vector for each *token*. Their mean is the vector of the text. Two texts are similar if their
# vectors point the same way: the cosine is the inner product of the vectors over the product of their lengths.


# %% tags=["solution"]
@exercise(
    cases=[
        ("The Amber Falcon costs $420.", "The Amber Falcon costs $420."),
        ("The Amber Falcon costs $420.", "The Amber Falcon costs $240."),
        ("The Amber Falcon costs $420.", "How much is the Amber Falcon?"),
        ("The Amber Falcon costs $420.", "Rita Irwin runs the Honey Canyon site."),
    ],
    hint="Take the mean over the tokens, which is axis 0. The length is the square root of a vector's product with itself.",
    wrong=[
        ("tokens(b).mean(axis=0)", "tokens(b)[0]"),
        ("np.linalg.norm(x) * np.linalg.norm(y)", "len(x)"),
        ("float(x @ y)", "abs(float(x @ y)) ** 2"),
    ],
)
def cosine(a: str, b: str) -> float:
    """The cosine of two texts, from the means of their `tokens`.

    >>> round(cosine("Who runs the site?", "Who runs the site?"), 4)
    1.0
    """
    x, y = tokens(a).mean(axis=0), tokens(b).mean(axis=0)
    return float(x @ y) / float(np.linalg.norm(x) * np.linalg.norm(y))


# %% [markdown]
# ## 2. Search is one multiplication
#
# The passages' vectors have length 1. Then a question's cosine with *all* passages is one product of a matrix with a
# vector, and the search is a sort. Does it find the passage that answers?


# %% tags=["solution"]
@exercise(
    cases=[(0, 1), (0, 5), (7, 3), (21, 5), (39, 2)],
    hint="Multiply the passages' matrix with the question's vector, and sort by falling cosine.",
    wrong=[
        ("np.argsort(-scores)", "np.argsort(scores)"),
        ("[:k]", "[: k + 1]"),
        ("lab.questions[n].question", "lab.questions[n].answer"),
    ],
    seconds=10,
)
def nearest(n: int, k: int) -> list[str]:
    """The `k` passages with the highest cosine to question number `n` of `lab.questions`, best first.

    `lab.embedder.encode` makes an array with a vector of length 1 for each text of a list.

    >>> len(nearest(0, 5))
    5
    """
    texts, vectors = passages()
    scores = vectors @ lab.embedder.encode([lab.questions[n].question])[0]
    return [texts[place] for place in np.argsort(-scores)[:k]]


# %% [markdown]
# ## 3. Padding
#
# A batch is a rectangle: every text is padded to the longest of its batch, and the embedder computes on the padding
# too. Texts of similar length in the same batch waste least. What does sorting save on the company's passages?


# %% tags=["solution"]
@exercise(
    cases=[(1,), (8,), (16,), (32,)],
    hint="A batch costs its longest text times the number of texts in it; the last batch may hold fewer.",
    wrong=[
        ("max(batch) * len(batch)", "max(batch) * size"),
        ("max(batch) * len(batch)", "sum(batch)"),
        ("cost(sorted(lengths))", "cost(lengths[::-1])"),
    ],
)
def padded(size: int) -> tuple[int, int]:
    """How many tokens are computed, padding included, in batches of `size` passages: in their order, and sorted by length.

    The length of a text is the number of its `tokens`.

    >>> padded(1)
    (500, 500)
    """
    lengths = [len(tokens(text)) for text in passages()[0]]

    def cost(order: list[int]) -> int:
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        return sum(max(batch) * len(batch) for batch in batches)

    return cost(lengths), cost(sorted(lengths))


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
        "Your `cosine` of the two prices shows it: closeness is about topic and wording, and one figure changes little.",
    ),
]
