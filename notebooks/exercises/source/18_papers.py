# %% [markdown]
# # 18 · Papers: exercises
#
# You will carry over what can be carried over from a paper: a direction.

# %%
from itertools import pairwise

from checks import Question, exercise

# %% [markdown]
# ## 1. The rule for a direction
#
# A published figure belongs to its model and data; what can be tested elsewhere is its sign. Your own interval may lie
# on the same side of zero, on the other, or around it.


# %% tags=["solution"]
@exercise(
    cases=[
        (12.0, 0.1, 0.3),
        (12.0, -0.3, -0.1),
        (12.0, -0.1, 0.3),
        (-4.0, -0.3, -0.1),
        (-4.0, 0.1, 0.2),
        (3.0, 0.0, 0.3),
    ],
    hint="Ask first whether zero is inside or at an end. Then compare the two signs; the sizes do not matter.",
    wrong=[
        ("low <= 0 <= high", "low < 0 < high"),
        ("(published > 0) == (low > 0)", "low > 0"),
        ("(published > 0) == (low > 0)", "low <= published <= high"),
    ],
)
def direction(published: float, low: float, high: float) -> str:
    """One of "supported", "refuted" and "not decided": has your interval of a difference the sign of the published one?

    `published` is not zero; an interval that contains or touches zero decides nothing.

    >>> direction(-4.0, 0.1, 0.2)
    'refuted'
    """
    if low <= 0 <= high:
        return "not decided"
    return "supported" if (published > 0) == (low > 0) else "refuted"


# %% [markdown]
# ## 2. More of it, more of that?
#
# "The rarer a fact, the larger the lead of retrieval" is about a whole row of figures. It holds strictly if each step
# goes the right way. A softer rule counts pairs: among all pairs of points, how many more go down than up? (Kendall's
# tau.)


# %% tags=["solution"]
@exercise(
    cases=[
        ([0.9, 0.5, 0.3],),
        ([0.9, 0.3, 0.5, 0.1],),
        ([0.1, 0.2, 0.3],),
        ([0.5, 0.5, 0.2],),
        ([0.4, 0.6],),
    ],
    hint="Steps compare neighbours; pairs compare every earlier figure with every later one, and equal ones count nothing.",
    wrong=[
        ("a > b for a, b in pairwise(row)", "a >= b for a, b in pairwise(row)"),
        ("for j in range(i)", "for j in range(i - 1, i)"),
        ("(row[j] > row[i]) - (row[j] < row[i])", "(row[j] > row[i])"),
    ],
)
def falling(row: list[float]) -> tuple[bool, float]:
    """Whether each figure is below the one before; and falling pairs less rising pairs, over all pairs.

    >>> falling([0.9, 0.3, 0.5])
    (False, 0.3333333333333333)
    """
    pairs = [(row[j] > row[i]) - (row[j] < row[i]) for i in range(len(row)) for j in range(i)]
    return all(a > b for a, b in pairwise(row)), sum(pairs) / len(pairs)


# %% [markdown]
# ## 3. Every part, or some part?
#
# A finding has parts: in each of several data sets, for each of several models. "It holds" may mean in all, and "it
# holds partly" must not be told as "it holds".


# %% tags=["solution"]
@exercise(
    cases=[
        (["supported", "supported"],),
        (["supported", "not decided"],),
        (["refuted", "refuted"],),
        (["refuted", "not decided"],),
        (["not decided"],),
        (["supported", "refuted"],),
    ],
    hint="The verdict is about all parts together; one part that differs makes it mixed.",
    wrong=[
        ("set(parts) == {word}", "word in parts"),
        ('return "mixed"', 'return "refuted"'),
        ('("supported", "refuted", "not decided")', '("supported", "refuted")'),
    ],
)
def together(parts: list[str]) -> str:
    """The word that all parts have ("supported", "refuted", "not decided"), or "mixed" if they differ.

    >>> together(["supported", "not decided"])
    'mixed'
    """
    for word in ("supported", "refuted", "not decided"):
        if set(parts) == {word}:
            return word
    return "mixed"


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "A paper reports 87 %, you measure 61 % with a small model. Is the paper refuted?",
        ["Yes.", "No: compare the direction, and even that with an interval.", "Only if it was peer reviewed."],
        "b",
        "A published number belongs to its model, data and measure.",
    ),
    Question(
        "A blog says what a paper found. What do you cite?",
        ["The blog.", "The paper's abstract.", "The paper, with the table where it says so."],
        "c",
        "Read the paper, not what is said of it.",
    ),
]
