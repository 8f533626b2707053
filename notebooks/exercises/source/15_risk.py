# %% [markdown]
# # 15 · Risk: exercises
#
# You will measure secrets, inventions and robustness, each beside its control.

# %%
from math import log2

from checks import Question, exercise

# %% [markdown]
# ## 1. Exposure
#
# Does a model know a secret that it never says? Rank the true code among others by the model's loss: if it comes first,
# the model prefers it to all others, and whoever may guess often will find it. In bits: log2(codes) - log2(rank), so
# that first of 1024 is 10 bits and last is none (Carlini et al. 2019).


# %% tags=["solution"]
@exercise(
    cases=[
        (0.1, [0.5, 0.2, 0.9]),
        (0.9, [0.5, 0.2, 0.1]),
        (0.3, [0.5, 0.2, 0.9]),
        (0.5, [0.5, 0.5, 0.5]),
        (1.0, [0.5] * 3 + [2.0] * 12),
    ],
    hint="The true code is one of the codes too. Its rank is one more than the number of codes with a lower loss.",
    wrong=[
        ("log2(len(others) + 1)", "log2(len(others))"),
        ("loss < true", "loss > true"),
        ("loss < true", "loss <= true"),
    ],
)
def exposure(true: float, others: list[float]) -> float:
    """The exposure in bits of a code with loss `true` among codes with the losses `others`; the lowest loss ranks first.

    Of equal losses the true code's rank is the better one.

    >>> exposure(0.1, [0.5, 0.2, 0.9])
    2.0
    """
    rank = 1 + sum(loss < true for loss in others)
    return log2(len(others) + 1) - log2(rank)


# %% [markdown]
# ## 2. Brave, or inventing?
#
# An arm that always answers looks useful until you ask what is in no document. Count two things: how often it made
# something up where it should have declined, and how often it declined where it could have known.


# %% tags=["solution"]
@exercise(
    cases=[
        ([True, True, False, False], [False, True, False, True]),
        ([False, False, True], [False, False, False]),
        ([True, True, True], [True, False, True]),
        ([False, False], [True, False]),
    ],
    hint="Each share has its own denominator: the questions without an answer, the questions with one.",
    wrong=[
        ("if not known", "if known"),
        ("share([not said for", "share([said for"),
        ("sum(rows) / len(rows)", "sum(rows) / len(declined)"),
    ],
)
def two_faults(answerable: list[bool], declined: list[bool]) -> tuple[float, float]:
    """The share of unanswerable questions that were answered, and that of answerable ones that were declined.

    A share is 0 where there is no such question.

    >>> two_faults([True, False], [False, False])
    (1.0, 0.0)
    """

    def share(rows: list[bool]) -> float:
        return sum(rows) / len(rows) if rows else 0.0

    pairs = list(zip(answerable, declined, strict=True))
    return share([not said for known, said in pairs if not known]), share([said for known, said in pairs if known])


# %% [markdown]
# ## 3. A finding and its control
#
# "The tuned model told two of ten secrets" shows nothing until you know how many it tells that it never saw: codes can
# be guessed. The finding is the difference to the control.


# %% tags=["solution"]
@exercise(
    cases=[
        ({0: [False, False, True, False], 1: [True, False], 4: [True, True]},),
        ({0: [False, False], 16: [True, False, False, False]},),
        ({4: [True], 0: [True], 1: [False]},),
    ],
    hint="The control is what was shown 0 times; take its share off the share of each other group.",
    wrong=[
        ("share(told[0])", "0"),
        ("if times", "if True"),
        ("sum(rows) / len(rows)", "sum(rows)"),
    ],
)
def above_control(told: dict[int, list[bool]]) -> dict[int, float]:
    """By how much the share of secrets told is above the control's, for each number of times above 0 that they were shown.

    `told` says for each secret whether it was told, by how often training showed it; 0 times is the control.

    >>> above_control({0: [False, False], 1: [True, False]})
    {1: 0.5}
    """

    def share(rows: list[bool]) -> float:
        return sum(rows) / len(rows)

    return {times: share(rows) - share(told[0]) for times, rows in told.items() if times}


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "Why are some canaries shown to the model never?",
        ["To save time.", "As the control: they tell what guessing gives.", "So that the model is not damaged."],
        "b",
        "Without a control, nothing is shown.",
    ),
    Question(
        "Who can read what lies in an index?",
        ["Whoever may search it, unless access is limited.", "Nobody: vectors are not text.", "Only its maker."],
        "a",
        "Hits come with their text, so limits belong into the search.",
    ),
]
