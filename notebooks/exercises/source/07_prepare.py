# %% [markdown]
# # 07 · Prepare: exercises
#
# You will mask the loss of the company's training pairs, keep a test about other things apart, and find test questions
# that were planted among the training questions.

# %%
import random
import re

from checks import Question, exercise, open_lab

from labkit.rag.augment import build_messages

lab = open_lab()


def prompt(n):
    """The token ids of the prompt of training pair number n."""
    return lab.model.encode(build_messages(lab.pairs[n].question))


def answer(n):
    """The token ids of the answer of training pair number n, with the end token last."""
    return [*lab.model.tokenizer(lab.pairs[n].answer)["input_ids"], lab.model.tokenizer.eos_token_id]


def loss(ids, labels):
    """The pocket model's mean loss over the tokens of a row whose label is not -100."""
    import torch

    with torch.inference_mode():
        return lab.model.network(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()


# %% [markdown]
# ## 1. The loss mask
#
# A model that is to learn answering need not learn to ask. The label -100 leaves a token out of the loss. What is
# learned is the answer *and its end token*: a model that never learns to stop goes on talking.


# %% tags=["solution"]
@exercise(
    cases=[(0,), (3,), (500,)],
    hint="A row is the prompt and then the answer. The labels are as long as the row, with -100 for each prompt token.",
    wrong=[
        ("[-100] * len(prompt(n)) + answer(n)", "prompt(n) + answer(n)"),
        ("[-100] * len(prompt(n)) + answer(n)", "[-100] * len(prompt(n)) + answer(n)[:-1] + [-100]"),
        ("return labels, loss(ids, labels)", "return labels, loss(ids, ids)"),
    ],
)
def masked(n: int) -> tuple[list[int], float]:
    """The labels of training pair number `n`, one for each token of its row, and the `loss` of the row with them.

    A token that is learned has itself as its label.

    >>> set(masked(0)[0][:5])
    {-100}
    """
    ids, labels = prompt(n) + answer(n), [-100] * len(prompt(n)) + answer(n)
    return labels, loss(ids, labels)


# %% [markdown]
# ## 2. Split by thing
#
# A random split puts one question about a product into the training and another about the same product into the test.
# The test then measures memory. Split the *things*, and each pair goes where its things go. A pair that compares a
# thing of the training with one of the test belongs to neither.


# %% tags=["solution"]
@exercise(
    cases=[
        (["Falcon Anchor"],),
        (["Falcon Anchor", "Miller Frost"],),
        (["Miller Frost", "Otter Frozen"],),
        (["Falcon"],),
    ],
    hint="Take the set of the entities of a pair's evidence. A pair without evidence is about no held-out thing.",
    wrong=[
        ("if things and things <= held", "if things & held"),
        ("if not things & held", "if not things <= held"),
        ("{fact.entity for fact in pair.evidence}", "{fact.entity for fact in pair.evidence[:1]}"),
    ],
)
def split(held_out: list[str]) -> tuple[int, list[str]]:
    """How many of `lab.pairs` are for training, and the ids of those for the test.

    The things of a pair are the `entity` of each of its `evidence`. Training has the pairs about no thing that is held
    out, the test those about held-out things alone.

    >>> split(["Falcon"])
    (630, [])
    """
    train, test, held = 0, [], set(held_out)
    for pair in lab.pairs:
        things = {fact.entity for fact in pair.evidence}
        if not things & held:
            train += 1
        if things and things <= held:
            test.append(pair.id)
    return train, test


# %% [markdown]
# ## 3. Plant a leak and find it
#
# Comparing texts exactly finds copies, but not a copy in other words. Compare by shared words: the number of words in
# both texts over the number of words in either, called the Jaccard similarity. The lower the threshold, the more leaks
# and the more false alarms. Plant three test questions among the training questions, each with one word less.


# %%
def planted():
    """The first 100 training questions, with three test questions hidden among them, each without its last word."""
    copies = [item.question.rsplit(maxsplit=1)[0] + "!" for item in lab.questions[:30:10]]
    questions = [pair.question for pair in lab.pairs[:100]] + copies
    return random.Random(1).sample(questions, len(questions))


# %% tags=["solution"]
@exercise(
    cases=[(1.0,), (0.8,), (0.6,), (0.4,)],
    hint="Sets of lower-case words without punctuation; divide by the words in either text, and count equality in.",
    wrong=[
        ("len(a | b)", "min(len(a), len(b))"),
        (".lower()", ""),
        (r're.findall(r"\w+", text.lower())', "text.lower().split()"),
        ("for item in lab.questions[:70]", "for item in lab.questions[:20]"),
    ],
    seconds=10,
)
def leaks(threshold: float) -> list[str]:
    """The `planted` questions that share at least `threshold` of their words with one of the first 70 test questions.

    The share is words in both over words in either, as sets; a word is a run of letters or digits, in lower case. Keep
    the order of `planted()`; the test questions are in `lab.questions`.

    >>> leaks(1.0)
    []
    """

    def words(text: str) -> set[str]:
        return set(re.findall(r"\w+", text.lower()))

    def share(a: set[str], b: set[str]) -> float:
        return len(a & b) / len(a | b)

    test = [words(item.question) for item in lab.questions[:70]]
    return [text for text in planted() if max(share(words(text), other) for other in test) >= threshold]


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "The end token was masked by accident. What does the tuned model do?",
        ["It does not stop.", "It answers nothing.", "It repeats the question."],
        "a",
        "Nobody taught it when an answer is over.",
    ),
    Question(
        "At a low threshold, the check reports questions that you did not plant. What are they?",
        [
            "Leaks that somebody else planted.",
            "Questions in the same wording about other things: look at them before you remove any.",
            "Errors of the software.",
        ],
        "b",
        "Similar words are not the same question. A threshold trades missed leaks for false alarms.",
    ),
    Question(
        "You want to test whether a skill was learned, not facts. Split by ...",
        ["row, at random.", "entity: the test is about things never trained.", "date."],
        "b",
        "A random split shares facts and wordings with its training set.",
    ),
]
