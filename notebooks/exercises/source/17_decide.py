# %% [markdown]
# # 17 · Decide: exercises
#
# You will write advice as a function, check it against measurements, and choose the simplest arm that will do.

# %%
from checks import Question, exercise

# %% [markdown]
# ## 1. The flowchart as a function
#
# The article asks two questions. Does the knowledge change? Then RAG, whatever else. If not: is a certain tone or
# format needed? Then fine-tuning, else RAG. As a function, advice can be tested.


# %% tags=["solution"]
@exercise(
    cases=[(True, True), (True, False), (False, True), (False, False)],
    hint="There are four situations, and only one of them leads to tuning.",
    wrong=[
        ("form and not changes", "form"),
        ("form and not changes", "not changes"),
        ('"rag"', '"base"'),
    ],
)
def flowchart(changes: bool, form: bool) -> str:
    """The article's advice, "rag" or "tuned": `changes` says whether the knowledge changes, `form` whether a form is needed.

    >>> flowchart(False, True)
    'tuned'
    """
    return "tuned" if form and not changes else "rag"


# %% [markdown]
# ## 2. Was the advice the winner?
#
# Advice is checked situation by situation. It costs nothing where it names the best arm; where it does not, it costs
# the difference, and this is called regret.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"a": "rag", "b": "tuned"}, {"a": {"rag": 0.8, "tuned": 0.5}, "b": {"rag": 0.6, "tuned": 0.5}}),
        ({"a": "rag"}, {"a": {"rag": 0.5, "tuned": 0.5, "hybrid": 0.4}}),
        ({"a": "base", "b": "rag", "c": "rag"}, {n: {"base": 0.1, "rag": 0.6, "hybrid": 0.9} for n in "abc"}),
    ],
    hint="Regret is the best arm's worth less the advised arm's. Advice as good as the best one has won.",
    wrong=[
        ("max(worth[name].values()) - worth[name][arm]", "worth[name][arm] - min(worth[name].values())"),
        ("r == 0", "r > 0"),
        ("sum(regret) / len(regret)", "sum(regret)"),
    ],
)
def judged(advice: dict[str, str], worth: dict[str, dict[str, float]]) -> tuple[int, float]:
    """In how many situations no arm was worth more than the advised one, and the mean regret over the situations.

    `worth` has the worth of each arm in each situation.

    >>> judged({"a": "rag", "b": "tuned"}, {"a": {"rag": 0.75, "tuned": 0.5}, "b": {"rag": 0.75, "tuned": 0.5}})
    (1, 0.125)
    """
    regret = [max(worth[name].values()) - worth[name][arm] for name, arm in advice.items()]
    return sum(r == 0 for r in regret), sum(regret) / len(regret)


# %% [markdown]
# ## 3. The simplest that will do
#
# If the questions do not tell two arms apart, take the one that is simpler to keep up. From the simplest upwards: the
# first arm that is the best one, or whose distance to the best one has an interval that reaches zero.


# %% tags=["solution"]
@exercise(
    cases=[
        ("hybrid", {"base": 0.5, "rag": -0.02, "tuned": 0.3}, ["base", "rag", "tuned", "hybrid"]),
        ("hybrid", {"base": 0.5, "rag": 0.1, "tuned": 0.0}, ["base", "rag", "tuned", "hybrid"]),
        ("hybrid", {"base": 0.5, "rag": 0.1, "tuned": 0.3}, ["base", "rag", "tuned", "hybrid"]),
        ("rag", {"base": 0.2, "tuned": -0.1, "hybrid": -0.1}, ["base", "rag", "tuned", "hybrid"]),
    ],
    hint="Go through the arms in their order; a low end of zero or less means: not told apart.",
    wrong=[
        ("arm == best or low[arm] <= 0", "arm == best"),
        ("low[arm] <= 0", "low[arm] > 0"),
        ("low[arm] <= 0", "low[arm] < 0"),
        ("for arm in order", "for arm in reversed(order)"),
    ],
)
def simplest(best: str, low: dict[str, float], order: list[str]) -> str:
    """The first arm in `order` (simplest first) that is the best or not told apart from it.

    `low` has for each other arm the low end of the interval of the best arm's lead over it.

    >>> simplest("hybrid", {"base": 0.5, "rag": -0.02, "tuned": 0.3}, ["base", "rag", "tuned", "hybrid"])
    'rag'
    """
    return next(arm for arm in order if arm == best or low[arm] <= 0)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "What does the article's flowchart never advise?",
        ["RAG", "Fine-tuning", "The hybrid"],
        "c",
        "It has two questions and two arms.",
    ),
    Question(
        "The arms are not told apart. What do you do?",
        ["Take the one with the higher mean.", "Take the simpler one, or ask more questions.", "Take the newest."],
        "b",
        '"Not told apart" is an answer too.',
    ),
]
