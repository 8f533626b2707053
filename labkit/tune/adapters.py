"""Low-rank adapters: train few weights beside frozen ones. Introduced in 09_adapters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.quiet import quiet
from labkit.store import write_json
from labkit.tune.prepare import Row
from labkit.tune.train import TrainReport, TrainSettings, train

if TYPE_CHECKING:
    from peft import PeftModel
    from torch.nn import Module
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class LoraSettings(TrainSettings):
    """LoRA (Hu et al., ICLR 2022): `rank` of the update, scaled by `alpha` / `rank`, and how to train it.

    "all-linear" adapts every linear layer but the output head; embeddings are never adapted. `quantised` keeps
    the frozen weights in 4 bit while it trains (QLoRA, Dettmers et al., NeurIPS 2023). Introduced in 09_adapters.

    >>> LoraSettings(epochs=1).alpha
    32
    """

    learning_rate: float = 2e-3
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"
    quantised: bool = False


@dataclass(frozen=True)
class AdapterReport:
    """How the training went, and how many of all parameters it touched."""

    training: TrainReport
    trainable: int
    total: int


def parameters(network: Module) -> tuple[int, int]:
    """How many parameters are trained, and how many there are; shared ones count once.

    >>> parameters(add_lora(network, LoraSettings()))
    (417792, 4878336)
    """
    sizes = [(weight.numel(), weight.requires_grad) for weight in network.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def add_lora(network: PreTrainedModel, settings: LoraSettings) -> PeftModel:
    """Freeze the weights and put untrained adapters beside them, the same ones for the same seed.

    Raises LabError for modules that the network does not have, or that may not be adapted.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    names = settings.target_modules
    if "lm_head" in names or "embed_tokens" in names:
        raise LabError("lm_head and embed_tokens cannot be adapted: servers refuse it, choose inner layers")
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=names if isinstance(names, str) else list(names),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(settings.seed)
    try:
        with quiet():
            return get_peft_model(network, config)
    except ValueError as error:
        raise LabError(f"no adapter on {names} of rank {settings.rank} ({error}): try all-linear") from error


def train_adapter(
    model_path: Path | str,
    rows: Sequence[Row],
    settings: LoraSettings,
    folder: Path | str,
    progress: bool = True,
    checkpoints: Path | str | None = None,
) -> AdapterReport:
    """Train LoRA adapters for a model and save them in `folder` as peft's safetensors.

    Checkpoints live in `checkpoints` (default: inside `folder`) while it runs: the same call goes on after a
    kill. Raises LabError as `load_model`, `add_lora` and `labkit.tune.train.train` do.

    >>> train_adapter("data/models/pocket", rows, LoraSettings(epochs=1), "runs/adapter")
    >>> model = load_model("data/models/pocket", adapter="runs/adapter")
    """
    from labkit.model import load_model
    from labkit.tune.adapters_quantised import load_quantised

    folder = Path(folder)
    model = load_quantised(model_path) if settings.quantised else load_model(model_path, dtype="float32")
    network = add_lora(model.network, settings)
    counts = parameters(network)

    def keep(report: TrainReport) -> None:
        save_adapter(network, folder, str(model_path))

    home = checkpoints or folder / "checkpoints"
    report = train(network, model.tokenizer, rows, settings, home, progress, keep=keep)
    if checkpoints is None:
        (folder / "checkpoints").rmdir()
    return AdapterReport(report, *counts)


def save_adapter(network: PeftModel, folder: Path | str, base: str) -> None:
    """Write adapter_model.safetensors in bfloat16 and adapter_config.json, the same bytes for the same adapter.

    Of a base in a folder only the folder's name is kept.
    """
    from safetensors.torch import load_file, save_file

    folder = Path(folder)
    network.peft_config["default"].base_model_name_or_path = Path(base).name if Path(base).is_dir() else base
    with quiet():
        network.save_pretrained(str(folder))
    weights = folder / "adapter_model.safetensors"
    save_file({name: weight.bfloat16() for name, weight in load_file(weights).items()}, weights, {"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)  # an empty form that names the base's path
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    write_json(folder / "adapter_config.json", config)
