# %% [markdown]
# # 00 · Start: exercises
#
# You will judge answers as this course does: right or not, in style or not, and by whom.

# %%
import re

from checks import Question, exercise

# %% [markdown]
# ## 1. The same answer?
#
# "The Delta-4." and "delta4" say the same. Before two short answers are compared, both are made alike: lower case, no
# punctuation, no articles, single spaces. This is how the SQuAD scorer does it (Rajpurkar et al. 2016).


# %% tags=["solution"]
@exercise(
    cases=[
        ("The  Delta-4.", "delta4"),
        ("a pump", "The pump!"),
        ("the theatre", "atre"),
        ("an anchor", "anchor"),
        ("ten", "10"),
        ("", "the"),
        ("red  one", "red one"),
    ],
    hint="An article is a word of its own: the `the` in theatre stays. Spaces are made single last.",
    wrong=[
        (r"\b(a|an|the)\b", r"(a|an|the)"),
        ("text.lower()", "text"),
        (r"[^\w\s]", r"\s\s"),
        (r'" ".join(bare.split())', "bare"),
    ],
)
def same(answer: str, gold: str) -> bool:
    """Whether both are the same text once they are in lower case, without punctuation and the words a, an and the.

    Punctuation is whatever is neither a letter, digit, underscore nor space.

    >>> same("A red pump.", "red  pump")
    True
    """

    def normal(text: str) -> str:
        bare = re.sub(r"\b(a|an|the)\b", " ", re.sub(r"[^\w\s]", "", text.lower()))
        return " ".join(bare.split())

    return normal(answer) == normal(gold)


# %% [markdown]
# ## 2. Right, in style, both
#
# An answer can be right without being in style, and in style without being right. Who promises both must count the
# answers that are both: this cannot be had from the two shares.


# %% tags=["solution"]
@exercise(
    cases=[
        ([True, True, False, False], [True, False, True, False]),
        ([True, False], [False, True]),
        ([True, True], [True, True]),
        ([True, True, True, False], [True, True, False, True]),
    ],
    hint="Count answers that are right and in style at once; do not multiply the shares.",
    wrong=[
        ("sum(a and b for a, b in zip(right, style, strict=True)) / n", "sum(right) * sum(style) / n / n"),
        ("a and b", "a or b"),
        ("sum(a and b for a, b in zip(right, style, strict=True)) / n", "min(sum(right), sum(style)) / n"),
    ],
)
def shares(right: list[bool], style: list[bool]) -> tuple[float, float, float]:
    """The shares of answers that are right, that are in style, and that are both.

    >>> shares([True, True], [True, False])
    (1.0, 0.5, 0.5)
    """
    n = len(right)
    return sum(right) / n, sum(style) / n, sum(a and b for a, b in zip(right, style, strict=True)) / n


# %% [markdown]
# ## 3. Who knows what, and why
#
# Four arms: with or without passages, with or without training. Each of the two switches adds something: compare arms
# that differ in *one* switch only.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"base": 0.0, "rag": 0.5, "tuned": 0.25, "hybrid": 0.75},),
        ({"base": 0.1, "rag": 0.5, "tuned": 0.6, "hybrid": 0.4},),
        ({"base": 0.2, "rag": 0.2, "tuned": 0.3, "hybrid": 0.9},),
    ],
    hint="Passages: from base to rag, and from tuned to hybrid. Training: from base to tuned, and from rag to hybrid.",
    wrong=[
        ('share["hybrid"] - share["tuned"]', 'share["hybrid"] - share["base"]'),
        ('share["hybrid"] - share["rag"]', 'share["hybrid"] - share["base"]'),
        ('share["tuned"] - share["base"]', 'share["tuned"] - share["rag"]'),
    ],
)
def gains(share: dict[str, float]) -> dict[str, tuple[float, float]]:
    """What "passages" and "training" each add to the share of right answers, without and with the other one.

    `share` has base, rag, tuned and hybrid (trained, with passages).

    >>> gains({"base": 0.0, "rag": 0.5, "tuned": 0.25, "hybrid": 0.75})
    {'passages': (0.5, 0.5), 'training': (0.25, 0.25)}
    """
    passages = share["rag"] - share["base"], share["hybrid"] - share["tuned"]
    training = share["tuned"] - share["base"], share["hybrid"] - share["rag"]
    return {"passages": passages, "training": training}


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "Why does the course use a company that does not exist?",
        [
            "Its documents are short.",
            "No model can have read of it: what an arm knows, it read or was taught here.",
            "Real documents cannot be embedded.",
        ],
        "b",
        "With public facts you could not tell what the model had known before.",
    ),
    Question(
        "Which two arms differ only in training?",
        ["base and tuned", "base and hybrid", "rag and tuned"],
        "a",
        "The other two pairs differ in passages as well.",
    ),
]
