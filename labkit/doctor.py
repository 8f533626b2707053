"""Check that this machine has what the course needs and say what to do about what is missing; the day before a workshop,
also whether the lessons will run on it as they are, without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import labkit
from labkit.errors import LabError
from labkit.hub import WHEEL, kept_wheel
from labkit.profile import PROFILES, TRAINED
from labkit.runs import environment, kernel_options
from labkit.store import ROOT, runs_folder

GIB = 2**30
INSTALL = "run make compare, or pip install -c constraints.txt -e ."
FILES = "documents updates questions.jsonl pairs.jsonl".split()
FILES += [f"models/pocket/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json")]
NEEDS = {"smol": (4, 0), "pocket": (2, 0), "laptop": (8, 0), "gpu": (16, 24)}
"""About how many GiB of memory, and of a CUDA GPU's, a comparison takes in each profile."""
PORTS = range(8888, 8939)  # what JupyterLab tries, one after the other
CELL = """import time, labkit
lab = labkit.open("pocket", progress=False)
arm, taken = lab.arm("rag"), []
for item in lab.questions[::35]:
    began = time.perf_counter()
    arm.answer([item.question])
    taken.append(1000 * (time.perf_counter() - began))
print(sorted(taken[1:])[len(taken) // 2])
"""
"""What runs in a real kernel: milliseconds for an answer of RAG, the middle of several after one warm-up."""


@dataclass(frozen=True)
class Check:
    """One thing looked at: whether it is good, what was seen, the remedy, whether the course needs it."""

    name: str
    good: bool
    seen: str
    remedy: str = ""
    required: bool = True

    def __str__(self) -> str:
        state = "ok    " if self.good else "FAILS " if self.required else "lacks "
        return f"{state} {self.name}: {self.seen}{'' if self.good else f' -> {self.remedy}'}"


def examine(root: Path = ROOT, workshop: bool = False) -> Iterator[Check]:
    """Every check, each as soon as it is done; nothing is changed. `root` holds the data.

    For a `workshop` also packages as pinned, a port and a notebook, and in place of profiles how long lessons take.
    """
    yield Check("Python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or newer")
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    wrong = [line for line in done.stdout.splitlines() if line.startswith("labkit ")]
    yield Check("packages", not wrong, "; ".join(wrong) or "fit", INSTALL)
    try:
        import psutil
        import torch

        from labkit.rag.embed import _bundled_path

        _bundled_path()
    except (ImportError, LabError) as error:
        yield Check("libraries", False, f"{error}", INSTALL)
        return
    memory, runs = psutil.virtual_memory(), runs_folder()
    place = next(folder for folder in (runs, *runs.parents) if folder.exists())
    free, disk = memory.available / GIB, shutil.disk_usage(place).free / GIB
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    gaps = [name for name in FILES if not (path := root / "data" / name).is_file() and not any(path.glob("*"))]
    yield Check("free memory", free >= 2, f"{free:.1f} GiB", "close programs: 2 GiB are needed")
    yield Check("free disk", disk >= 1, f"{disk:.1f} GiB", "make room: runs take up to 1 GiB")
    yield Check("writable", os.access(place, os.W_OK), place.name, "set LABKIT_RUNS to a folder you may write to")
    yield Check("data", not gaps, f"lacks {', '.join(gaps)}" if gaps else "is there", "git checkout data, or make data")
    yield replace(adapters(), required=workshop)
    if workshop:
        yield pins(root / "constraints.txt")
        yield port()
        try:
            milliseconds = answering()
        except LabError as error:
            remedy = "correct what is named above this line, or run make compare SIZE=smoke, which says more"
            yield Check("a notebook", False, f"does not run: {error}", remedy)
        else:
            yield Check("a notebook", True, f"runs, and answers in {milliseconds:.0f} ms")
            yield Check("computing", True, minutes(root / "docs", milliseconds))
    else:
        seen = gpu.name if gpu else "none"
        yield Check("CUDA GPU", bool(gpu), seen, "needed by the profile gpu only", required=False)
        yield from _profiles(memory.total / GIB, gpu.total_memory / GIB if gpu else 0)


def _profiles(memory: float, gpu: float) -> Iterator[Check]:
    """What this machine can run; no connection is made."""
    from huggingface_hub import try_to_load_from_cache

    for name, (wanted, on_gpu) in NEEDS.items():
        model, hub = PROFILES[name].model, PROFILES[name].hub
        here = isinstance(try_to_load_from_cache(model, "config.json"), str) if hub else True
        here &= model != WHEEL or kept_wheel() is not None
        short = [f"{wanted} GiB of memory"] * (memory < wanted) + [f"a CUDA GPU of {on_gpu} GiB"] * (gpu < on_gpu)
        able = "can run" if here else f"can run, once {model} is downloaded"
        seen = f"lacks {' and '.join(short)}" if short else able
        yield Check(f"profile {name}", not short, seen, "choose a smaller profile, or a larger machine", False)


def pins(constraints: Path) -> Check:
    """Every installed package that the constraints name, against its pin; a build's local part (+cpu) is free."""
    from importlib.metadata import PackageNotFoundError, version

    if not constraints.is_file():
        return Check("pins", False, f"no {constraints.name}", "take the course by git clone, or from its bundle")
    both = {}
    for name, pin in re.findall(r"^([\w.-]+)==(\S+)", constraints.read_text("utf-8"), re.MULTILINE):
        with suppress(PackageNotFoundError):
            both[name] = version(name), pin
    wrong = [f"{name} {here}, not {pin}" for name, (here, pin) in both.items() if here.partition("+")[0] != pin]
    return Check("pins", not wrong, "; ".join(wrong) or f"{len(both)} hold", INSTALL)


def adapters() -> Check:
    """Whether every adapter of the two tuned arms is kept whole at the address of this very model, data and code."""
    lab, wrong = labkit.open("pocket", progress=False), []
    lab.artifacts.read_only = True
    for name, seed in product(TRAINED, lab.profile.seeds):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                lab.adapter(name, seed)
            except (LabError, OSError, ValueError) as error:
                wrong.append(f"{name}, seed {seed}: {error}".splitlines()[0])
    remedy = "git checkout data, or make compare once with time to spare: it trains them"
    return Check("adapters", not wrong, wrong[0] if wrong else "fit the model", remedy)


def port() -> Check:
    """Whether JupyterLab finds a port of this machine to listen on."""
    for number in PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", number)):
            return Check("JupyterLab's port", True, str(number))
    remedy = "close other JupyterLabs, or allow programs to listen on 127.0.0.1"
    return Check("JupyterLab's port", False, f"none of {PORTS[0]} to {PORTS[-1]} can be bound", remedy)


def answering() -> float:
    """Milliseconds for an answer in a notebook's own process; LabError where it does not run."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from nbformat.v4 import new_code_cell, new_notebook

    notebook = new_notebook(cells=[new_code_cell(CELL)])
    try:
        with environment("pocket"):
            place = {"metadata": {"path": str(ROOT)}}
            options = {"kernel_name": "python3", "startup_timeout": 180, **kernel_options()}  # a busy machine is slow
            NotebookClient(notebook, resources=place, **options).execute()
    except (CellExecutionError, DeadKernelError, RuntimeError) as error:
        reason = f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else str(error)
        raise LabError(" ".join(reason.split())) from error
    return float(notebook.cells[0].outputs[-1]["text"])


def minutes(docs: Path, milliseconds: float) -> str:
    """Minutes that the notebooks of each track compute here: as measured there, times how much slower answers are here."""
    if not docs.is_dir():
        return "the lessons' times come with a clone of the course"
    there = json.loads((docs / "result.json").read_text("utf-8"))["arms"]["rag"]["latency_ms_p50"]["mean"]
    times = {name[:2]: run["seconds"] for name, run in json.loads((docs / "times.json").read_text("utf-8")).items()}
    tracks = []
    for page in sorted((docs / "teaching").glob("*.md")):
        text = page.read_text("utf-8")
        lessons = set(re.findall(r"\{\{ s(\w\w) \}\}", text))
        if page.stem != "index" and lessons <= times.keys():
            total = sum(times[lesson] for lesson in lessons) * milliseconds / there / 60
            tracks.append(f"{text.splitlines()[0].lstrip('# ').lower()} about {total:.0f} min")
    return f"of {', '.join(tracks)}" if tracks else "the lessons' times are not measured yet"


def report(workshop: bool = False) -> bool:
    """Print each check as it comes, in one line that can be mailed; whether all that is required is there."""
    good = True
    for check in examine(workshop=workshop):
        good &= check.good or not check.required
        print(check, flush=True)
    return good
