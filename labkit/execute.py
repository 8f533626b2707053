"""Build a notebook from its source, run it with papermill in a folder of its own, and keep it whole or not at all.

Introduced in 12_compare.
"""

from __future__ import annotations

import ast
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError
from labkit.profile import ROOT, resolve, runs_folder
from labkit.store import write_bytes

if TYPE_CHECKING:
    from nbformat import NotebookNode


KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
BAR = re.compile(r"\d+%\|.*?\|.*(it|s|\?|/s|\]|\d)\s*$|\d+(it|\w+) \[\d\d:\d\d.*\]\s*$|\d+% .*gone, .* left")

UP = "\x1b[A"  # moves a terminal's cursor up: one of two bars at once writes it


def _places() -> list[tuple[re.Pattern[str], str]]:
    """Folders of this machine, the longest first, and what a reader sees in their place."""
    named = {str(ROOT): ".", sys.prefix: ".venv", str(Path.home()): "~", tempfile.gettempdir(): "<tmp>"}
    paths = sorted((path for path in named if len(path) > 1), key=len, reverse=True)
    return [(re.compile(rf"(?<![\w.~-]){re.escape(path)}(?![\w-])"), named[path]) for path in paths]


def scrub(text: str) -> str:
    """The text without this machine's folders, cell files and memory addresses. Introduced in 12_compare.

    >>> scrub(f"read {ROOT}/data/questions.jsonl")
    'read data/questions.jsonl'
    """
    text = re.sub(r"\S*ipykernel_\d+/\d+\.py", "<cell>", text)
    text = re.sub(r"\b0x[0-9a-f]{8,}\b", "0x…", text)
    for pattern, name in _places():
        text = pattern.sub(name, text)
    return re.sub(r"(?<![\w./])\./(?=\w)", "", text)


def _scrubbed(value: Any) -> Any:
    if isinstance(value, list):
        return [_scrubbed(part) for part in value]
    return scrub(value) if isinstance(value, str) else value


def _final(text: str) -> str:
    """What a terminal would still show: of a line, what follows its last carriage return; no progress bar."""
    lines = [line.replace(UP, "").rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(line for line in lines if not BAR.search(line))


def _output(output: dict[str, Any]) -> dict[str, Any] | None:
    if output["output_type"] == "stream":
        output["text"] = scrub(_final("".join(output["text"])))
        return output if output["text"].strip() else None
    if "data" in output:
        data = {kind: value for kind, value in output["data"].items() if "widget" not in kind}
        if data.keys() == {"text/plain"} and BAR.search("".join(data["text/plain"])):
            return None  # what stands for a bar where no widgets are shown
        output["data"] = {k: v if k.startswith("image/png") else _scrubbed(v) for k, v in data.items()}
        return output if data else None
    return {key: _scrubbed(value) for key, value in output.items()}


def tidy(notebook: Any, name: str) -> Any:
    """The notebook, changed in place: cell ids made of `name`, tags the only cell metadata, clean outputs.

    The same source and outputs give the same file. Introduced in 12_compare.

    >>> import nbformat
    >>> cell = nbformat.v4.new_code_cell("1 + 1")
    >>> tidy(nbformat.v4.new_notebook(cells=[cell]), "00_start").cells[0].id
    '00_start-00'
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


SOURCES = ROOT / "notebooks" / "source"
QUIET = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONWARNINGS": "ignore::DeprecationWarning,ignore::FutureWarning,ignore:IProgress not found",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "MATPLOTLIBRC": str(ROOT / "matplotlibrc"),
}


def build(source: Path) -> NotebookNode:
    """The notebook that a py:percent source describes, without outputs. Introduced in 12_compare.

    >>> build(SOURCES / "3_compare" / "12_compare.py").cells[0].cell_type
    'markdown'
    """
    import jupytext

    if not source.is_file():
        raise LabError(f"no notebook source {source.name}: choose {', '.join(p.stem for p in sources())}")
    return tidy(jupytext.read(source, fmt="py:percent"), source.stem)


def sources() -> list[Path]:
    """The notebooks' sources in the order of the course."""
    return sorted(SOURCES.glob("*/[0-9][0-9]_*.py"), key=lambda path: path.name)


def defaults(notebook: NotebookNode, name: str = "the notebook") -> dict[str, Any]:
    """Names and default values in the cell tagged `parameters`.

    LabError if there is no such cell, or it holds more than plain assignments. Introduced in 12_compare.
    """
    cells = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise LabError(f"{name} has {len(cells)} cells tagged parameters: tag exactly one")
    found: dict[str, Any] = {}
    try:
        for line in ast.parse(cells[0]).body:
            target, value = line.targets[0], ast.literal_eval(line.value)  # type: ignore[attr-defined]
            several = isinstance(target, ast.Tuple)
            names, values = (target.elts, value) if several else ([target], [value])
            found |= {name.id: value for name, value in zip(names, values, strict=True)}
    except (AttributeError, ValueError, SyntaxError, TypeError) as error:
        raise LabError(f"{name}: the parameters cell may hold only NAME = plain value") from error
    return found


def check(parameters: Mapping[str, Any], known: Mapping[str, Any], name: str) -> None:
    """LabError for a parameter that the notebook has not, or that is of another type than its default."""
    for key, value in parameters.items():
        if key not in known:
            raise LabError(f"{name} has no parameter '{key}': choose {', '.join(known)}")
        wanted = type(known[key])
        if known[key] is not None and type(value) is not wanted:
            raise LabError(f"{name}: {key} must be {wanted.__name__}, not {type(value).__name__} {value!r}")


@contextmanager
def environment(profile: str | None) -> Iterator[None]:
    """What a kernel starts with: few warnings, our figure style, and no hub where none is needed."""
    before = dict(os.environ)
    os.environ.update(QUIET, LABKIT_RUNS=str(runs_folder()))
    if profile is not None and resolve(profile).offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class _Echo:
    """Where a kernel's prints go; without a terminal, finished lines only, not every step of a bar."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.live, self.line = stream, stream.isatty(), ""

    def write(self, text: str) -> None:
        if self.live:
            self.stream.write(text)
            return
        *lines, self.line = (self.line + text).split("\n")
        self.line = self.line.rpartition("\r")[2] if not self.line.endswith("\r") else self.line
        self.stream.writelines(line.rstrip("\r").rpartition("\r")[2] + "\n" for line in lines)

    def flush(self) -> None:
        self.stream.flush()


def execute(
    source: Path,
    output: Path,
    parameters: Mapping[str, Any] | None = None,
    progress: bool = True,
    echo: bool = False,
) -> Path:
    """Build a source, run it with papermill in the project's folder, and write `output` whole or not at all.

    `echo` shows what the notebook prints while it runs, `progress` a bar of its cells. Raises LabError for an
    unknown parameter, and for a cell that fails: it names the cell and where the half-executed notebook lies.
    Introduced in 12_compare.

    >>> execute(SOURCES / "3_compare" / "12_compare.py", Path("out.ipynb"), {"SIZE": "smoke"})
    """
    import nbformat

    given, notebook = dict(parameters or {}), build(source)
    known = defaults(notebook, source.stem)
    check(given, known, source.stem)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial, failed = (output.with_name(f"{output.stem}.{word}.ipynb") for word in ("partial", "failed"))
    streams = {"stdout_file": _Echo(sys.stdout), "stderr_file": _Echo(sys.stderr)} if echo else {}
    try:
        with environment(given.get("PROFILE", known.get("PROFILE"))):
            if echo:
                os.environ["SPYDER_BARS"] = "text"  # by such a name tqdm.auto draws no widgets, which have no echo
            problem = _papermill(notebook, partial, given, progress, streams)
        save(tidy(nbformat.read(partial, as_version=4), source.stem), failed if problem else output)
    finally:
        partial.unlink(missing_ok=True)
    if problem:
        raise LabError(f"{problem} ({source.stem}; as far as it came: {shown(failed)})")
    failed.unlink(missing_ok=True)
    return output


def _papermill(
    notebook: NotebookNode, partial: Path, given: dict[str, Any], progress: bool, streams: dict[str, Any]
) -> str | None:
    """Run; on failure, what to tell in one line."""
    import zmq
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError, execute_notebook
    from traitlets.config import Config

    for name in ("papermill", "asyncio"):  # warns of NAME, NAME = values, which `check` knows; both of a stopped kernel
        logging.getLogger(name).setLevel(logging.CRITICAL)
    secure = Config(KernelManager={"transport_encryption": "auto" if zmq.has("curve") else "disabled"})
    options = {"coalesce_streams": True, "record_timing": False, "config": secure, "cwd": ROOT}
    options["progress_bar"] = progress
    options["extra_arguments"] = ["--log-level=CRITICAL"]  # a kernel that is stopped in a cell logs a traceback
    try:
        execute_notebook(notebook, partial, given, kernel_name="python3", **options, **streams)
    except DeadKernelError:
        return "the notebook's process died: was it killed, or is memory short?"
    except RuntimeError as error:  # jupyter_client's, of a process that starts and does not answer
        said = str(error).rstrip(".")
        return f"{said}: is this machine very busy, or its own address 127.0.0.1 switched off?"
    except PapermillExecutionError as error:
        lines = " ".join(str(error.evalue).split())
        if error.ename in ("OutOfMemoryError", "MemoryError"):
            remedy = "close what else uses it, or choose a smaller model or a machine with more"
            return f"cell [{error.exec_count}]: memory is full ({lines[:80] or error.ename}): {remedy}"
        kind = "" if error.ename == "LabError" else f"{error.ename}: "
        return f"cell [{error.exec_count}]: {kind}{lines}"
    return None


def shown(path: Path) -> str:
    """A path as a reader should see it: relative to the project where it lies inside."""
    path = path.absolute()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def save(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook's file, whole or not at all."""
    import nbformat

    write_bytes(path, (nbformat.writes(notebook) + "\n").encode())


def run_into(
    source: Path,
    root: Path,
    parameters: Mapping[str, Any] | None = None,
    progress: bool = True,
    echo: bool = False,
) -> Path:
    """Execute into a new folder of `root`, named by the time; then `root/latest` points to it.

    The notebook gets the folder as its parameter OUT. A run that fails or is killed leaves `latest` alone.
    Returns the new folder; raises LabError as `execute` does. Introduced in 12_compare.

    >>> run_into(source, runs_folder() / "compare", {"SIZE": "smoke"}).name
    '20260102-030405'
    """
    folder = new_folder(root)
    given = {**(parameters or {}), "OUT": shown(folder)}
    execute(source, folder / f"{source.stem}.ipynb", given, progress, echo)
    point(root / "latest", folder)
    return folder


def point(link: Path, folder: Path) -> None:
    """Have `link` lead to `folder`, beside it, in one step; a real folder in its place is kept aside.

    Introduced in 12_compare.
    """
    if link.is_dir() and not link.is_symlink():
        link.rename(new_folder(link.parent) / "before")
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(folder.name)
    new.replace(link)


def new_folder(root: Path) -> Path:
    """A new folder of `root`, named by the time. Introduced in 12_compare."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for name in (stamp, *(f"{stamp}-{n}" for n in range(2, 100))):
        try:
            (root / name).mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise LabError(f"cannot write to {shown(root)}: {error.strerror}; choose another folder") from error
        return root / name
    raise LabError(f"{shown(root)} holds a hundred runs of this second: try again")
