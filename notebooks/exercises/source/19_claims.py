# %% [markdown]
# # 19 · Claims: exercises
#
# You will turn intervals into verdicts, so that nobody has to type one.

# %%
from checks import Question, exercise

# %% [markdown]
# ## 1. One need
#
# A claim needs its figure to lie on one side of a bound. The figure is an interval, so there are three outcomes: all of
# it on the claimed side, all of it on the other, or the bound within it, and then nothing is decided.


# %% tags=["solution"]
@exercise(
    cases=[
        (0.1, 0.3, ">", 0),
        (-0.1, 0.3, ">", 0),
        (-0.3, -0.1, ">", 0),
        (0.0, 0.3, ">", 0),
        (-0.3, 0.0, ">", 0),
        (0.1, 0.3, "<", 0.5),
        (0.6, 0.9, "<", 0.5),
        (0.4, 0.9, "<", 0.5),
    ],
    hint="For > the low end must be above the bound, or the high end below it. For < the two change places.",
    wrong=[
        ("low > bound, high < bound", "(low + high) / 2 > bound, (low + high) / 2 < bound"),
        ("low > bound, high < bound", "high > bound, low < bound"),
        ("low > bound, high < bound", "low >= bound, high <= bound"),
        ('if sign == ">"', "if True"),
    ],
)
def holds(low: float, high: float, sign: str, bound: float) -> bool | None:
    """Whether an interval lies wholly on the side of `bound` that `sign` (">" or "<") names.

    True if it does, False if it lies wholly on the other side, None if the bound is inside or at an end.

    >>> holds(0.1, 0.3, ">", 0)
    True
    """
    above, below = low > bound, high < bound
    right, wrong = (above, below) if sign == ">" else (below, above)
    return True if right else False if wrong else None


# %% [markdown]
# ## 2. A verdict
#
# Claims often need several figures. All hold: supported. Some fail and none holds: refuted. Anything else is mixed, and
# a claim whose figure nobody measured is not measurable here.


# %% tags=["solution"]
@exercise(
    cases=[
        ([True, True], False),
        ([True, None], False),
        ([False, None], False),
        ([False, True], False),
        ([None], False),
        ([False], False),
        ([True], True),
    ],
    hint="Ask first what is missing, then whether all hold, then whether one fails and none holds.",
    wrong=[
        ("all(held)", "any(held)"),
        ("False in held and True not in held", "False in held"),
        ("False in held and True not in held", "True not in held"),
        ("if missing", "if not held"),
    ],
)
def verdict(held: list[bool | None], missing: bool) -> str:
    """One of "supported", "refuted", "mixed" and, if a figure is missing, "not measurable here".

    `held` has True, False or None (not decided) for each figure that the claim needs.

    >>> verdict([True, None], False)
    'mixed'
    """
    if missing:
        return "not measurable here"
    if all(held):
        return "supported"
    return "refuted" if False in held and True not in held else "mixed"


# %% [markdown]
# ## 3. Turned around
#
# A rule that says "supported" whatever the data is no rule. Turn the data of a claim around: the difference of a and b
# becomes that of b and a. Its interval changes sign, and a verdict that was decided must turn with it.


# %% tags=["solution"]
@exercise(
    cases=[
        ([(0.1, 0.3), (-0.2, 0.4)],),
        ([(-0.3, -0.1)],),
        ([(0.0, 0.5), (0.2, 0.3), (-1, -0.5)],),
    ],
    hint="After the signs have changed, the former high end is the low one.",
    wrong=[
        ("(-high, -low)", "(-low, -high)"),
        ("low > 0 or high < 0", "low > 0"),
        ("low > 0 or high < 0", "low * high != 0"),
    ],
)
def turned(intervals: list[tuple[float, float]]) -> tuple[list[tuple[float, float]], int]:
    """The intervals (low, high) of the differences the other way round; and how many of the given ones exclude zero.

    >>> turned([(0.1, 0.3), (-0.2, 0.4)])
    ([(-0.3, -0.1), (-0.4, 0.2)], 1)
    """
    around = [(-high, -low) for low, high in intervals]
    return around, sum(low > 0 or high < 0 for low, high in intervals)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "When is the rule of a claim fixed?",
        ["After the figures are known.", "Before anything is measured.", "Whenever the verdict is disputed."],
        "b",
        "A rule chosen after the figures can be made to say anything.",
    ),
    Question(
        "A claim says that an arm is slower, and the interval of the difference holds zero. The verdict?",
        ["Refuted.", "Supported.", "Mixed: these data do not decide."],
        "c",
        "Refuted would need the whole interval on the other side.",
    ),
    Question(
        "The verdict holds for the pocket model. Does it for yours?",
        ["Measure: the same ledger runs on yours.", "Yes, verdicts are about methods.", "No, never."],
        "a",
        "A verdict belongs to a model, documents and questions; the rule carries over.",
    ),
]
