# %% [markdown]
# # 13 · Update: exercises
#
# You will tell stale answers from wrong ones, find what must be embedded again, and judge an update by both kinds of
# facts.

# %%
from checks import Question, exercise

# %% [markdown]
# ## 1. Stale, or just wrong?
#
# After a change an answer can be right (the new value), stale (the old one) or wrong otherwise. The three have
# different remedies; a model that says the old value has not forgotten, it was not told.


# %% tags=["solution"]
@exercise(
    cases=[
        (["12", "10", "99"], ["10", "10", "10"], ["12", "12", "12"]),
        (["10", "7"], ["10", "7"], ["10", "8"]),
        (["8", "8", "8", "7"], ["7", "8", "9", "7"], ["8", "8", "10", "7"]),
    ],
    hint="Look for the new value first: where nothing changed, the old value is right. The shares are of all answers.",
    wrong=[
        ("answer == now for", "answer == now != old for"),
        ("answer == old != now", "answer == old"),
        ("1 - right - stale", "1 - right"),
        ("answer == old != now", "answer != now"),
    ],
)
def staleness(answers: list[str], before: list[str], after: list[str]) -> tuple[float, float, float]:
    """The shares of answers that are right (the value after), stale (the one before, where it changed) and neither.

    >>> staleness(["12", "10"], ["10", "10"], ["12", "12"])
    (0.5, 0.5, 0.0)
    """
    n, rows = len(answers), list(zip(answers, before, after, strict=True))
    right = sum(answer == now for answer, old, now in rows) / n
    stale = sum(answer == old != now for answer, old, now in rows) / n
    return right, stale, 1 - right - stale


# %% [markdown]
# ## 2. Embed only what changed
#
# An index holds a vector for each text under the text's address. After an update, what was there already is kept, what
# is new is embedded, and what no document says any more *must* go: a forgotten deletion still answers.


# %% tags=["solution"]
@exercise(
    cases=[
        (["a", "b", "c"], ["a", "c", "d"]),
        (["a"], ["a", "a"]),
        (["a", "b"], []),
        ([], ["b", "a"]),
        (["b", "a", "c"], ["c", "e", "d", "e"]),
    ],
    hint="Two differences of sets, sorted.",
    wrong=[
        ("sorted(set(new) - set(old))", "sorted(set(new))"),
        ("sorted(set(old) - set(new))", "[]"),
        ("sorted(set(new) - set(old))", "sorted(text for text in new if text not in old)"),
    ],
)
def update(old: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    """The texts to embed, and those to delete from the index, each once and sorted.

    >>> update(["a", "b"], ["b", "c"])
    (['c'], ['a'])
    """
    return sorted(set(new) - set(old)), sorted(set(old) - set(new))


# %% [markdown]
# ## 3. What the patch broke
#
# Training on the changes alone teaches the changes, and may overwrite the rest. So look at changed and unchanged facts
# apart, before and after.


# %% tags=["solution"]
@exercise(
    cases=[
        ([1, 1, 0, 0], [1, 0, 1, 1], [False, False, True, True]),
        ([1, 1, 1, 0], [0, 0, 1, 1], [False, False, False, True]),
        ([0, 1, 1], [1, 1, 0], [True, False, True]),
    ],
    hint="A mean over the changed facts, another over the others, each of the score after less the score before.",
    wrong=[
        ("if c == which", "if True"),
        ("b - a for a, b, c", "a - b for a, b, c"),
        ("sum(rows) / len(rows)", "sum(rows) / len(before)"),
    ],
)
def effect(before: list[int], after: list[int], changed: list[bool]) -> tuple[float, float]:
    """How far the share of right answers rose by an update, on the changed facts and on the unchanged ones.

    The three lists are about the same facts; there are some of each kind.

    >>> effect([0, 1], [1, 0], [True, False])
    (1.0, -1.0)
    """

    def rise(which: bool) -> float:
        rows = [b - a for a, b, c in zip(before, after, changed, strict=True) if c == which]
        return sum(rows) / len(rows)

    return rise(True), rise(False)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "A document is deleted from the index. Who may still answer from it?",
        ["rag", "A model that was trained on it.", "Nobody."],
        "b",
        "Deleting from an index deletes nothing from weights.",
    ),
    Question(
        "After an update, 95 % of the changed facts are right. Is it a good update?",
        ["Yes.", "No, it should be all.", "Ask for the unchanged facts as well."],
        "c",
        "A patch can teach the new and overwrite the old.",
    ),
]
