"""Count the bytes that a training holds in tensors. Introduced in 09_adapters."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkit.tune.prepare import Row
from labkit.tune.train import TrainSettings, train

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Footprint:
    """Bytes in tensors: all weights, gradients and optimiser state of the trained ones, and the most held at once.

    `peak` holds the first three and the activations; Python and its libraries are not counted.
    """

    weights: int
    gradients: int
    optimiser: int
    peak: int


def weight_bytes(network: Module) -> int:
    """Bytes of the weights as they lie in memory, scales of quantised blocks included; shared ones count once."""
    states = [getattr(weight, "quant_state", None) for weight in network.parameters()]
    tables = [table for state in states if state for table in state.as_dict(packed=False).values()]
    return sum(tensor.nbytes for tensor in [*network.parameters(), *tables] if hasattr(tensor, "nbytes"))


def footprint(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], settings: TrainSettings
) -> Footprint:
    """Train on `rows` as `labkit.tune.train.train` does, and count what really lay in memory meanwhile.

    The network changes as in any training. Give few rows: watching every allocation is slow.

    >>> footprint(load_model("data/models/pocket", dtype="float32").network, tokenizer, rows[:16], settings).weights
    18898944
    """
    from torch.optim.optimizer import register_optimizer_step_post_hook

    seen: dict[str, int] = {}
    before = weight_bytes(network)
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: seen.update(_held(optimizer)))
    try:
        with tempfile.TemporaryDirectory() as folder:
            above = _peak(lambda: train(network, tokenizer, rows, settings, folder, progress=False))
    finally:
        hook.remove()
    return Footprint(before, seen["gradients"], seen["optimiser"], before + above)


def _held(optimizer: Optimizer) -> dict[str, int]:
    """Bytes of gradients and of optimiser state, right after a step."""
    import torch

    trained = [weight for group in optimizer.param_groups for weight in group["params"]]
    state = [value for held in optimizer.state.values() for value in held.values() if torch.is_tensor(value)]
    return {
        "gradients": sum(weight.grad.nbytes for weight in trained if weight.grad is not None),
        "optimiser": sum(tensor.nbytes for tensor in state),
    }


def _peak(work: Callable[[], Any]) -> int:
    """Most bytes allocated at once by PyTorch beyond what lay there before."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    gc.collect()  # what an earlier training left would count as released in this one
    with _no_errors_shown(), torch.profiler.profile(profile_memory=True) as profile:
        work()
    return _highest(profile)


@contextmanager
def _no_errors_shown() -> Iterator[None]:
    """PyTorch's profiler writes its state to the process's error stream, whatever the log level."""
    shown = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        os.close(nowhere)


def _highest(profile: Any) -> int:
    """The highest running sum of the profiler's allocations (positive) and releases (negative)."""
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest
