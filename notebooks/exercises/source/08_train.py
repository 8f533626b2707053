# %% [markdown]
# # 08 · Train: exercises
#
# You will compute a learning rate, stop in time, and count the steps of a training.

# %%
from math import cos, exp, log, pi

from checks import Question, exercise

# %% [markdown]
# ## 1. A schedule
#
# At the first steps the gradients are wild, so the learning rate is warmed up in a straight line; then it falls along
# half a cosine to zero, so that the last steps settle.


# %% tags=["solution"]
@exercise(
    cases=[
        (0, 100, 10, 1.0),
        (5, 100, 10, 1.0),
        (10, 100, 10, 1.0),
        (55, 100, 10, 2.0),
        (20, 100, 10, 1.0),
        (100, 100, 10, 1.0),
        (0, 8, 0, 1.0),
    ],
    hint="After the warm-up count the steps from its end: what share of the remaining ones is done?",
    wrong=[
        ("(step - warmup) / (total - warmup)", "step / total"),
        ("peak * step / warmup", "peak"),
        ("(1 + cos(pi * done)) / 2", "cos(pi * done)"),
        ("(1 + cos(pi * done)) / 2", "(1 - done)"),
    ],
)
def rate(step: int, total: int, warmup: int, peak: float) -> float:
    """The learning rate at a step from 0 to `total`: straight from 0 to `peak` at step `warmup`, then a half cosine.

    The half cosine is peak * (1 + cos(pi * d)) / 2, where d goes from 0 at `warmup` to 1 at `total`. Without a warm-up it
    begins at once.

    >>> rate(55, 100, 10, 2.0)
    1.0
    """
    if step < warmup:
        return peak * step / warmup
    done = (step - warmup) / (total - warmup)
    return peak * (1 + cos(pi * done)) / 2


# %% [markdown]
# ## 2. Stop early
#
# The loss on held-out examples falls, and then rises while the trained one still falls: from there the model learns by
# heart. Stop after `patience` epochs without a new best, and keep the weights of the *best* epoch, not of the last.


# %% tags=["solution"]
@exercise(
    cases=[
        ([3, 2, 1, 2, 3, 0.5], 2),
        ([3, 2, 1, 2, 0.5, 3], 2),
        ([1, 1, 1], 2),
        ([3, 2, 1], 1),
        ([2, 3, 1], 1),
        ([5], 3),
    ],
    hint="Count the epochs since the best one; an equal loss is no new best. Give the best epoch, then the last one run.",
    wrong=[
        ("loss < losses[best]", "loss <= losses[best]"),
        ("epoch - best >= patience", "epoch - best > patience"),
        ("epoch - best >= patience", "loss > losses[epoch - 1]"),
        ("return best, epoch", "return epoch, epoch"),
    ],
)
def stop(losses: list[float], patience: int) -> tuple[int, int]:
    """The best epoch and the last one that is run, from 0, where training stops after `patience` epochs without a new best.

    `losses` has the held-out loss that each epoch would have; without a stop all are run.

    >>> stop([3, 2, 1, 2, 3, 0.5], 2)
    (2, 4)
    """
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best, epoch


# %% [markdown]
# ## 3. The loss of an answer
#
# The loss is the mean of -log p over the tokens that are learned, where p is what the model gave the true token. Its
# exponential, the perplexity, says among how many tokens the model was wavering, so to speak.


# %% tags=["solution"]
@exercise(
    cases=[
        ([0.5, 0.25, 1.0], [True, True, True]),
        ([0.5, 0.01, 0.02], [True, False, False]),
        ([0.1, 0.1], [True, True]),
        ([0.9, 0.2, 0.4], [False, True, True]),
    ],
    hint="Leave out what is masked before you divide; average the logarithms, not the probabilities.",
    wrong=[
        ("/ len(kept)", "/ len(p)"),
        ("sum(-log(x) for x in kept) / len(kept)", "-log(sum(kept) / len(kept))"),
        ("exp(loss)", "2**loss"),
        ("if use", "if True"),
    ],
)
def loss_and_perplexity(p: list[float], learned: list[bool]) -> tuple[float, float]:
    """The loss (natural logarithm) and the perplexity over the learned tokens; `p` has each true token's probability.

    >>> loss_and_perplexity([0.5, 0.01], [True, False])
    (0.6931471805599453, 2.0)
    """
    kept = [x for x, use in zip(p, learned, strict=True) if use]
    loss = sum(-log(x) for x in kept) / len(kept)
    return loss, exp(loss)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "The trained loss falls and the held-out loss rises. What is going on?",
        ["The learning rate is too low.", "The model begins to learn by heart.", "The model has not learned enough."],
        "b",
        "From there on it gets better at what it saw and worse at what it did not.",
    ),
    Question(
        "You hold out examples in trained wordings. What does early stopping on them protect?",
        [
            "What they test: other wordings are another matter.",
            "Everything that the model can do.",
            "The speed of the training.",
        ],
        "a",
        "What you hold out decides what you get.",
    ),
]
