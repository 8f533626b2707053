# %% [markdown]
# # 11 · Hybrid: exercises
#
# You will take the effects of passages and of training apart, find the questions on which they spoil each other, and
# build the prompts on which a reader practises.

# %%
import random
from functools import cache

from checks import Question, exercise, open_lab

from labkit.compare.lab import spread
from labkit.compare.score import is_right
from labkit.rag.augment import build_messages

lab = open_lab()


@cache
def asked():
    """24 test questions that the documents answer, each kind in proportion."""
    return spread([question for question in lab.questions if question.gold], 24)


@cache
def titles():
    """The title of each of the company's documents, by its id."""
    return {document.id: document.title for document in lab.documents}


def passages(n):
    """Passages for question number n of `asked()`, each a title and a text: the gold ones among those of the next three."""
    facts = [fact for question in asked()[n : n + 4] for fact in question.evidence]
    return sorted((titles()[fact.document], fact.passage) for fact in facts)


@cache
def right(arm):
    """For each question of `asked()`, 1 if the arm (base, rag, tuned or naive) answers it right, else 0."""
    model = lab.tuned_model("tuned") if arm in ("tuned", "naive") else lab.model
    given = [passages(n) if arm in ("rag", "naive") else () for n in range(len(asked()))]
    prompts = [build_messages(item.question, some) for item, some in zip(asked(), given, strict=True)]
    answers = model.generate(prompts, cache=lab.answered)
    return [int(is_right(item, answer.text)) for item, answer in zip(asked(), answers, strict=True)]


# %% [markdown]
# ## 1. Interaction
#
# Passages add right answers, and so does training. Do both together add the sum? The interaction is the effect of the
# passages on the tuned weights minus their effect on the weights as they came.


# %% tags=["solution"]
@exercise(
    cases=[(8,), (16,), (24,)],
    hint="Question by question: (naive - tuned) - (rag - base), then the mean.",
    wrong=[
        ("(d - c) - (b - a)", "(d - c) + (b - a)"),
        ("(d - c) - (b - a)", "d - max(b, c)"),
        ("/ n", "/ len(rows[0])"),
    ],
    seconds=60,
)
def interaction(n: int) -> float:
    """The mean over the first `n` questions of the passages' effect on the tuned weights minus that on the untuned ones.

    `right(arm)` has the scores of base (no passages), rag (passages), tuned (trained, no passages) and naive (trained, and
    given passages). Above zero, passages and training help each other; below zero, they spoil each other.

    >>> interaction(24) < 0
    True
    """
    rows = list(zip(right("base"), right("rag"), right("tuned"), right("naive"), strict=True))[:n]
    return sum((d - c) - (b - a) for a, b, c, d in rows) / n


# %% [markdown]
# ## 2. Find what was spoiled
#
# The naive arm has the same passages as rag, and its weights learned the answers. Look for the questions that rag reads
# right and naive answers wrong: what do their answers look like?


# %% tags=["solution"]
@exercise(
    cases=[("rag", "naive"), ("naive", "rag"), ("tuned", "naive"), ("naive", "tuned")],
    hint="Go through the questions and both lists of scores together.",
    wrong=[
        ("if one > other", "if one < other"),
        ("if one > other", "if one == other == 0"),
        ("item.id", "item.kind"),
    ],
    seconds=60,
)
def spoiled(a: str, b: str) -> list[str]:
    """The ids of those questions of `asked()` that arm `a` answers right and arm `b` wrong, in order.

    >>> spoiled("base", "base")
    []
    """
    return [item.id for item, one, other in zip(asked(), right(a), right(b), strict=True) if one > other]


# %% [markdown]
# ## 3. Practise with distractors
#
# A search brings the right passage and wrong ones, in any order. A model that practises on the right passage alone
# learns to copy from whatever is there. So mix distractors in, and let the right passage stand anywhere: otherwise the
# model learns the place.


# %% tags=["solution"]
@exercise(
    cases=[(0, 2, 0), (5, 3, 1), (9, 0, 2), (1, 4, 3), (13, 2, 7)],
    hint="The gold passages first, then the distractors cut to count; shuffle everything once.",
    wrong=[
        ("if other not in gold", "if True"),
        ("random.Random(seed).shuffle(mixed)", "pass"),
        ("wrong[:count]", "wrong[: count + 1]"),
        ("[*gold, *wrong[:count]]", "[*wrong[:count], *gold]"),
    ],
)
def practice(n: int, count: int, seed: int) -> list[tuple[str, str]]:
    """The gold passages of question number `n` of `asked()` and the first `count` others of `passages(n)`, shuffled.

    A gold passage is the pair of a title (see `titles()`) and the `passage` of one of the question's `evidence`. Put them
    first and the others behind them in order, and shuffle the list once with random.Random(seed).shuffle.

    >>> len(practice(0, 2, 0))
    3
    """
    gold = [(titles()[fact.document], fact.passage) for fact in asked()[n].evidence]
    wrong = [other for other in passages(n) if other not in gold]
    mixed = [*gold, *wrong[:count]]
    random.Random(seed).shuffle(mixed)
    return mixed


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "A model was tuned on questions and answers without passages. Then it gets passages. What may happen?",
        ["It reads them as well as before.", "It answers from its weights and reads worse.", "It refuses."],
        "b",
        "Practise on what you will be asked: with passages, if there will be passages.",
    ),
    Question(
        "The interaction is below zero. Is it wrong to use training and passages together?",
        [
            "Yes: they cannot be combined.",
            "No: it says that these two add less than their sum. Training with passages may do better.",
            "No: an interaction says nothing about answers.",
        ],
        "b",
        "The naive arm never saw a passage in training. The hybrid practises with them.",
    ),
    Question(
        "What is the cheap rival of tuning for style?",
        ["Asking for the style in the prompt.", "A larger index.", "More distractors."],
        "a",
        "It costs tokens at every question and no training; compare before you train.",
    ),
]
