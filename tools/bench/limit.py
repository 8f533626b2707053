"""How near the model's work comes to what this machine can do: multiplications for reading and training, memory for writing.

The limit is measured in the same run: the best rate at which PyTorch multiplies large matrices in the same precision, and
the best rate at which it multiplies one row by weights that fit no cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tools.bench import Contest, Size, clocked
from tools.bench.model import PROMPT, WRITTEN, prompts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from labkit.compare.lab import Lab
    from labkit.model import Model

PEAK = "PyTorch's product of two large matrices"
MEMORY = "PyTorch's product of one row and a large matrix"


def limit(size: Size) -> Iterator[Contest]:
    """The share of the machine's limit that reading prompts, writing answers and training LoRA reach.

    >>> [contest.work for contest in limit(Size(quick=True, models=("pocket",)))]
    """
    import labkit

    for name in size.models:
        lab = labkit.open(name, progress=False)
        yield from _answering(lab)
        yield _training(lab, 4 if size.quick else 16)


def _answering(lab: Lab) -> Iterator[Contest]:
    model, asked = lab.model, prompts(lab, 16)
    dtype, head = model.network.dtype, model.network.get_output_embeddings().weight
    weights = (_weights(model) + head.numel()) * head.element_size()
    unit, name = f"tokens/s, {str(dtype).removeprefix('torch.')}", lab.profile.name
    yield Contest(
        f"{name}: reading 8 prompts of {PROMPT} tokens",
        lambda: {unit: 8 * PROMPT / _reading(model.network, asked[:8])},
        {PEAK: lambda: {unit: _peak(dtype) / _work(model)}},
    )
    for rows, what in ((1, "writing one answer"), (16, "writing 16 answers at once")):
        yield Contest(
            f"{name}: {what}",
            lambda rows=rows: {unit: rows / _writing(model.network, asked[:rows])},
            {MEMORY: lambda rows=rows: {unit: rows * _memory(dtype) / weights}},
        )


def _reading(network: PreTrainedModel, prompts: Sequence[list[int]]) -> float:
    """Seconds to read prompts, and to write the first id of each."""
    from labkit.decode import greedy

    return clocked(lambda: greedy(network, prompts, (), 1))[0]


def _writing(network: PreTrainedModel, prompts: Sequence[list[int]]) -> float:
    """Seconds to write one id of each row, reading left out."""
    from labkit.decode import greedy

    both = clocked(lambda: greedy(network, prompts, (), WRITTEN + 1))[0]
    return (both - _reading(network, prompts)) / WRITTEN


def _training(lab: Lab, count: int) -> Contest:
    """Frozen weights cost two products forward and two back to the inputs; gradients of the adapter hardly count."""
    import torch

    from labkit.model import load_model, precision
    from labkit.tune.adapters import LoraSettings, add_lora
    from labkit.tune.train import train

    model = load_model(lab.profile.model_path, dtype="float32")
    work, network, unit = 2 * _work(model), add_lora(model.network, LoraSettings()), f"tokens/s, {precision('cpu')}"
    learned = [-100] * (PROMPT - WRITTEN)
    rows = [{"input_ids": ids, "labels": learned + ids[-WRITTEN:]} for ids in prompts(lab, count)]

    def ours() -> dict[str, float]:
        settings = LoraSettings(epochs=1, batch_size=4)
        with tempfile.TemporaryDirectory() as folder:
            seconds, _ = clocked(lambda: train(network, model.tokenizer, rows, settings, folder, progress=False))
        return {unit: count * PROMPT / seconds}

    peak = {PEAK: lambda: {unit: _peak(getattr(torch, precision("cpu"))) / work}}
    return Contest(f"{lab.profile.name}: LoRA training, {count} rows of {PROMPT} tokens", ours, peak, rounds=3)


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
    return 2 * size**3 / min(clocked(lambda: left @ right)[0] for _ in range(6))


def _memory(dtype: torch.dtype, megabytes: int = 256) -> float:
    """Bytes of weights a second."""
    import torch

    width = 2048
    weights = torch.randn(megabytes * 1_000_000 // width // dtype.itemsize, width, dtype=dtype)
    row = torch.randn(1, width, dtype=dtype)
    return weights.numel() * dtype.itemsize / min(clocked(lambda: row @ weights.T)[0] for _ in range(6))
