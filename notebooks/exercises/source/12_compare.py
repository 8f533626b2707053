# %% [markdown]
# # 12 · Compare: exercises
#
# You will tell a real difference between two arms from a lucky one: on their answers, on many p-values and over seeds.

# %%
from functools import cache

import numpy as np
from checks import Question, exercise, open_lab

from labkit.compare import tables
from labkit.compare.lab import spread
from labkit.compare.score import is_right
from labkit.rag.augment import build_messages

lab = open_lab()


@cache
def asked():
    """30 test questions that the documents answer, each kind in proportion."""
    return spread([question for question in lab.questions if question.gold], 30)


@cache
def scores(arm, seed=0):
    """For each question of `asked()`, 1 for a right answer, else 0; the answers are kept, so that none is made twice.

    "reader" is the model as it came over the gold passages, "tuned" the arm that was trained with this seed.
    """
    titles = {document.id: document.title for document in lab.documents}
    model = lab.tuned_model("tuned", seed) if arm == "tuned" else lab.model
    prompts = []
    for item in asked():
        gold = [(titles[fact.document], fact.passage) for fact in item.evidence]
        prompts.append(build_messages(item.question, gold if arm == "reader" else ()))
    answers = model.generate(prompts, cache=lab.answered)
    return [int(is_right(item, answer.text)) for item, answer in zip(asked(), answers, strict=True)]


@cache
def kept():
    """The comparison of every two arms that the project keeps: rows with `metric`, `a`, `b` and the p-value `p`."""
    return tables.published()["pocket, company"]["paired"]


# %% [markdown]
# ## 1. A paired bootstrap
#
# Two arms answered the same questions. Draw as many questions again, with replacement, and take the difference of the
# arms over *those*: question by question, so that a hard question is hard for both. The middle 95 % of many such
# differences are the interval.


# %% tags=["solution"]
@exercise(
    cases=[(30, 1000, 0), (30, 1000, 1), (10, 500, 2)],
    hint="First subtract question by question, then take each draw's mean, and the 2.5 % and 97.5 % quantiles of the means.",
    wrong=[
        ("[0.025, 0.975]", "[0.05, 0.95]"),
        ("gaps[places].mean(axis=1)", "gaps[places].mean(axis=0)"),
        ("np.subtract(", "np.logical_xor("),
        ("low, high = np.quantile(means", "low, high = np.quantile(gaps"),
    ],
    seconds=60,
)
def paired_interval(n: int, draws: int, seed: int) -> tuple[float, float, float]:
    """The mean of reader - tuned over the first `n` questions, and the 2.5 % and 97.5 % quantiles of the drawn means.

    `scores(arm)` has the score of each question. Draw the places once, with np.random.default_rng(seed).integers(n,
    size=(draws, n)), a row for each draw; `np.quantile` gives the quantiles.

    >>> len(paired_interval(30, 1000, 0))
    3
    """
    gaps = np.subtract(scores("reader"), scores("tuned"))[:n]
    places = np.random.default_rng(seed).integers(n, size=(draws, n))
    means = gaps[places].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(gaps.mean()), float(low), float(high)


# %% [markdown]
# ## 2. Many tests at once
#
# Test twenty differences, and one is below 0.05 by luck. Holm's way: sort the p-values, multiply the smallest by the
# number of tests, the next by one less, and so on. A larger p-value never becomes smaller than the one before it, and
# none exceeds 1. Adjust the p-values of the project's own comparison.


# %% tags=["solution"]
@exercise(
    cases=[("accuracy", 28), ("abstention", 28), ("joint", 10), ("style", 28), ("accuracy", 5)],
    hint="Keep the largest value so far while you go up the sorted p-values, and give each back to its own place.",
    wrong=[
        ("max(largest, (len(p) - step) * p[place])", "(len(p) - step) * p[place]"),
        ("(len(p) - step) * p[place]", "len(p) * p[place]"),
        ("sorted(range(len(p)), key=p.__getitem__)", "range(len(p))"),
    ],
)
def holm(metric: str, count: int) -> list[float]:
    """The p-values of the first `count` pairs of arms in this metric, adjusted by Holm's method, in the order of `kept()`.

    >>> all(0 <= p <= 1 for p in holm("accuracy", 28))
    True
    """
    p = [row["p"] for row in kept() if row["metric"] == metric][:count]
    adjusted, largest = [0.0] * len(p), 0.0
    for step, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, (len(p) - step) * p[place])
        adjusted[place] = min(1.0, largest)
    return adjusted


# %% [markdown]
# ## 3. Seeds are not questions
#
# The tuned arm was trained with several seeds, and each asked the same questions. Two seeds on 30 questions are not 60
# questions: first average over the seeds, then count questions. How far the seeds lie apart is a figure of its own.


# %% tags=["solution"]
@exercise(
    cases=[(30,), (20,), (5,)],
    hint="Rows are seeds. Average down the columns for the questions, along the rows for the seeds.",
    wrong=[
        ("rows.mean(axis=0)", "rows.ravel()"),
        ("rows.mean(axis=1)", "rows.mean(axis=0)"),
        ("by_seed.max() - by_seed.min()", "by_seed.mean()"),
    ],
    seconds=60,
)
def over_seeds(n: int) -> tuple[list[float], float]:
    """One score for each of the first `n` questions: the mean of the tuned arm with seed 0 and with seed 1.

    The second value is how far the better seed's mean over these questions is above the other's.

    >>> len(over_seeds(5)[0])
    5
    """
    rows = np.array([scores("tuned", seed)[:n] for seed in (0, 1)])
    by_question, by_seed = rows.mean(axis=0), rows.mean(axis=1)
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
