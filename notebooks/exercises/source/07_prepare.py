# %% [markdown]
# # 07 · Prepare: exercises
#
# You will decide which tokens are learned, and keep a test apart from what was trained.

# %%
import re

from checks import Question, exercise

# %% [markdown]
# ## 1. The loss mask
#
# A model that is to learn answering need not learn to ask. The label -100 leaves a token out of the loss. What is
# learned is the assistant's answer *and its end token*: who never learns to stop goes on talking.


# %% tags=["solution"]
@exercise(
    cases=[
        ([("user", [5, 6]), ("assistant", [7, 8])], 2),
        ([("system", [4]), ("user", [5, 6]), ("assistant", [7]), ("user", [9]), ("assistant", [3, 3])], 2),
        ([("user", [5])], 1),
        ([("assistant", [])], 2),
    ],
    hint="Every turn is closed by the end token; only an assistant's turn keeps its tokens, the end token included.",
    wrong=[
        ("row = [*tokens, end]", "row = list(tokens)"),
        ('row if role == "assistant"', 'tokens + [-100] if role == "assistant"'),
        ('role == "assistant"', 'role != "system"'),
        ("[-100] * len(row)", "[-100] * len(tokens)"),
    ],
)
def labels(turns: list[tuple[str, list[int]]], end: int) -> list[int]:
    """A label for each token of a conversation: the token itself where it is learned, else -100.

    A turn is a role and its tokens; each is followed by the token `end`. Learned are the assistant's turns, with their end.

    >>> labels([("user", [5, 6]), ("assistant", [7])], 2)
    [-100, -100, -100, 7, 2]
    """
    found: list[int] = []
    for role, tokens in turns:
        row = [*tokens, end]
        found += row if role == "assistant" else [-100] * len(row)
    return found


# %% [markdown]
# ## 2. Split by thing
#
# A random split puts one question about a pump into the training and another about the same pump into the test: the
# test then measures memory. Split the *things*, and each row goes where its thing goes.


# %% tags=["solution"]
@exercise(
    cases=[
        (["pump", "valve", "pump", "motor"], ["valve"]),
        (["a", "b", "a", "b"], ["a", "b"]),
        (["a", "b"], ["c"]),
        (["pump a", "pump", "pump b"], ["pump"]),
    ],
    hint="Compare the whole name, and give the numbers of the rows, from 0, in order.",
    wrong=[
        ("entity in held_out", "any(name in entity for name in held_out)"),
        ("for n, entity in enumerate(entities)", "for n, entity in enumerate(dict.fromkeys(entities))"),
        ("if n not in test", "if n in test"),
    ],
)
def split(entities: list[str], held_out: list[str]) -> tuple[list[int], list[int]]:
    """The numbers of the rows for training and for the test: the test has every row about a thing that is held out.

    `entities` has the thing of each row.

    >>> split(["pump", "valve", "pump"], ["pump"])
    ([1], [0, 2])
    """
    test = [n for n, entity in enumerate(entities) if entity in held_out]
    return [n for n in range(len(entities)) if n not in test], test


# %% [markdown]
# ## 3. A looser look for leaks
#
# Comparing texts exactly finds copies, but not a copy with another comma. Compare by shared words: the number of words
# in both over the number of words in either, called Jaccard similarity. The lower the threshold, the more leaks and the
# more false alarms.


# %% tags=["solution"]
@exercise(
    cases=[
        (["Where is the pump made?"], ["where is the pump, made", "Who made it?"], 0.9),
        (["a b c d"], ["a b c x", "a b x y"], 0.6),
        (["a b c d"], ["a b c x", "a b x y"], 0.3),
        (["a a a b"], ["a b"], 1.0),
        (["a b"], ["c"], 0.5),
        (["a"], ["a b c"], 0.5),
    ],
    hint="Sets of lower-case words without punctuation; divide by the words in either text, and count equality in.",
    wrong=[
        ("len(a | b)", "min(len(a), len(b))"),
        (">= threshold", "> threshold"),
        (".lower()", ""),
        (r're.findall(r"\w+", text.lower())', "text.lower().split()"),
    ],
)
def leaks(train: list[str], test: list[str], threshold: float) -> list[int]:
    """The numbers, from 0, of the test texts that share with some training text at least `threshold` of their words.

    The share is words in both over words in either, as sets; a word is a run of letters or digits, in lower case.

    >>> leaks(["a b c d"], ["a b c x", "a b x y"], 0.6)
    [0]
    """

    def words(text: str) -> set[str]:
        return set(re.findall(r"\w+", text.lower()))

    def share(a: set[str], b: set[str]) -> float:
        return len(a & b) / len(a | b)

    return [n for n, text in enumerate(test) if max(share(words(text), words(other)) for other in train) >= threshold]


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "The end token was masked by accident. What does the tuned model do?",
        ["It does not stop.", "It answers nothing.", "It repeats the question."],
        "a",
        "Nobody taught it when an answer is over.",
    ),
    Question(
        "You want to test whether a skill was learned, not facts. Split by ...",
        ["row, at random.", "entity: the test is about things never trained.", "date."],
        "b",
        "A random split shares facts and wordings with its training set.",
    ),
]
