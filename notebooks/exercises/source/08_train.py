# %% [markdown]
# # 08 · Train: exercises
#
# You will train the pocket model for a few steps, with and without a loss mask, and say when to stop.

# %%
import tempfile
from functools import cache
from math import cos, pi

from checks import Question, exercise, open_lab

lab = open_lab()


def network():
    """The pocket model's network as it came, in float32, ready to be trained."""
    from labkit.model import load_model

    return load_model(lab.profile.model_path, dtype="float32").network


@cache
def rows(start, end):
    """Training pairs from number `start` to `end` - 1 as rows of token ids and labels; the prompt is masked."""
    from labkit.compare.training import closed_book, tokenised

    return tokenised(lab, closed_book(lab.pairs[start:end]))


def batch():
    """The first four pairs as tensors: `input_ids`, `attention_mask` (1 for a token, 0 for padding) and `labels`."""
    from labkit.tune.prepare import Collator

    return Collator(pad=0)(rows(0, 4))


@cache
def held_out():
    """The loss on four pairs that are not trained, after each of 8 epochs on four others."""
    from labkit.tune.train import Check, TrainSettings, answer_loss, train

    model, check = network(), Check(lambda: {"loss": answer_loss(model, rows(4, 8), pad=0)})
    settings = TrainSettings(epochs=8, batch_size=4, learning_rate=1e-3, schedule="constant", warmup=0)
    with tempfile.TemporaryDirectory() as folder:
        report = train(model, lab.model.tokenizer, rows(0, 4), settings, folder, progress=False, check=check)
    return [round(epoch["loss"], 2) for epoch in report.epochs]


# %% [markdown]
# ## 1. A schedule
#
# At the first steps the gradients are large and change quickly, so the learning rate is warmed up in a straight line.
# Then it falls along half a cosine to zero, so that the last steps settle.


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
# ## 2. Train a few steps
#
# A step computes the loss of a batch, clears the old gradients, computes the new ones and moves the weights. Train the
# pocket model on four pairs, once with the loss of the answers alone and once with that of the whole rows. Your `rate`
# sets the learning rate of each step.


# %% tags=["solution"]
@exercise(
    cases=[(2, True), (2, False), (4, True)],
    hint="Without the mask every token is its own label, except padding, which stays -100. Set the rate before the step.",
    wrong=[
        ("if not masked:", "if masked:"),
        ("optimiser.zero_grad()", "pass"),
        ("optimiser.step()", "pass"),
        ('data["attention_mask"] == 0, -100', 'data["attention_mask"] == 1, -100'),
    ],
    seconds=60,
)
def losses(steps: int, masked: bool) -> list[float]:
    """The loss before each of `steps` steps on `batch()`, to one decimal, from a new `network()`.

    Use `torch.optim.AdamW`, with the learning rate `rate(step, steps, 1, 1e-3)` for the steps from 1 on. The network
    called with the batch, `model(**data)`, gives `.loss`. Without `masked`, the labels are the token ids, and -100 for
    padding.

    >>> losses(2, True)[0]
    5.2
    """
    import torch

    model, data, found = network(), batch(), []
    optimiser = torch.optim.AdamW(model.parameters())
    if not masked:
        data["labels"] = data["input_ids"].masked_fill(data["attention_mask"] == 0, -100)
    for step in range(1, steps + 1):
        loss = model(**data).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = rate(step, steps, 1, 1e-3)
        optimiser.step()
        found.append(round(loss.item(), 1))
    return found


# %% [markdown]
# ## 3. Stop early
#
# The loss on held-out pairs falls, and then rises while the trained one still falls: from there the model learns by
# heart. Stop after `patience` epochs without a new best, and keep the weights of the *best* epoch, not of the last.


# %% tags=["solution"]
@exercise(
    cases=[(1,), (2,), (3,), (99,)],
    hint="Count the epochs since the best one; an equal loss is no new best. Give the best epoch, then the last one run.",
    wrong=[
        ("epoch - best >= patience", "epoch - best > patience"),
        ("epoch - best >= patience", "loss > curve[epoch - 1]"),
        ("return best, epoch", "return epoch, epoch"),
    ],
    seconds=60,
)
def stop(patience: int) -> tuple[int, int]:
    """The best epoch of `held_out()` and the last one that is run, from 0; without a stop all are run.

    Training stops after `patience` epochs without a new best.

    >>> stop(99)[1]
    7
    """
    best, curve = 0, held_out()
    for epoch, loss in enumerate(curve):
        if loss < curve[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best, epoch


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "The trained loss falls and the held-out loss rises. What is going on?",
        ["The learning rate is too low.", "The model begins to learn by heart.", "The model has not learned enough."],
        "b",
        "From there on it gets better at what it saw and worse at what it did not.",
    ),
    Question(
        "In which of the two trainings did the mask leave the questions out, and what does the other one learn besides?",
        [
            "Without the mask the model learns to write questions too.",
            "With the mask the model learns to write questions too.",
            "Both learn the same.",
        ],
        "a",
        "Without a mask, a part of every step goes into predicting the prompt, which nobody asks the model to write.",
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
