"""A model with its linear layers in 4 bit, to train adapters beside them (QLoRA). Introduced in 09_adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labkit.checkpoint import adapt, find, precision
from labkit.errors import LabError
from labkit.quiet import quiet

if TYPE_CHECKING:
    from torch.nn import Module

    from labkit.model import Model


def load_quantised(path_or_id: Path | str, adapter: Path | str | None = None, revision: str | None = None) -> Model:
    """The model with every linear layer but the output head in NF4, blocks of 64 (Dettmers et al., NeurIPS 2023).

    What is not quantised is bfloat16 where the processor computes in it, else float32. `adapter` is put beside the
    weights, never into them: merging into 4 bits would round it away. Raises LabError for what cannot be loaded.

    >>> load_quantised("data/models/pocket", adapter="runs/adapter")
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    from labkit.model import Model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, precision(device))
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    safe = {"trust_remote_code": False, "local_files_only": True}
    with quiet():
        folder = find(str(path_or_id), revision)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **safe)
            network = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, quantization_config=config, **safe
            )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            reason = " ".join(str(error).split())[:120]
            raise LabError(f"cannot load {folder} in 4 bit ({reason}): give a whole safetensors checkpoint") from error
        _keep_packing(network)
        if adapter:
            network = adapt(network, Path(adapter), merge=False)
    return Model(network, tokenizer, [folder, *([adapter] if adapter else [])])


def _keep_packing(network: Module) -> None:
    """Answering must not change what training reads.

    On processors with AVX512-BF16 bitsandbytes packs the weights anew at the first answer, and everything but
    answering (training, merging) then reads them wrongly, without an error.
    """
    from bitsandbytes.nn import Linear4bit

    for module in network.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
