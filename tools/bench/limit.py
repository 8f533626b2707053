"""How near the model's work comes to what this machine can do: multiplications for reading and training, memory for writing.

The limit is measured in the same run: the best rate at which PyTorch multiplies large matrices in the same precision, and
the best rate at which it multiplies one row by weights that fit no cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from tools.bench import Figure

if TYPE_CHECKING:
    import torch

    from labkit.model import Model

PEAK = "PyTorch's product of two large matrices"
MEMORY = "PyTorch's product of one row and a large matrix"
PROMPT, WRITTEN = 500, 30  # tokens, about those of a question over passages and of an answer


def limit(quick: bool = False) -> list[Figure]:
    """The share of the machine's limit that reading prompts, writing answers and training LoRA reach, for both models.

    >>> [figure.ratio for figure in limit(quick=True)]
    """
    import labkit
    from labkit.model import load_model

    found = []
    for name in ("pocket",) if quick else ("smol", "pocket"):
        path = labkit.open(name, progress=False).profile.model_path
        found += _of_model(name, load_model(path), rounds=1 if quick else 5)
        found.append(_training(name, load_model(path, dtype="float32"), 4 if quick else 32))
    return found


def _of_model(name: str, model: Model, rounds: int) -> list[Figure]:
    from labkit.model import greedy

    dtype = model.network.dtype
    prompts = [[(7 * row + 13 * place) % 1000 + 100 for place in range(PROMPT)] for row in range(16)]

    def read(rows: int) -> float:
        return _seconds(lambda: greedy(model.network, prompts[:rows], (), 1))

    def write(rows: int) -> float:
        return (_seconds(lambda: greedy(model.network, prompts[:rows], (), WRITTEN + 1)) - read(rows)) / WRITTEN

    shares: dict[str, list[tuple[float, float]]] = {"read": [], "one": [], "many": []}
    head = model.network.get_output_embeddings().weight
    size = (_weights(model) + head.numel()) * head.element_size()
    for _ in range(rounds):  # the limit and the work take turns, so that a busy moment hits both
        peak, memory = _peak(dtype), _memory(dtype)
        shares["read"].append((8 * PROMPT / read(8), peak / _work(model)))
        shares["one"].append((1 / write(1), memory / size))
        shares["many"].append((16 / write(16), 16 * memory / size))
    unit = f"tokens/s, {str(dtype).removeprefix('torch.')}"
    return [
        Figure(f"{name}: {what}", rival, *map(median, zip(*shares[key], strict=True)), unit)
        for key, what, rival in (
            ("read", f"reading 8 prompts of {PROMPT} tokens", PEAK),
            ("one", "writing one answer", MEMORY),
            ("many", "writing 16 answers at once", MEMORY),
        )
    ]


def _training(name: str, model: Model, rows: int) -> Figure:
    """Frozen weights cost two products forward and two back to the inputs; gradients of the adapter hardly count."""
    import tempfile

    import torch

    from labkit.model import precision
    from labkit.tune.adapters import LoraSettings, add_lora
    from labkit.tune.train import train

    work, network = 2 * _work(model), add_lora(model.network, LoraSettings())
    ids = [[(11 * row + 17 * place) % 1000 + 100 for place in range(PROMPT)] for row in range(rows)]
    some = [{"input_ids": row, "labels": [-100] * (PROMPT - WRITTEN) + row[-WRITTEN:]} for row in ids]
    peak = _peak(getattr(torch, precision("cpu")))
    with tempfile.TemporaryDirectory() as folder:
        settings = LoraSettings(epochs=1, batch_size=4)
        seconds = _seconds(lambda: train(network, model.tokenizer, some, settings, folder, progress=False))
    peak = max(peak, _peak(getattr(torch, precision("cpu"))))
    return Figure(
        f"{name}: LoRA training, {rows} rows of {PROMPT} tokens", PEAK, rows * PROMPT / seconds, peak / work,
        f"tokens/s, {precision('cpu')}",
    )  # fmt: skip


def _weights(model: Model) -> int:
    """Weights that multiply every token: all but the vocabulary's, which multiply the last one."""
    return sum(w.numel() for n, w in model.network.named_parameters() if "embed_tokens" not in n and "lm_head" not in n)


def _work(model: Model) -> float:
    """Operations a token of a prompt: twice each weight, and attention over half of the prompt."""
    shape = model.network.config
    return 2 * _weights(model) + 4 * shape.num_hidden_layers * shape.hidden_size * PROMPT / 2


def _peak(dtype: torch.dtype, size: int = 2048) -> float:
    """Operations a second."""
    import torch

    left, right = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    return 2 * size**3 / min(_seconds(lambda: left @ right) for _ in range(6))


def _memory(dtype: torch.dtype, megabytes: int = 256) -> float:
    """Bytes of weights a second."""
    import torch

    width = 2048
    weights = torch.randn(megabytes * 1_000_000 // width // dtype.itemsize, width, dtype=dtype)
    row = torch.randn(1, width, dtype=dtype)
    return weights.numel() * dtype.itemsize / min(_seconds(lambda: row @ weights.T) for _ in range(6))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
