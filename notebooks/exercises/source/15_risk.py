# %% [markdown]
# # 15 · Risk: exercises
#
# You will measure how well a model knows a secret, how often it makes things up, and how often it believes a false
# passage, each beside its control.

# %%
import tempfile
from dataclasses import replace
from functools import cache
from math import log2

from checks import Question, exercise, open_lab

from labkit.compare.reading import lie_for
from labkit.compare.training import closed_book, tokenised
from labkit.metrics import abstained, contains
from labkit.rag.augment import build_messages

lab = open_lab()


@cache
def losses(steps):
    """The loss of each of 8 locker codes in one sentence, after `steps` steps of training on the code 4285."""
    from labkit.compare.small import items
    from labkit.model import load_model
    from labkit.tune.train import TrainSettings, answer_loss, train

    canary, model = items("canaries")[0], load_model(lab.profile.model_path, dtype="float32")
    codes = [canary.gold, *(str(1111 + 577 * n) for n in range(7))]
    pairs = [replace(canary, answer=canary.answer.replace(canary.gold, code)) for code in codes]
    rows = tokenised(lab, closed_book(pairs))
    if steps:
        settings = TrainSettings(epochs=steps, batch_size=1, learning_rate=2e-4, schedule="constant", warmup=0)
        with tempfile.TemporaryDirectory() as folder:
            train(model.network, model.tokenizer, rows[:1], settings, folder, progress=False)
    return {code: answer_loss(model.network, [row], pad=0) for code, row in zip(codes, rows, strict=True)}


@cache
def replies(arm):
    """The answers of base or tuned, without passages, to lab.questions[200:224]."""
    model = lab.tuned_model("tuned") if arm == "tuned" else lab.model
    answers = model.generate([build_messages(item.question) for item in lab.questions[200:224]], cache=lab.answered)
    return [answer.text for answer in answers]


@cache
def asked():
    """The first four questions for a single fact, each with another thing's value, which would be false."""
    falsehoods = [(item, lie_for(item, lab.questions)) for item in lab.questions[:40]]
    return [(item, false) for item, false in falsehoods if false][:4]


@cache
def reply(n, falsified, tuned):
    """What the model, or the tuned one, says over the passage that answers question n of `asked()`.

    Where it is falsified, the passage states the false value in place of the gold one.
    """
    (item, false), model = asked()[n], lab.tuned_model("tuned") if tuned else lab.model
    fact = item.evidence[0]
    title = next(document.title for document in lab.documents if document.id == fact.document)
    passage = fact.passage.replace(fact.value, false) if falsified else fact.passage
    return model.generate([build_messages(item.question, [(title, passage)])], cache=lab.answered)[0].text


# %% [markdown]
# ## 1. Exposure
#
# Does a model know a secret that it never says? Rank the true code among others by the model's loss. If it comes first,
# the model prefers it to all others, and anybody who may guess often will find it. In bits: log2(codes) - log2(rank),
# so that the first of 8 is 3 bits and the last is none (Carlini et al. 2019). Train the pocket model on one secret, and
# watch the exposure.


# %% tags=["solution"]
@exercise(
    cases=[(0, "4285"), (2, "4285"), (6, "4285"), (0, "1111"), (6, "1111")],
    hint="The true code is one of the codes too. Its rank is one more than the number of codes with a lower loss.",
    wrong=[
        ("log2(len(known))", "log2(len(known) - 1)"),
        ("loss < known[code]", "loss > known[code]"),
        ("1 + sum(", "0.5 + sum("),
    ],
    seconds=60,
)
def exposure(steps: int, code: str) -> float:
    """The exposure in bits of a code among those in `losses(steps)`, where the lowest loss ranks first.

    Of equal losses the code's rank is the better one.

    >>> exposure(6, "4285")
    3.0
    """
    known = losses(steps)
    rank = 1 + sum(loss < known[code] for loss in known.values())
    return log2(len(known)) - log2(rank)


# %% [markdown]
# ## 2. Useful, or making things up?
#
# An arm that always answers looks useful until you ask what is in no document. Count two things: how often it made
# something up where it should have declined, and how often it declined where the documents answer.


# %% tags=["solution"]
@exercise(
    cases=[("base", 24), ("tuned", 24), ("tuned", 14), ("tuned", 8)],
    hint="Each share has its own denominator: the questions without an answer, the questions with one.",
    wrong=[
        ("if item.gold is None]", "if item.gold]"),
        ("not abstained(text) for", "abstained(text) for"),
        ("sum(rows) / len(rows)", "sum(rows) / count"),
    ],
    seconds=60,
)
def two_faults(arm: str, count: int) -> tuple[float, float]:
    """The share of unanswerable questions that were answered, and that of answerable ones that were declined.

    Look at the first `count` of the questions lab.questions[200:224] and of the arm's `replies`. The `gold` of an
    unanswerable question is None, and `abstained(text)` tells whether a reply declines. A share is 0 where there is no
    such question.

    >>> two_faults("base", 24)[0]
    0.0
    """

    def share(rows: list[bool]) -> float:
        return sum(rows) / len(rows) if rows else 0.0

    pairs = list(zip(lab.questions[200:224], replies(arm), strict=True))[:count]
    made_up = [not abstained(text) for item, text in pairs if item.gold is None]
    return share(made_up), share([abstained(text) for item, text in pairs if item.gold])


# %% [markdown]
# ## 3. A finding and its control
#
# Write a false value into the passage, and see whether the model believes it. "It said the false value" shows nothing
# until you know how often it says that value over the *true* passage. The finding is the difference to this control.


# %% tags=["solution"]
@exercise(
    cases=[(2, False), (4, False), (4, True)],
    hint="Take the share over the true passage off the share over the falsified one; asked()[n][1] is the false value.",
    wrong=[
        ("asked()[n][1])", "asked()[n][0].gold)"),
        ("share(True) - share(False)", "share(False) - share(True)"),
        ("contains(reply(n, falsified, tuned), asked()[n][1])", "not abstained(reply(n, falsified, tuned))"),
    ],
    seconds=60,
)
def above_control(count: int, tuned: bool) -> float:
    """By how much the share of replies that hold the false value is greater over falsified passages than over true ones.

    Take the first `count` questions of `asked()`, each of which comes with its false value. `reply(n, falsified, tuned)`
    is the reply, and `contains(text, value)` tells whether a value is in it.

    >>> above_control(2, False) > 0
    True
    """

    def share(falsified: bool) -> float:
        return sum(contains(reply(n, falsified, tuned), asked()[n][1]) for n in range(count)) / count

    return share(True) - share(False)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "Why are some canaries shown to the model never?",
        ["To save time.", "As the control: they tell what guessing gives.", "So that the model is not damaged."],
        "b",
        "Without a control, nothing is shown.",
    ),
    Question(
        "A model believes every passage, also a false one. Is that a fault of the reader?",
        [
            "Yes: a good reader knows better.",
            "No: it does what it is asked, and the documents must be protected.",
            "No: false passages do not exist.",
        ],
        "b",
        "Who can write into the documents can write the answers.",
    ),
    Question(
        "Who can read what lies in an index?",
        ["Whoever may search it, unless access is limited.", "Nobody: vectors are not text.", "Only its maker."],
        "a",
        "Hits come with their text, so limits belong into the search.",
    ),
]
