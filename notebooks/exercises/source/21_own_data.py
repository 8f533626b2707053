# %% [markdown]
# # 21 · Your own data: exercises
#
# You will count how many questions you need, check a table of questions, and say what an interval lets you say.

# %%
from math import ceil

from checks import Question, exercise

# %% [markdown]
# ## 1. How many questions?
#
# A share measured on n questions is uncertain by 1.96 * sqrt(p * (1 - p) / n), about 95 times of 100. It is worst at
# p = 0.5. Turn it round: how many questions for a half width that you can live with?


# %% tags=["solution"]
@exercise(
    cases=[(0.1, 0.5), (0.05, 0.5), (0.1, 0.9), (0.2, 0.5), (0.01, 0.2), (0.1, 0.1)],
    hint="Solve half = 1.96 * sqrt(p * (1 - p) / n) for n, and round up: 96.04 questions are 97.",
    wrong=[
        ("** 2", "** 1"),
        ("ceil(", "round("),
        ("p * (1 - p)", "0.25"),
        ("1.96", "2 * 1.96"),
    ],
)
def needed(half: float, p: float) -> int:
    """The smallest number of questions that gives an expected share `p` an interval of at most ± `half`.

    >>> needed(0.1, 0.5)
    97
    """
    return ceil((1.96 / half) ** 2 * p * (1 - p))


# %% [markdown]
# ## 2. Check the table first
#
# A question without an answer, a question asked twice with two answers, an answer that no document holds: such rows
# measure your table, not your arms. Each row's fault is named before anything is measured.


# %% tags=["solution"]
@exercise(
    cases=[
        ([("Price?", "$10"), ("Weight?", ""), ("price? ", "$12"), ("Colour?", "red")], "It costs $10. RED only."),
        ([("", "a"), ("  ", "a")], "a"),
        ([("Price?", "$10"), ("Price?", "$10")], "$10"),
        ([("Who?", "Ann"), ("Where?", " ")], "anna"),
    ],
    hint="Keep to the order of the faults, compare in lower case and without outer spaces, and remember every row.",
    wrong=[
        ("question.strip().lower(), answer.strip().lower()", "question, answer"),
        ("elif asked in seen", "elif False"),
        ("said not in documents.lower()", "said not in documents"),
        ("seen.add(asked)", "seen = {asked}"),
    ],
)
def faults(rows: list[tuple[str, str]], documents: str) -> dict[int, str]:
    """The fault of each bad row (question, answer) by its number, from 0.

    The first that applies of "no question", "no answer", "asked before" (in an earlier row, good or bad) and "not in the
    documents" (the answer does not occur in the text). Case and outer white space do not matter.

    >>> faults([("Price?", "$10"), ("price? ", "$12")], "It costs $10.")
    {1: 'asked before'}
    """
    found, seen = {}, set()
    for n, (question, answer) in enumerate(rows):
        asked, said = question.strip().lower(), answer.strip().lower()
        if not asked:
            found[n] = "no question"
        elif not said:
            found[n] = "no answer"
        elif asked in seen:
            found[n] = "asked before"
        elif said not in documents.lower():
            found[n] = "not in the documents"
        seen.add(asked)
    return found


# %% [markdown]
# ## 3. What an interval lets you say
#
# Differences that do not matter to you need not be told apart. Say before what is too small to care about, the margin;
# then an interval can also show that two arms are as good as the same.


# %% tags=["solution"]
@exercise(
    cases=[
        (0.02, 0.1, 0.05),
        (-0.03, 0.04, 0.05),
        (-0.1, 0.2, 0.05),
        (-0.2, -0.1, 0.05),
        (0.01, 0.04, 0.05),
        (0.06, 0.1, 0.05),
    ],
    hint="Ask first whether the whole interval is within the margin, then whether it is on one side of zero.",
    wrong=[
        ("-margin < low and high < margin", "low < 0 < high"),
        ("if low > 0", "if low + high > 0"),
        ("if high < 0", "if low < 0"),
    ],
)
def said(low: float, high: float, margin: float) -> str:
    """What the interval of a difference a - b says: "as good as the same" if it lies within ± margin, else
    "a is better", "b is better", or "ask more questions" if it contains zero.

    >>> said(0.02, 0.1, 0.05)
    'a is better'
    """
    if -margin < low and high < margin:
        return "as good as the same"
    if low > 0:
        return "a is better"
    if high < 0:
        return "b is better"
    return "ask more questions"


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "You want half the width of an interval. How many times as many questions?",
        ["Twice", "Four times", "Ten times"],
        "b",
        "The width falls with the square root of the number.",
    ),
    Question(
        "The recommendation says: none. What is it worth?",
        ["Nothing.", "As much as any other.", "It says what is missing before one can decide."],
        "c",
        "A recommendation without evidence would be an opinion.",
    ),
]
