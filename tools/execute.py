"""Build a notebook from its source, run it with papermill in a folder of its own, and keep it whole or not at all."""

from __future__ import annotations

import logging
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError
from labkit.runs import environment, kernel_options, new_folder, point, shown
from labkit.store import ROOT, write_bytes

if TYPE_CHECKING:
    from nbformat import NotebookNode

SOURCES = ROOT / "notebooks" / "source"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
BAR = re.compile(r"\d+%\|.*?\|.*(it|s|\?|/s|\]|\d)\s*$|\d+(it|\w+) \[\d\d:\d\d.*\]\s*$|\d+% .*gone, .* left")
UP = "\x1b[A"  # moves a terminal's cursor up: one of two bars at once writes it


def sources() -> list[Path]:
    """The notebooks' sources in the order of the course: by part, then by name, so that 0a comes after 00 and before 01."""
    return sorted(SOURCES.glob("*/[0-9][0-9a-z]_*.py"))


def build(source: Path) -> NotebookNode:
    """The notebook that a py:percent source describes, without outputs."""
    import jupytext

    if not source.is_file():
        raise LabError(f"no notebook source {source.name}: choose {', '.join(p.stem for p in sources())}")
    return tidy(jupytext.read(source, fmt="py:percent"), source.stem)


def scrub(text: str) -> str:
    """The text without this machine's folders, cell files and memory addresses.

    >>> scrub(f"read {ROOT}/data/questions.jsonl")
    'read data/questions.jsonl'
    """
    text = re.sub(r"\S*ipykernel_\d+/\d+\.py", "<cell>", text)
    text = re.sub(r"\b0x[0-9a-f]{8,}\b", "0x…", text)
    places = {str(ROOT): ".", sys.prefix: ".venv", str(Path.home()): "~", tempfile.gettempdir(): "<tmp>"}
    for path in sorted(places, key=len, reverse=True):
        if len(path) > 1:
            text = re.sub(rf"(?<![\w.~-]){re.escape(path)}(?![\w-])", places[path], text)
    return re.sub(r"(?<![\w./])\./(?=\w)", "", text)


def _scrub_all(value: Any) -> Any:
    if isinstance(value, list):
        return [_scrub_all(part) for part in value]
    return scrub(value) if isinstance(value, str) else value


def _final(text: str) -> str:
    """What a terminal would still show: of a line, what follows its last carriage return; no progress bar."""
    lines = [line.replace(UP, "").rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(line for line in lines if not BAR.search(line))


def _output(output: dict[str, Any]) -> dict[str, Any] | None:
    if output["output_type"] == "stream":
        output["text"] = scrub(_final("".join(output["text"])))
        return output if output["text"].strip() else None
    if "data" not in output:
        return {key: _scrub_all(value) for key, value in output.items()}
    data = {kind: value for kind, value in output["data"].items() if "widget" not in kind}
    if data.keys() == {"text/plain"} and BAR.search("".join(data["text/plain"])):
        return None  # what stands for a bar where no widgets are shown
    output["data"] = {kind: v if kind.startswith("image/png") else _scrub_all(v) for kind, v in data.items()}
    return output if data else None


def tidy(notebook: Any, name: str) -> Any:
    """The notebook, changed in place: cell ids made of `name`, tags the only cell metadata, clean outputs.

    The same source and outputs give the same file.
    """
    import nbformat

    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    number = 0
    for cell in notebook.cells:
        tags = list(cell.metadata.get("tags", []))
        injected = "injected-parameters" in tags
        cell.id = f"{name}-parameters" if injected else f"{name}-{number:02d}"
        number += not injected
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = [nbformat.from_dict(kept) for out in cell.outputs if (kept := _output(out))]
    return notebook


def save(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook's file, whole or not at all."""
    import nbformat

    write_bytes(path, (nbformat.writes(notebook) + "\n").encode())


def defaults(notebook: NotebookNode, name: str = "the notebook") -> dict[str, Any]:
    """Names and default values in the cell tagged `parameters`; LabError if there is no such cell."""
    cells = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise LabError(f"{name} has {len(cells)} cells tagged parameters: tag exactly one")
    known: dict[str, Any] = {}
    exec(cells[0], {}, known)  # our own lesson, which is about to run whole
    return known


def execute(source: Path, output: Path, parameters: Mapping[str, Any] | None = None, progress: bool = True) -> Path:
    """Build a source, run it with papermill in the project's folder, and write `output` whole or not at all.

    Raises LabError for an unknown parameter, and for a cell that fails: it names the cell and where the half-executed
    notebook lies.
    """
    import nbformat

    given, notebook = dict(parameters or {}), build(source)
    known = defaults(notebook, source.stem)
    if unknown := given.keys() - known:
        raise LabError(f"{source.stem} has no parameter '{min(unknown)}': choose {', '.join(known)}")
    partial, failed = (output.with_name(f"{output.stem}.{word}.ipynb") for word in ("partial", "failed"))
    with environment((known | given).get("PROFILE")):
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            problem = _run(notebook, partial, given, progress)
            save(tidy(nbformat.read(partial, as_version=4), source.stem), failed if problem else output)
        finally:
            partial.unlink(missing_ok=True)
    if problem:
        raise LabError(f"{problem} ({source.stem}; as far as it came: {shown(failed)})")
    failed.unlink(missing_ok=True)
    return output


def _run(notebook: NotebookNode, partial: Path, given: dict[str, Any], progress: bool) -> str | None:
    """Run a notebook; on failure, what to tell in one line."""
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError, execute_notebook

    for name in (
        "papermill",
        "asyncio",
    ):  # warns of NAME, NAME = values, which `defaults` knows; both of a stopped kernel
        logging.getLogger(name).setLevel(logging.CRITICAL)
    options = {
        **kernel_options(),
        "coalesce_streams": True,
        "record_timing": False,
        "progress_bar": progress,
        "cwd": ROOT,
    }
    try:
        execute_notebook(notebook, partial, given, kernel_name="python3", **options)
    except DeadKernelError:
        return "the notebook's process died: was it killed, or is memory short?"
    except RuntimeError as error:  # jupyter_client's, of a process that starts and does not answer
        return f"{str(error).rstrip('.')}: is this machine very busy, or its own address 127.0.0.1 switched off?"
    except PapermillExecutionError as error:
        reason, kind = " ".join(str(error.evalue).split()), error.ename
        if kind in ("OutOfMemoryError", "MemoryError"):
            remedy = "close what else uses it, or choose a smaller model or a machine with more"
            return f"cell [{error.exec_count}]: memory is full ({reason[:80] or kind}): {remedy}"
        return f"cell [{error.exec_count}]: {'' if kind == 'LabError' else f'{kind}: '}{reason}"
    return None


def run_into(source: Path, root: Path, parameters: Mapping[str, Any] | None = None, progress: bool = True) -> Path:
    """Execute into a new folder of `root`, named by the time; then `root/latest` points to it.

    The notebook gets the folder as its parameter OUT. A run that fails or is killed leaves `latest` alone.
    Returns the new folder; raises LabError as `execute` does.
    """
    folder = new_folder(root)
    execute(source, folder / f"{source.stem}.ipynb", {**(parameters or {}), "OUT": shown(folder)}, progress)
    point(root / "latest", folder)
    return folder
