"""Low-rank adapters: few weights trained beside frozen ones, also in 4 bit; one from a file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from labkit.errors import LabError
from labkit.model import adapt, find, load_model, precision, read
from labkit.quiet import quiet
from labkit.store import address, write_json
from labkit.tune.prepare import Row, dataset, read_pairs
from labkit.tune.train import TrainReport, TrainSettings, train

if TYPE_CHECKING:
    from peft import PeftModel
    from torch.nn import Module
    from transformers import PreTrainedModel

    from labkit.model import Model


@dataclass(frozen=True)
class LoraSettings(TrainSettings):
    """LoRA (Hu et al., ICLR 2022): `rank` of the update, scaled by `alpha` / `rank`, and how to train it.

    "all-linear" adapts every linear layer but the output head; embeddings are never adapted. `quantised` keeps
    the frozen weights in 4 bit while it trains (QLoRA, Dettmers et al., NeurIPS 2023).
    """

    learning_rate: float = 2e-3
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"
    quantised: bool = False


def parameters(network: Module) -> tuple[int, int]:
    """How many parameters are trained, and how many there are; shared ones count once."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in network.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def add_lora(network: PreTrainedModel, settings: LoraSettings) -> PeftModel:
    """Freeze the weights and add untrained adapters, the same for a seed; LabError for modules that may not be adapted."""
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
) -> TrainReport:
    """Train LoRA adapters for a model and save them in `folder` as peft's safetensors.

    Checkpoints live in `checkpoints` (default: `folder`) while it runs: the same call goes on after a kill. Raises LabError
    as `load_model`, `add_lora` and `labkit.tune.train.train` do.
    """
    folder = Path(folder)
    model = load_quantised(model_path) if settings.quantised else load_model(model_path, dtype="float32")
    network = add_lora(model.network, settings)
    home, keep = checkpoints or folder, lambda _: save_adapter(network, folder, str(model_path))
    return train(network, model.tokenizer, rows, settings, home, progress, keep=keep)


def save_adapter(network: PeftModel, folder: Path | str, base: str) -> None:
    """Write adapter_model.safetensors in bfloat16 and adapter_config.json without a path, the same bytes for the same adapter."""
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


def load_quantised(path_or_id: Path | str, adapter: Path | str | None = None) -> Model:
    """The model with every linear layer but the output head in NF4, blocks of 64 (Dettmers et al., NeurIPS 2023).

    What is not quantised is bfloat16 where the processor computes in it, else float32. `adapter` is put beside the
    weights, never into them: merging into 4 bits would round it away. Raises LabError for what cannot be loaded.
    """
    from transformers import BitsAndBytesConfig

    from labkit.model import Model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, precision(device))
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    with quiet():
        folder = find(path_or_id)
        network, tokenizer = read(folder, dtype, quantization_config=config)
        for module in network.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                # Else bitsandbytes packs the weights again at the first answer, and training and merging would from
                # then on read them wrongly, without an error.
                module.support_avx512bf16_for_cpu = False
        if adapter:
            network = adapt(network, Path(adapter), merge=False)
    return Model(network, tokenizer, [folder, *([adapter] if adapter else [])])


REPORT = "tuned.json"


@dataclass(frozen=True)
class Tuned:
    """What a training made of a file: `kind` is "adapter" or "weights", `left_out` says which examples, and why."""

    folder: Path
    kind: str
    examples: int
    left_out: list[str]
    steps: int
    seconds: float
    tokens_per_second: float
    first_loss: float
    last_loss: float

    def __str__(self) -> str:
        lines = [f"left out: {why}" for why in self.left_out]
        speed = f"{self.steps} steps, {self.seconds:.0f} s, {self.tokens_per_second:,.0f} tokens a second"
        losses = f"loss {self.first_loss:.3f} at first, {self.last_loss:.3f} at last"
        return "\n".join([*lines, f"{self.examples} examples, {speed}; {losses}", f"{self.kind}: {self.folder}"])


def tune_file(
    pairs: Path | str,
    out: Path | str,
    base: Path | str,
    settings: TrainSettings,
    limit: int,
    drop_long: bool = False,
    progress: bool = True,
    save_seconds: float = 20.0,
) -> Tuned:
    """Train a model on a file's pairs: LoraSettings make an adapter, plain TrainSettings new weights (float32).

    `out` appears when it is complete. The same call goes on after a kill, and gives what it made before when
    it was done. Bad rows are left out and listed; so is, if `drop_long`, an example above `limit` tokens or the model's
    context. Raises LabError for an `out` that holds anything else, no examples, a full disk, and as `train` does.
    """
    out, lora = Path(out), isinstance(settings, LoraSettings)
    examples, bad = read_pairs(pairs)
    model = load_model(base, dtype="float32")
    limit = min(limit, model.context)
    # "told" is a part of every address so far: renamed, it would train all of them again.
    name = address(base=model.fingerprint, told=[e.messages for e in examples], settings=settings, limit=limit,
                   kind=type(settings).__name__, drop_long=drop_long)  # fmt: skip
    if earlier := _earlier(out, name):
        return earlier
    prepared = dataset(examples, model.tokenizer, limit, "drop" if drop_long else "refuse")
    left_out = [f"line {row.line}: {row.reason}" for row in bad]
    left_out += [f"example {n}: more than {limit} tokens" for n in prepared.dropped]
    network = add_lora(model.network, settings) if lora else model.network
    work = out.absolute().with_name(f".{out.name}.training")

    def keep(report: TrainReport) -> None:
        """Write a whole folder beside `out` and rename it, so that `out` is never half there."""
        whole = work / "done"
        shutil.rmtree(whole, ignore_errors=True)
        if lora:
            save_adapter(network, whole, str(base))
        else:
            with quiet():
                network.save_pretrained(whole)
                model.tokenizer.save_pretrained(whole)
        tenth = max(1, report.steps // 10)
        first, last = (sum(losses) / tenth for losses in (report.losses[:tenth], report.losses[-tenth:]))
        kind, speed = "adapter" if lora else "weights", report.tokens_per_second
        tuned = Tuned(out, kind, len(prepared.rows), left_out, report.steps, report.seconds, speed, first, last)
        about = {"address": name, "base": Path(base).name, "settings": asdict(settings)}
        write_json(whole / REPORT, about | asdict(tuned) | {"folder": out.name})
        whole.replace(out)

    train(network, model.tokenizer, prepared.rows, settings, work, progress, save_seconds, keep=keep)
    shutil.rmtree(work, ignore_errors=True)
    return _earlier(out, name)


def _earlier(out: Path, name: str) -> Tuned | None:
    """What this very training gave before; LabError if `out` holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        report = json.loads((out / REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        report = {}
    if report.get("address") != name or "kind" not in report:
        raise LabError(f"{out} holds something else: choose another folder, or remove it")
    return Tuned(**{key: report[key] for key in Tuned.__annotations__} | {"folder": out})
