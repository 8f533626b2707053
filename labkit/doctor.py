"""Check that this machine has what the course needs, and say what to do about what is missing.

Introduced in 00_start.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.profile import PROFILES, ROOT, runs_folder
from labkit.store import MANIFEST, Store

if TYPE_CHECKING:
    from rich.table import Table

GIB = 2**30
INSTALL = "run make compare, or pip install -c constraints.txt -e ."


@dataclass(frozen=True)
class Check:
    """One thing looked at: whether it is good, what was seen, the remedy, whether the course needs it."""

    name: str
    good: bool
    seen: str
    remedy: str = ""
    required: bool = True


def examine(root: Path = ROOT) -> list[Check]:
    """Every check, in the order of a table; nothing is changed. `root` holds the data.

    Introduced in 00_start.

    >>> all(check.good or check.remedy for check in examine())
    True
    """
    return [
        _python(),
        _packages(),
        *_machine(),
        *_accelerators(),
        _embedder(),
        *_data(root),
        _artifacts(root),
        *_profiles(),
    ]


def _python() -> Check:
    seen = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", sys.version_info >= (3, 11), seen, "install Python 3.11 or newer")


def _packages() -> Check:
    """What the package itself says it needs, against what is installed."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    try:
        needed = [Requirement(line) for line in requires("labkit") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return Check("packages", False, "labkit is not installed", INSTALL)
    wrong = []
    for need in needed:
        try:
            found = version(need.name)
        except PackageNotFoundError:
            wrong.append(f"{need.name} is missing")
            continue
        if not need.specifier.contains(found, prereleases=True):
            wrong.append(f"{need.name} {found} is not {need.specifier}")
    return Check("packages", not wrong, "; ".join(wrong) or f"all {len(needed)} fit", INSTALL)


def _machine() -> Iterator[Check]:
    import psutil

    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    yield Check("processors", cores >= 2, str(cores), "one works, at half the speed", required=False)
    memory = psutil.virtual_memory().available / GIB
    yield Check("free memory", memory >= 2, f"{memory:.1f} GiB", "close programs: 2 GiB are needed")
    runs = next(folder for folder in (runs_folder(), *runs_folder().parents) if folder.exists())
    disk = shutil.disk_usage(runs).free / GIB
    yield Check("free disk", disk >= 1, f"{disk:.1f} GiB", "make room: runs take up to 1 GiB")
    yield Check("writable", os.access(runs, os.W_OK), runs.name, "set LABKIT_RUNS to a folder you may write to")


def _accelerators() -> Iterator[Check]:
    try:
        import torch
    except ImportError:
        yield Check("torch", False, "cannot be imported", INSTALL)
        return
    from labkit.model import precision

    half = precision("cpu") == "bfloat16"
    seen = "computes in bfloat16" if half else "computes in float32"
    yield Check("processor's bf16", half, seen, "not needed; some steps take longer", required=False)
    gpu = torch.cuda.is_available()
    seen = torch.cuda.get_device_name() if gpu else "none"
    yield Check("CUDA GPU", gpu, seen, "needed by the profile gpu only", required=False)


def _embedder() -> Check:
    from labkit.rag.embed import BUNDLED_SHA256, _bundled_path

    try:
        _bundled_path()
    except ImportError:
        return Check("bundled MiniLM", False, "missing", INSTALL)
    except LabError as error:
        return Check("bundled MiniLM", False, "altered", str(error).partition(": ")[2])
    return Check("bundled MiniLM", True, f"SHA-256 {BUNDLED_SHA256[:12]}")


def _data(root: Path) -> Iterator[Check]:
    model = root / PROFILES["pocket"].model
    wanted = ("config.json", "model.safetensors", "tokenizer.json")
    lost = [name for name in wanted if not (model / name).is_file()]
    size = "" if lost else f"{(model / 'model.safetensors').stat().st_size / 2**20:.1f} MiB"
    remedy = "git checkout data/models, or make pretrain (hours)"
    yield Check("pocket model", not lost, f"lacks {', '.join(lost)}" if lost else size, remedy)
    for name in ("documents", "updates"):
        count = sum(path.is_file() for path in (root / "data" / name).rglob("*"))
        yield Check(name, count > 0, f"{count} files", "git checkout data, or make data")
    for name in ("questions", "pairs"):
        path = root / "data" / f"{name}.jsonl"
        count = len(path.read_text("utf-8").splitlines()) if path.is_file() else 0
        yield Check(name, count > 0, f"{count}", "git checkout data, or make data")


def _artifacts(root: Path) -> Check:
    """Each shipped artifact against its manifest."""
    import warnings

    folders = [path.parent for path in (root / "data" / "artifacts").glob(f"*/{MANIFEST}")]
    store = Store(root / "data" / "artifacts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bad = [folder.name[:12] for folder in folders if store.find(folder.name) is None]
    seen = f"damaged: {', '.join(bad)}" if bad else f"{len(folders)} shipped"
    remedy = "git checkout data/artifacts; without them the tuned arms are trained here (minutes)"
    return Check("trained adapters", bool(folders) and not bad, seen, remedy, required=False)


NEEDS = {"smol": (4, 0), "pocket": (2, 0), "laptop": (8, 0), "gpu": (16, 24)}
"""About how many GiB of memory, and of a CUDA GPU's, a comparison takes in each profile."""


def _profiles() -> Iterator[Check]:
    """What this machine can run; no connection is made."""
    import psutil
    import torch
    from huggingface_hub import try_to_load_from_cache

    from labkit.wheels import WHEELS, fetched

    memory = psutil.virtual_memory().total / GIB
    gpu = torch.cuda.get_device_properties(0).total_memory / GIB if torch.cuda.is_available() else 0
    for name, (wanted, on_gpu) in NEEDS.items():
        model = PROFILES[name].model
        here = not PROFILES[name].hub or isinstance(try_to_load_from_cache(model, "config.json"), str)
        here &= model not in WHEELS or fetched(model)
        short = [f"{wanted} GiB of memory"] * (memory < wanted) + [f"a CUDA GPU of {on_gpu} GiB"] * (gpu < on_gpu)
        seen = (
            f"lacks {' and '.join(short)}" if short else "can run" if here else f"can run, once {model} is downloaded"
        )
        yield Check(f"profile {name}", not short, seen, "choose a smaller profile, or a larger machine", False)


def table(checks: list[Check]) -> Table:
    """The checks for the terminal, with the remedy beside what is missing."""
    from rich import box
    from rich.table import Table

    made = Table("", "", "found", "what to do", box=box.SIMPLE_HEAD)
    for check in checks:
        state = "[green]ok[/]" if check.good else ("[red]missing[/]" if check.required else "[yellow]without[/]")
        made.add_row(check.name, state, check.seen, "" if check.good else check.remedy)
    return made


def report() -> bool:
    """Print the table of all checks; whether everything that is required is there."""
    from rich.console import Console

    checks = examine()
    Console(highlight=False).print(table(checks))
    return all(check.good or not check.required for check in checks)
