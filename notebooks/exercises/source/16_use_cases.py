# %% [markdown]
# # 16 · Use cases: exercises
#
# You will weigh metrics into one number, and find out how much of the winner is in the weights.

# %%
from checks import Question, exercise

# %% [markdown]
# ## 1. Utility
#
# A job rewards several things, each with a weight: right content, style, citations. Only the ratios of the weights
# count, so divide by their sum. A metric may not apply to some questions; it is averaged over those to which it does.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"content": [1, 0, 1, 1], "style": [0, 0, 1, 1]}, {"content": 1, "style": 1}),
        ({"content": [1, None, 0, None], "style": [1, 1, 1, 0]}, {"content": 3, "style": 1}),
        ({"content": [1, 1], "style": [0, 1]}, {"content": 0, "style": 2}),
        ({"a": [1, None], "b": [0, 0], "c": [1, 0]}, {"a": 0.2, "b": 0.3, "c": 0.1}),
    ],
    hint="None is no zero: leave it out of the mean. Divide the weighed sum by the sum of the weights.",
    wrong=[
        ("if value is not None", "if value"),
        ("/ sum(weights.values())", "/ len(weights)"),
        ("sum(known) / len(known)", "sum(known) / len(values[metric])"),
    ],
)
def utility(values: dict[str, list], weights: dict[str, float]) -> float:
    """The weighed mean of the metrics' means; `values` has each metric's value for each question, None where it has none.

    >>> utility({"content": [1, None], "style": [0, 0]}, {"content": 3, "style": 1})
    0.75
    """
    total = 0.0
    for metric, weight in weights.items():
        known = [value for value in values[metric] if value is not None]
        total += weight * sum(known) / len(known)
    return total / sum(weights.values())


# %% [markdown]
# ## 2. Where the lead changes
#
# Two arms, two metrics. As the weight of the second metric grows from 0 to 1 (the first has the rest), each arm's
# utility is a straight line. Where the lines cross, the lead changes; if they do not, the winner does not hang on the
# weights.


# %% tags=["solution"]
@exercise(
    cases=[
        ((0.8, 0.2), (0.6, 0.9)),
        ((0.8, 0.9), (0.6, 0.2)),
        ((0.5, 0.5), (0.5, 0.5)),
        ((0.2, 0.9), (0.8, 0.1)),
        ((0.5, 0.7), (0.5, 0.2)),
        ((0.4, 0.4), (0.6, 0.4)),
    ],
    hint="The lead of a is (1 - w) times its lead in the first metric plus w times that in the second: where is it zero?",
    wrong=[
        ("first / (first - second)", "first / (first + abs(second) + 1)"),
        ("first / (first - second)", "second / (second - first)"),
        ("first * second >= 0", "first == second"),
    ],
)
def crossing(a: tuple[float, float], b: tuple[float, float]) -> float | None:
    """The weight of the second metric, between 0 and 1, at which arms `a` and `b` are worth the same; None without a change.

    Each arm has its value in the first and in the second metric. A tie in one of the metrics is no change of the lead.

    >>> crossing((1.0, 0.0), (0.5, 0.5))
    0.5
    """
    first, second = a[0] - b[0], a[1] - b[1]
    if first * second >= 0:
        return None
    return first / (first - second)


# %% [markdown]
# ## 3. Who leads under how many weights?
#
# If you cannot say your weights, try many: in what share of them does each arm lead? An arm that leads under nine of
# ten is a safer choice than one that leads under your favourite.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"rag": [0.8, 0.2], "tuned": [0.5, 0.9]}, [[1, 0], [0.5, 0.5], [0, 1], [0.9, 0.1]]),
        ({"rag": [0.5, 0.5], "tuned": [0.5, 0.5]}, [[1, 0], [0, 1]]),
        ({"a": [0.1, 0.2, 0.3], "b": [0.3, 0.2, 0.1], "c": [0, 0, 0.9]}, [[1, 1, 1], [3, 1, 0], [0, 5, 1]]),
    ],
    hint="For each row of weights find the arm with the highest sum of weight times value; of equals the first arm leads.",
    wrong=[
        ("max(", "min("),
        ("/ len(weights)", ""),
        ("sum(w * v for w, v in zip(row, values[arm], strict=True))", "sum(values[arm])"),
    ],
)
def leads(values: dict[str, list[float]], weights: list[list[float]]) -> dict[str, float]:
    """The share of the rows of weights under which each arm has the highest weighed sum; of equal arms the first leads.

    `values` has for each arm its values, in the order of the weights of a row.

    >>> leads({"rag": [0.8, 0.2], "tuned": [0.5, 0.9]}, [[1, 0], [0, 1]])
    {'rag': 0.5, 'tuned': 0.5}
    """
    led = dict.fromkeys(values, 0.0)
    for row in weights:
        best = max(values, key=lambda arm: sum(w * v for w, v in zip(row, values[arm], strict=True)))
        led[best] += 1 / len(weights)
    return led


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "When do you say what counts how much?",
        ["Before you measure.", "When the best arm is known.", "Never: weights are arbitrary."],
        "a",
        "Weights chosen afterwards choose the winner.",
    ),
    Question(
        "An arm won in five jobs with the pocket model. What carries over to a large one?",
        ["The winner.", "The way of measuring.", "The figures."],
        "b",
        "The winners need not carry over; set PROFILE and measure.",
    ),
]
