"""Models from the hub: safetensors only, pinned to one revision at first use, every failure with its remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.profile import HUB_ID, runs_folder
from labkit.store import write_json

if TYPE_CHECKING:
    from labkit.model import Model
    from labkit.profile import Profile

FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""What is downloaded: weights, settings and tokenizers; no pickle, and no code."""


def lock_file() -> Path:
    """Where the revisions are kept: `models.lock.json` in the folder of runs."""
    return runs_folder() / "models.lock.json"


def locked() -> dict[str, str]:
    """Each hub model's commit as first used; LabError for a damaged file."""
    try:
        return json.loads(lock_file().read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LabError(f"{lock_file()} cannot be read ({type(error).__name__}): delete it to pin anew") from error


def pinned(name: str) -> str:
    """The folder of a hub model at its pinned revision, downloaded if it is not here; any other name as it is.

    The first use pins the newest revision. Raises LabError without a network, for a model that is gated, missing or has no
    safetensors, and for a full disk.

    >>> pinned("bundled")
    'bundled'
    """
    if not HUB_ID.fullmatch(name) or Path(name).is_dir():
        return name
    known = locked()
    folder = _download(name, known.get(name))
    if not any(folder.rglob("*.safetensors")):
        raise LabError(f"{name} has no safetensors weights, and pickled ones are not read: choose another model")
    if name not in known:
        write_json(lock_file(), {**locked(), name: folder.name})
    return str(folder)


def load(profile: Profile, adapter: Path | None = None) -> Model:
    """The profile's model, with an adapter or as it came; a hub model in 4 bit where there is a CUDA GPU.

    Raises LabError for the profile gpu without one, for too little memory, and as `pinned` and `load_model` do.

    >>> load(PROFILES["pocket"]).context
    2048
    """
    import torch

    from labkit.model import load_model

    gpu = torch.cuda.is_available()
    if profile.name == "gpu" and not gpu:
        raise LabError("the profile gpu needs a CUDA GPU, and there is none here: choose --profile laptop")
    try:
        if profile.hub and gpu:
            from labkit.tune.adapters import load_quantised  # which takes long to import

            return load_quantised(profile.model_path, adapter)
        return load_model(profile.model_path, dtype=profile.dtype, adapter=adapter)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise LabError(
            f"{profile.model} does not fit into memory: close programs, or choose a smaller model"
        ) from error


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
    except errors.GatedRepoError as error:
        remedy = f"accept its terms on the hub's page of {name}, then run hf auth login"
        raise LabError(f"{name} is gated: {remedy}") from error
    except errors.RepositoryNotFoundError as error:
        raise LabError(f"the hub has no model {name}: check the id; for a private one run hf auth login") from error
    except errors.RevisionNotFoundError as error:
        remedy = f"delete its line in {lock_file()} to pin the newest"
        raise LabError(f"the hub no longer has {name} at revision {(revision or '')[:12]}: {remedy}") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError) as error:
        remedy = "connect once, unset HF_HUB_OFFLINE, or give the folder of a copy"
        raise LabError(f"{name} is not on this machine, and the hub cannot be reached: {remedy}") from error
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:120]
        raise LabError(f"{name} could not be downloaded ({said}): try again, or give a model's folder") from error
