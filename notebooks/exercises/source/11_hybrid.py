# %% [markdown]
# # 11 · Hybrid: exercises
#
# You will take two effects apart, see whether they add up, and build the rows on which a reader practises.

# %%
import random

from checks import Question, exercise

# %% [markdown]
# ## 1. Interaction
#
# Passages add something, training adds something. Do both together add the sum? The interaction is what is over or
# missing: the effect of passages on the tuned model less their effect on the untuned one.


# %% tags=["solution"]
@exercise(
    cases=[
        ([0, 0], [1, 0], [0, 1], [1, 1]),
        ([0, 0, 1], [1, 1, 1], [0, 1, 1], [0, 1, 0]),
        ([0, 1], [0, 1], [1, 1], [1, 1]),
        ([0], [0.5], [0.25], [0.75]),
    ],
    hint="Question by question: (both - tuned) - (rag - base), then the mean.",
    wrong=[
        ("(d - c) - (b - a)", "(d - c) + (b - a)"),
        ("(d - c) - (b - a)", "d - max(b, c)"),
        ("(d - c) - (b - a)", "(d - a) - (b - a)"),
    ],
)
def interaction(base: list[float], rag: list[float], tuned: list[float], both: list[float]) -> float:
    """The mean over the questions of the passages' effect on the tuned model less their effect on the untuned one.

    Each list has the scores of one arm on the same questions. Above zero the two help each other, below they spoil.

    >>> interaction([0], [0.5], [0.25], [1])
    0.25
    """
    rows = [(d - c) - (b - a) for a, b, c, d in zip(base, rag, tuned, both, strict=True)]
    return sum(rows) / len(rows)


# %% [markdown]
# ## 2. Practise with distractors
#
# A search brings the right passage and wrong ones, in any order. Who practises on the right passage alone learns to
# copy from whatever is there. So mix distractors in, and let the right passage stand anywhere, or the place is learned
# instead.


# %% tags=["solution"]
@exercise(
    cases=[
        ("gold", ["x", "y", "z"], 2, 0),
        ("gold", ["x", "gold", "z"], 3, 1),
        ("gold", ["x", "y"], 0, 2),
        ("gold", ["x"], 4, 3),
        ("gold", ["a", "b", "c", "d", "e"], 4, 7),
    ],
    hint="Take the right passage out of what was found, cut to count, put it in front, and shuffle everything.",
    wrong=[
        ("passage != gold", "True"),
        ("rng.shuffle(mixed)", "pass"),
        ("wrong[:count]", "wrong[: count - 1]"),
        ("[gold, *wrong[:count]]", "[*wrong[:count], gold]"),
    ],
)
def practice(gold: str, found: list[str], count: int, seed: int) -> list[str]:
    """The right passage and the first `count` others that were found (fewer if there are fewer), shuffled.

    Put the right one first and the others behind it in order, and shuffle the list once with random.Random(seed).shuffle.

    >>> practice("gold", ["x", "gold", "z"], 2, 1)
    ['x', 'z', 'gold']
    """
    rng = random.Random(seed)
    wrong = [passage for passage in found if passage != gold]
    mixed = [gold, *wrong[:count]]
    rng.shuffle(mixed)
    return mixed


# %% [markdown]
# ## 3. Better than both?
#
# A hybrid is worth its trouble if it is better than *each* of the arms that it is made of: better than the better one.
# To beat base is no feat.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"base": 0.1, "rag": 0.6, "tuned": 0.4, "hybrid": 0.7},),
        ({"base": 0.1, "rag": 0.6, "tuned": 0.65, "hybrid": 0.62},),
        ({"base": 0.1, "rag": 0.2, "tuned": 0.9, "hybrid": 0.9},),
    ],
    hint="Compare with the better one of rag and tuned.",
    wrong=[
        ('max(share["rag"], share["tuned"])', 'min(share["rag"], share["tuned"])'),
        ('max(share["rag"], share["tuned"])', '(share["rag"] + share["tuned"]) / 2'),
        ('max(share["rag"], share["tuned"])', 'share["base"]'),
    ],
)
def gain(share: dict[str, float]) -> float:
    """How far the hybrid's share of right answers is above that of the better one of rag and tuned; below zero if it is not.

    >>> gain({"base": 0.1, "rag": 0.5, "tuned": 0.25, "hybrid": 0.75})
    0.25
    """
    return share["hybrid"] - max(share["rag"], share["tuned"])


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "A model was tuned on questions and answers without passages. Then it gets passages. What may happen?",
        ["It reads them as well as before.", "It answers from its weights and reads worse.", "It refuses."],
        "b",
        "Practise on what you will be asked: with passages, if there will be passages.",
    ),
    Question(
        "What is the cheap rival of tuning for style?",
        ["Asking for the style in the prompt.", "A larger index.", "More distractors."],
        "a",
        "It costs tokens at every question and no training; compare before you train.",
    ),
]
