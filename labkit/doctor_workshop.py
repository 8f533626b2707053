"""The day before a workshop: will the lessons run on this machine, as they are, without a network?

Introduced in 00_start.
"""

from __future__ import annotations

import json
import re
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labkit.doctor import INSTALL, Check, examine
from labkit.errors import LabError
from labkit.profile import ROOT
from labkit.store import Artifacts, address

CELL = """# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"
# %%
import time, labkit
lab = labkit.open(PROFILE, size=SIZE, progress=False)
arm, taken = lab.arm("rag"), []
for item in lab.questions[::35]:
    began = time.perf_counter()
    arm.answer([item.question])
    taken.append(1000 * (time.perf_counter() - began))
print(sorted(taken[1:])[len(taken) // 2])
"""
"""What runs in a real kernel: milliseconds for an answer of RAG, the middle of several after one warm-up."""

PORTS = range(8888, 8939)
"""What JupyterLab tries, one after the other."""


def examine_workshop(root: Path = ROOT) -> Iterator[Check]:
    """Every check of the day before, each as soon as it is done: all but the last are required.

    >>> next(examine_workshop()).name
    'Python'
    """
    yield from (check for check in examine(root) if check.required)
    yield pinned(root / "constraints.txt")
    yield adapters()
    yield port()
    milliseconds = answering()
    if isinstance(milliseconds, Check):
        yield milliseconds
        return
    yield Check("a notebook", True, f"runs, and answers in {milliseconds:.0f} ms")
    yield Check("computing", True, expected(root / "docs", milliseconds), required=False)


def pinned(constraints: Path) -> Check:
    """Every installed package that the constraints name, against its pin; a build's local part (+cpu) is free."""
    from importlib.metadata import distributions

    from packaging.utils import canonicalize_name
    from packaging.version import Version

    if not constraints.is_file():
        return Check("pins", False, f"no {constraints.name}", "take the course by git clone, or from its bundle")
    lines = [line.split("==") for line in constraints.read_text("utf-8").splitlines() if "==" in line[:60]]
    pins = {canonicalize_name(name): version for name, version in lines if not name.startswith("#")}
    here = {canonicalize_name(found.name): found.version for found in reversed([*distributions()])}
    wrong = [f"{n} {here[n]}, not {pins[n]}" for n in pins.keys() & here.keys() if Version(here[n]).public != pins[n]]
    return Check("pins", not wrong, "; ".join(sorted(wrong)) or f"{len(pins.keys() & here.keys())} hold", INSTALL)


class _Looking(Artifacts):
    """Notes what is not kept, instead of making it."""

    def folder(self, build: Callable[[Path], object], name: str | None = None, **parts: Any) -> Path:
        found = self.store.find(address(**parts))
        self.used += [] if found else [{"name": name}]
        return found or self.store.root


def adapters() -> Check:
    """Whether every adapter of the two tuned arms is kept whole at the address of this very model, data and code."""
    import labkit

    lab = labkit.open("pocket", progress=False)
    lab.artifacts = _Looking(lab.artifacts.store.root, lab.artifacts.store.shipped_root)
    remedy = "git checkout data, or make compare once with time to spare: it trains them"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in ("tuned", "hybrid"):
                for seed in lab.profile.seeds:
                    lab.adapter(name, seed)
    except (LabError, OSError, ValueError) as error:
        return Check("adapters", False, f"cannot be looked up: {error}", remedy)
    lost = [used["name"] for used in lab.artifacts.used]
    seen = f"none for this model and data: {'; '.join(lost)}" if lost else f"{2 * len(lab.profile.seeds)} fit the model"
    return Check("adapters", not lost, seen, remedy)


def port() -> Check:
    """Whether JupyterLab finds a port of this machine to listen on."""
    for number in PORTS:
        with socket.socket() as listening:
            try:
                listening.bind(("127.0.0.1", number))
            except OSError:
                continue
            return Check("JupyterLab's port", True, str(number))
    remedy = "close other JupyterLabs, or allow programs to listen on 127.0.0.1"
    return Check("JupyterLab's port", False, f"none of {PORTS[0]} to {PORTS[-1]} can be bound", remedy)


def answering() -> float | Check:
    """Milliseconds for an answer in a notebook that is executed as a lesson is; a failed check where it is not."""
    import nbformat

    from labkit.execute import execute

    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "workshop.py"
        source.write_text(CELL, "utf-8")
        try:
            made = execute(source, source.with_suffix(".ipynb"), progress=False)
        except LabError as error:
            remedy = "mend what is named above this line, or run make compare SIZE=smoke, which says more"
            return Check("a notebook", False, f"does not run: {error}".partition(" (workshop;")[0], remedy)
        return float(nbformat.read(made, as_version=4).cells[-1].outputs[0]["text"])


def expected(docs: Path, milliseconds: float) -> str:
    """Minutes that the notebooks of each track compute here: as measured there, times how much slower answers are here."""
    there = json.loads((docs / "result.json").read_text("utf-8"))["arms"]["rag"]["latency_ms_p50"]["mean"]
    times = {name[:2]: run["seconds"] for name, run in json.loads((docs / "times.json").read_text("utf-8")).items()}
    told = []
    for page in sorted((docs / "teaching").glob("*.md")):
        text = page.read_text("utf-8")
        lessons = set(re.findall(r"\{\{ s(\d\d) \}\}", text))
        if page.stem != "index" and lessons <= times.keys():
            minutes = sum(times[lesson] for lesson in lessons) * milliseconds / there / 60
            told.append(f"{text.splitlines()[0].lstrip('# ').lower()} about {minutes:.0f} min")
    return f"of {', '.join(told)}" if told else "the lessons' times are not measured yet"


def report() -> bool:
    """Print every check as it comes, each in one line that can be mailed; whether all that is required is there."""
    good = True
    for check in examine_workshop():
        good &= check.good
        said = f"{check.name}: {check.seen}"
        print("ok    " if check.good else "FAILS ", said if check.good else f"{said} -> {check.remedy}", flush=True)
    return good
