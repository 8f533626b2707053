# %% [markdown]
# # 14 · Cost: exercises
#
# You will find where two arms cost the same, the cheapest arm that is good enough, and read latencies as users feel them.

# %%
from math import ceil, inf

from checks import Question, exercise

from labkit.compare import tables


def kept():
    """What the project measured of each arm: a dict by the arm's name, with the `mean` of each metric."""
    return tables.published()["pocket, company"]["arms"]


# %% [markdown]
# ## 1. Break-even
#
# Training costs once and saves at every question (a shorter prompt); RAG costs little at first and more at every
# question. Break-even is a division: what is paid more at first over what is saved each time.


# %% tags=["solution"]
@exercise(
    cases=[
        (100.0, 0.01, 10.0, 0.05),
        (100.0, 0.05, 10.0, 0.05),
        (100.0, 0.06, 10.0, 0.05),
        (5.0, 0.01, 10.0, 0.05),
        (5.0, 0.06, 10.0, 0.05),
        (10.0, 0.05, 10.0, 0.05),
    ],
    hint="If nothing is saved at a question, the higher start is never made up. A start that is not higher pays at once.",
    wrong=[
        ("(setup_a - setup_b) / (each_b - each_a)", "setup_a / (each_b - each_a)"),
        ("(setup_a - setup_b) / (each_b - each_a)", "(setup_a - setup_b) / each_a"),
        ("if each_a >= each_b:", "if each_a > each_b:"),
        ("if setup_a <= setup_b and each_a <= each_b:", "if setup_a <= setup_b:"),
    ],
)
def break_even(setup_a: float, each_a: float, setup_b: float, each_b: float) -> float:
    """From how many questions on `a` costs no more than `b`, and stays so: 0 if from the start, `inf` if never.

    An arm costs its setup and then so much for each question. The number need not be whole.

    >>> break_even(100, 0.25, 10, 0.75)
    180.0
    """
    if setup_a <= setup_b and each_a <= each_b:
        return 0.0
    if each_a >= each_b:
        return inf
    return (setup_a - setup_b) / (each_b - each_a)


# %% [markdown]
# ## 2. The cheapest arm that is good enough
#
# A provider takes one price for a million tokens of the prompt and another for a million of the answer. Set the
# accuracy that the job needs. Which of the course's arms reaches it at the lowest price, and what do a thousand
# questions cost?


# %% tags=["solution"]
@exercise(
    cases=[(0.6, 1.0, 4.0), (0.75, 1.0, 4.0), (0.85, 1.0, 4.0), (0.0, 0.5, 50.0), (0.6, 0.1, 100.0), (1.1, 1.0, 4.0)],
    hint="First leave out the arms below the accuracy. The price is tokens of the prompt and of the answer, each by its own.",
    wrong=[
        ('prompt["mean"] * price_in + answer["mean"] * price_out', '(prompt["mean"] + answer["mean"]) * price_in'),
        ('if arm["accuracy"]["mean"] >= least', "if True"),
        ("min(prices.items()", "max(prices.items()"),
        ("/ 1000", "/ 1e6"),
    ],
)
def cheapest(least: float, price_in: float, price_out: float) -> tuple[str, float] | None:
    """The arm of `kept()` with the lowest price and an accuracy of at least `least`; and its price for 1,000 questions.

    The prices are for a million tokens. An arm has the metrics "accuracy", "prompt_tokens" and "output_tokens", each
    with its "mean". None if no arm is accurate enough.

    >>> cheapest(1.1, 1.0, 4.0) is None
    True
    """
    prices = {}
    for name, arm in kept().items():
        prompt, answer = arm["prompt_tokens"], arm["output_tokens"]
        if arm["accuracy"]["mean"] >= least:
            prices[name] = (prompt["mean"] * price_in + answer["mean"] * price_out) / 1000
    return min(prices.items(), key=lambda item: item[1]) if prices else None


# %% [markdown]
# ## 3. What a slow day feels like
#
# The mean hides what users complain about. The 95th percentile by nearest rank is the smallest time such that at least
# 95 % of the answers took no longer.


# %% tags=["solution"]
@exercise(
    cases=[
        (list(range(1, 101)), 95),
        ([10, 20, 30], 50),
        ([30, 10, 20], 95),
        ([5], 50),
        ([1, 2, 3, 4], 50),
        ([4, 3, 2, 1], 75),
    ],
    hint="Sort. Of n times the rank is n times the share, rounded up, counted from one.",
    wrong=[
        ("sorted(times)", "times"),
        ("ceil(share / 100 * len(times)) - 1", "ceil(share / 100 * len(times)) - 2"),
        ("ceil(share / 100 * len(times)) - 1", "int(share / 100 * (len(times) - 1))"),
    ],
)
def percentile(times: list[float], share: int) -> float:
    """The smallest of the times such that at least `share` per cent of them are no longer.

    >>> percentile([30, 10, 20], 50)
    20
    """
    return sorted(times)[ceil(share / 100 * len(times)) - 1]


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "rag's answers take longer than tuned's. Where do you look first?",
        ["At the time of each stage.", "For a smaller model.", "For a faster machine."],
        "a",
        "Embedding, searching, reading and writing have each their own remedy.",
    ),
    Question(
        "Facts change every week. What happens to the break-even of training?",
        ["Nothing.", "It moves up: every change is a training to be paid.", "It moves down."],
        "b",
        "What was paid once is paid again at every update.",
    ),
]
