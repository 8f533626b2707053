# %% [markdown]
# # 12 · Compare: exercises
#
# You will tell a real difference from a lucky one.

# %%
import numpy as np
from checks import Question, exercise

# %% [markdown]
# ## 1. A paired bootstrap
#
# Two arms answered the same questions. Draw as many questions again, with replacement, and take the difference of the
# arms over *those*: question by question, so that a hard question is hard for both. The middle 95 % of many such
# differences are the interval.


# %% tags=["solution"]
@exercise(
    cases=[
        ([1, 1, 0, 1], [0, 1, 0, 0], [[0, 1, 2, 3], [0, 0, 3, 3], [1, 1, 2, 2]]),
        ([1, 0, 1, 0], [0, 1, 0, 1], [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, 3], [0, 0, 0, 1]]),
        ([0.5, 0.25], [0, 1], [[0, 0], [1, 1], [0, 1]]),
        ([1, 1, 1, 0], [0, 0, 0, 0], [[0, 1, 2, 3], [3, 3, 0, 1], [0, 0, 0, 0]]),
    ],
    hint="First subtract question by question, then take each draw's mean, and the 2.5 % and 97.5 % quantiles of the means.",
    wrong=[
        ("[0.025, 0.975]", "[0.05, 0.95]"),
        ("gaps[np.array(draws)].mean(axis=1)", "gaps"),
        ("np.array(a) - np.array(b)", "np.abs(np.array(a) - np.array(b))"),
        ("gaps.mean()", "np.median(gaps)"),
    ],
)
def paired_interval(a: list[float], b: list[float], draws: list[list[int]]) -> tuple[float, float, float]:
    """The mean of a - b, and the 2.5 % and 97.5 % quantiles (`np.quantile`) of that mean over the draws.

    `a` and `b` are the arms' scores on the same questions; each draw lists the numbers of the questions drawn, from 0.

    >>> paired_interval([1, 1, 0, 1], [0, 1, 0, 0], [[0, 1, 2, 3], [0, 0, 3, 3], [1, 1, 2, 2]])
    (0.5, 0.025, 0.975)
    """
    gaps = np.array(a) - np.array(b)
    means = gaps[np.array(draws)].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(gaps.mean()), float(low), float(high)


# %% [markdown]
# ## 2. Many tests at once
#
# Test twenty differences, and one is below 0.05 by luck. Holm's way: sort the p-values, multiply the smallest by the
# number of tests, the next by one less, and so on; a larger p-value never becomes smaller than the one before it, and
# none exceeds 1.


# %% tags=["solution"]
@exercise(
    cases=[
        ([0.01, 0.04],),
        ([0.04, 0.01, 0.03],),
        ([0.2, 0.02, 0.021, 0.9],),
        ([0.6, 0.7],),
        ([0.03],),
    ],
    hint="Keep the largest value so far while you go up the sorted p-values, and give each back to its own place.",
    wrong=[
        ("max(largest, (len(p) - step) * p[place])", "(len(p) - step) * p[place]"),
        ("(len(p) - step) * p[place]", "len(p) * p[place]"),
        ("min(1.0, largest)", "largest"),
        ("sorted(range(len(p)), key=p.__getitem__)", "range(len(p))"),
    ],
)
def holm(p: list[float]) -> list[float]:
    """The p-values adjusted by Holm's method, in the order given.

    >>> holm([0.04, 0.01])
    [0.04, 0.02]
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for step, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, (len(p) - step) * p[place])
        adjusted[place] = min(1.0, largest)
    return adjusted


# %% [markdown]
# ## 3. Seeds are not questions
#
# A tuned arm was trained with several seeds, and each asked the same questions. Three seeds on 100 questions are not
# 300 questions: first average over the seeds, then count questions. How far the seeds lie apart is a figure of its own.


# %% tags=["solution"]
@exercise(
    cases=[
        ([[1, 0, 1], [1, 1, 1]],),
        ([[1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 1]],),
        ([[0.5, 0.25]],),
    ],
    hint="Rows are seeds. Average down the columns for the questions, along the rows for the seeds.",
    wrong=[
        ("scores.mean(axis=0)", "scores.ravel()"),
        ("scores.mean(axis=1)", "scores.mean(axis=0)"),
        ("by_seed.max() - by_seed.min()", "by_seed.std()"),
    ],
)
def over_seeds(rows: list[list[float]]) -> tuple[list[float], float]:
    """One score for each question, its mean over the seeds; and how far the best seed's mean is above the worst's.

    A row for each seed, a column for each question.

    >>> over_seeds([[1, 0], [1, 1]])
    ([1.0, 0.5], 0.5)
    """
    scores = np.array(rows, float)
    by_question, by_seed = scores.mean(axis=0), scores.mean(axis=1)
    return by_question.tolist(), float(by_seed.max() - by_seed.min())


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "The intervals of two arms overlap. Are the arms told apart?",
        ["No, never.", "That is for the interval of their difference to say.", "Yes, if the means differ."],
        "b",
        "Paired differences leave out what is hard for both: they can be sure where single intervals overlap.",
    ),
    Question(
        "An interval of the difference holds zero. What do you report?",
        ["That the arms are equal.", "That the first arm is better.", "That these questions do not tell them apart."],
        "c",
        "No evidence of a difference is not evidence of none: more questions might tell.",
    ),
    Question(
        "Why resample questions and not single answers of all seeds?",
        [
            "Answers to one question hang together.",
            "It is faster.",
            "Seeds cannot be resampled.",
        ],
        "a",
        "Counting a question three times as three makes the interval too narrow.",
    ),
]
