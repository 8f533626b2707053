# %% [markdown]
# # 09 · Adapters: exercises
#
# You will count what LoRA trains beside the pocket model, squeeze its weights into few bits, and make an adapter
# overfit.

# %%
import tempfile
from functools import cache

import numpy as np
from checks import Question, exercise, open_lab

lab = open_lab()


@cache
def shapes():
    """The shape (out, in) of each linear layer of the pocket model that an adapter may stand beside, by its name."""
    layers = lab.model.network.named_modules()
    return {name: tuple(layer.weight.shape) for name, layer in layers if name.endswith("_proj")}


@cache
def weights(name):
    """The weights of a layer of the pocket model as an array of shape (out, in)."""
    return lab.model.network.get_submodule(name).weight.detach().float().numpy()


@cache
def rows(start, end):
    """Training pairs from number `start` to `end` - 1 as rows of token ids and labels."""
    from labkit.compare.training import closed_book, tokenised

    return tokenised(lab, closed_book(lab.pairs[start:end]))


# %% [markdown]
# ## 1. How many numbers are trained?
#
# LoRA leaves a matrix W of shape (out, in) alone and trains two thin ones beside it: A of shape (rank, in) and B of
# shape (out, rank). Their product has the shape of W, and far fewer numbers.


# %% tags=["solution"]
@exercise(
    cases=[(1, "_proj"), (16, "_proj"), (16, "q_proj"), (4, "mlp.down_proj")],
    hint="A has rank times in numbers, B has out times rank; add over the layers whose name has this ending.",
    wrong=[
        ("rank * (out + width)", "rank * out * width"),
        ("rank * (out + width)", "2 * rank * out"),
        ("if name.endswith(ending)", "if True"),
    ],
)
def trained(rank: int, ending: str) -> int:
    """How many numbers LoRA of this rank trains beside those layers in `shapes()` whose name ends so.

    >>> trained(16, "q_proj")
    49152
    """
    return sum(rank * (out + width) for name, (out, width) in shapes().items() if name.endswith(ending))


# %% [markdown]
# ## 2. Fewer bits
#
# Quantisation cuts the weights into blocks. It keeps one scale for each block, its largest absolute value, and a whole
# number for each weight: in b bits from -m to m, where m = 2^(b - 1) - 1. How much of the pocket model's weights is lost?


# %% tags=["solution"]
@exercise(
    cases=[(8, 64), (4, 64), (4, 16), (3, 256), (2, 64)],
    hint="Each block is a row of its own: divide by its scale, times m, round, and go the same way back.",
    wrong=[
        ("np.abs(blocks).max(axis=1, keepdims=True)", "np.abs(blocks).max()"),
        ("2 ** (bits - 1) - 1", "2**bits - 1"),
        ("np.round(blocks / scale * m)", "np.floor(blocks / scale * m)"),
        ("/ np.linalg.norm(blocks)", "/ len(blocks)"),
    ],
)
def lost(bits: int, size: int) -> float:
    """The error of quantisation in blocks of `size`, over the size of the weights, to three decimals.

    Take `weights("model.layers.0.self_attn.q_proj")`. Both error and size are the square root of a sum of squares.

    >>> lost(8, 64)
    0.006
    """
    blocks, m = weights("model.layers.0.self_attn.q_proj").reshape(-1, size), 2 ** (bits - 1) - 1
    scale = np.abs(blocks).max(axis=1, keepdims=True)
    back = np.round(blocks / scale * m) / m * scale
    return round(float(np.linalg.norm(back - blocks) / np.linalg.norm(blocks)), 3)


# %% [markdown]
# ## 3. Make an adapter overfit
#
# Train an adapter on four pairs, with a learning rate that is far too high, and watch two losses: that of the four
# pairs and that of eight others. How many steps does it take until the second one rises while the first is near zero?


# %% tags=["solution"]
@exercise(
    cases=[(1,), (5,), (11,)],
    hint="Train on rows(0, 4) in place; afterwards compute the loss of both sets of rows with the same network.",
    wrong=[
        ("rows(0, 4), settings", "rows(4, 12), settings"),
        ("answer_loss(network, rows(4, 12), pad=0)", "answer_loss(network, rows(0, 4), pad=0)"),
        ("epochs=steps", "epochs=1"),
    ],
    seconds=60,
)
def overfit(steps: int) -> tuple[float, float]:
    """The loss on `rows(0, 4)`, which are trained, and on `rows(4, 12)`, which are not, after `steps` steps, to one decimal.

    Load the model in `lab.profile.model_path` with dtype "float32", and add an adapter with `add_lora(model.network,
    settings)`. The settings: rank 8, batches of 4, the learning rate 1e-2, a constant schedule and no warm-up.
    `answer_loss(network, rows, pad=0)` gives a loss.

    >>> overfit(1)[0] > 1
    True
    """
    from labkit.model import load_model
    from labkit.tune.adapters import LoraSettings, add_lora
    from labkit.tune.train import answer_loss, train

    model = load_model(lab.profile.model_path, dtype="float32")
    settings = LoraSettings(epochs=steps, rank=8, batch_size=4, learning_rate=1e-2, schedule="constant", warmup=0)
    network = add_lora(model.network, settings)
    with tempfile.TemporaryDirectory() as folder:
        train(network, model.tokenizer, rows(0, 4), settings, folder, progress=False)
    return round(answer_loss(network, rows(0, 4), pad=0), 1), round(answer_loss(network, rows(4, 12), pad=0), 1)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "Where does QLoRA save memory against LoRA?",
        ["In the frozen weights.", "In the adapter.", "In the optimiser's state of the adapter."],
        "a",
        "The base is kept in four bits; what is trained stays in full numbers.",
    ),
    Question(
        "Smaller blocks lose less of the weights at the same number of bits. What is their price?",
        ["More scales to keep.", "A higher rank.", "More levels."],
        "a",
        "Every block has a scale of its own, so that small blocks take more memory.",
    ),
    Question(
        "An adapter taught a model facts, and it reads passages worse than before. What helps?",
        ["A higher rank.", "Replaying examples of reading while it learns.", "More epochs."],
        "b",
        "What training never shows is forgotten; some of the old among the new keeps it.",
    ),
]
