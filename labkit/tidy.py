"""Leave in an executed notebook what a reader needs: no timings, widgets, machine paths or progress bars.

Introduced in 12_compare.
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from labkit.profile import ROOT

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
BAR = re.compile(r"\d+%\|.*?\|.*(it|s|\?|/s|\]|\d)\s*$|\d+(it|\w+) \[\d\d:\d\d.*\]\s*$")

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
