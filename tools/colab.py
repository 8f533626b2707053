"""The lessons in Colab: copies with a badge and one setup cell, and what that cell does there.

`python -m tools.colab OWNER/REPO FOLDER` writes the copies, which the workflow of the site puts on the branch `colab`.
`python -m tools.colab` is the setup: it installs what the lessons need and leaves alone what Colab stands on, torch
first of all. Needs nothing but Python.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from typing import Any

from labkit.errors import LabError

ROOT = Path(__file__).resolve().parent.parent
SERVER = {"jupyterlab", "ipykernel", "ipywidgets"}
"""Colab's own page and kernel stand in their place; any version of ipywidgets does."""

SETUP = """# For Colab, once: the course, and what it needs beside the torch that is here.
!git clone -q --depth 1 https://github.com/{repository} ~/labkit
%cd -q ~/labkit
%run tools/colab.py
"""


def link(repository: str, name: str) -> str:
    """Where Colab opens a lesson's copy; LabError for what is no OWNER/REPO.

    >>> link("owner/repo", "05_retrieve").endswith("/owner/repo/blob/colab/05_retrieve.ipynb")
    True
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise LabError(f"'{repository}' is no repository: give OWNER/REPO")
    return f"https://colab.research.google.com/github/{repository}/blob/colab/{name}.ipynb"


def copy(notebook: dict[str, Any], repository: str, name: str) -> dict[str, Any]:
    """A notebook with the badge and the setup cell in front."""
    badge = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link(repository, name)})"
    setup = {"outputs": [], "execution_count": None, "source": SETUP.format(repository=repository)}
    front = [
        {"cell_type": "markdown", "id": f"{name}-badge", "metadata": {}, "source": badge},
        {"cell_type": "code", "id": f"{name}-setup", "metadata": {}} | setup,
    ]
    return notebook | {"cells": front + notebook["cells"]}


def export(repository: str, folder: Path) -> None:
    """Write a copy of every kept lesson into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted((ROOT / "notebooks").glob("[0-9]_*/[0-9][0-9a-z]_*.ipynb"))
    for kept in (path for path in found if "." not in path.stem):  # not what is being made
        made = copy(json.loads(kept.read_text("utf-8")), repository, kept.stem)
        (folder / kept.name).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", "utf-8")


def add_link(path: Path, repository: str) -> None:
    """Put a link to the copy below the title of a notebook's file; the site loads no picture from elsewhere."""
    notebook = json.loads(path.read_text("utf-8"))
    source = f"[Open in Colab]({link(repository, path.stem)})"
    notebook["cells"].insert(1, {"cell_type": "markdown", "id": f"{path.stem}-colab", "metadata": {}, "source": source})
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def plan() -> tuple[list[str], list[str]]:
    """What pip shall install, and what it must keep: torch and whatever Colab's own package asks for, as installed.

    Versions are pyproject's ranges, not the pins, so that what is here and fits stays. LabError without a torch.
    """
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    wanted = ["ipywidgets", *(line for line in declared if _name(line) not in SERVER | {"torch"})]
    try:
        colab = requires("google-colab") or []
    except PackageNotFoundError:
        colab = []
    here = {name: _installed(name) for name in sorted({"torch", *map(_name, colab)})}
    if not here["torch"]:
        raise LabError("no torch is installed: this setup is for Colab; elsewhere run make compare")
    return wanted, [f"{name}=={version}" for name, version in here.items() if version]


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower()


def _installed(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def install(*options: str) -> None:
    """Install by the plan, then labkit itself without what it depends on; `options` go to pip. LabError if pip fails."""
    wanted, kept = plan()
    pip = [sys.executable, "-m", "pip", "install", "-q", *options]
    with tempfile.TemporaryDirectory() as name:
        constraints = Path(name) / "kept.txt"
        constraints.write_text("\n".join(kept) + "\n", "utf-8")
        for words in ([*pip, "-c", str(constraints), *wanted], [*pip, "--no-deps", "-e", str(ROOT)]):
            if subprocess.run(words).returncode:
                raise LabError(f"pip could not install beside {', '.join(kept)}: its last lines say what it lacks")
    print(f"ready: torch {_installed('torch')} is as it was")


if __name__ == "__main__":
    try:
        export(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) == 3 else install(*sys.argv[1:])
    except LabError as error:
        sys.exit(f"error: {error}")
