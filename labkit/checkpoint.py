"""The files of a model: found in a folder or on the hub, named by their content, read from safetensors only.

Introduced in 00_start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.hashing import address, hash_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16", "float16")
FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*",
         "chat_template*", "vocab*", "merges*", "special_tokens_map.json", "added_tokens.json",
         "adapter_config.json")  # fmt: skip


def precision(device: str) -> str:
    """bfloat16 where the processor computes in it (measured faster there), else float32."""
    import torch

    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    checks = [getattr(torch.cpu, name, None) for name in names]
    return "bfloat16" if any(check and check() for check in checks) else "float32"


def fingerprint(*folders: Path | str) -> str:
    """SHA-256 of the weights, configuration and tokenizer files in the folders of a model and its adapter.

    Loads nothing: it names a model for a content address. Raises LabError for a folder without weights.

    >>> fingerprint("data/models/pocket") == load_model("data/models/pocket").fingerprint
    True
    """
    hashes = []
    for folder in folders:
        paths = (path for pattern in FILES for path in Path(folder).glob(pattern))
        found = {path.name: path for path in paths if path.is_file()}
        if not any(name.endswith(".safetensors") for name in found):
            raise LabError(f"no safetensors weights in {folder}: give the folder of a transformers model")
        hashes.append({name: hash_file(path) for name, path in sorted(found.items())})
    return address(files=hashes)


def find(name: str, revision: str | None) -> Path:
    """The folder itself, or the hub's files after a download that takes no pickle; LabError for neither."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except (HFValidationError, OSError, ValueError, RuntimeError) as error:
        raise LabError(
            f"no model '{name}' ({type(error).__name__}): give a folder with config.json and "
            "model.safetensors, or a hub id while online"
        ) from error


def read(folder: Path, dtype: object) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Network and tokenizer of a folder; LabError for pickled, incomplete or damaged weights."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    safe = {"trust_remote_code": False, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **safe)
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True, **safe)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise LabError(f"cannot load {folder} ({reason}): give a whole safetensors checkpoint") from error
    return network, tokenizer


def adapt(network: PreTrainedModel, adapter: Path, merge: bool) -> PreTrainedModel:
    """The network with a peft adapter in its weights, or beside them; LabError for one that does not fit."""
    from peft import PeftModel
    from safetensors import SafetensorError

    missing = [n for n in ("adapter_config.json", "adapter_model.safetensors") if not (adapter / n).is_file()]
    if missing:
        raise LabError(f"{adapter} holds no {missing[0]}: give the folder that train_adapter wrote")
    try:
        tuned = PeftModel.from_pretrained(network, str(adapter))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:120]
        raise LabError(f"{adapter} does not fit this model ({reason}): train it on this base") from error
    return tuned.merge_and_unload() if merge else tuned
