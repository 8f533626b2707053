"""Build, run and keep the notebooks of the course, and README's tables with them.

`python -m labkit.notebooks` does them all, `python -m labkit.notebooks 12` one. Introduced in 12_compare.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import labkit
from labkit.compare import ledger, tables
from labkit.compare.bands import PUBLISHED
from labkit.errors import LabError
from labkit.execute import build, defaults, execute, shown, sources
from labkit.profile import ROOT, runs_folder
from labkit.store import write_bytes, write_json

MARKERS = "<!-- {name} -->", "<!-- /{name} -->"


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


def target(source: Path) -> Path:
    """Where a source's notebook is kept: `notebooks/source/PART/NAME.py` in `notebooks/PART/NAME.ipynb`."""
    return source.parent.parent.parent / source.parent.name / f"{source.stem}.ipynb"


def publish(source: Path) -> Path:
    """Run one source and keep its notebook; what it writes itself goes to a new folder below `runs`.

    Raises LabError as `execute` does. Introduced in 12_compare.
    """
    if "OUT" not in defaults(build(source), source.stem):
        return execute(source, target(source))
    folder = run_into(source, runs_folder() / source.stem.partition("_")[2])
    write_bytes(target(source), _without_injected(folder / f"{source.stem}.ipynb"))
    return target(source)


def _without_injected(path: Path) -> bytes:
    """The notebook less the cell that says where this run wrote."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    return (nbformat.writes(notebook) + "\n").encode()


def update_readme(readme: Path, name: str, result: Path) -> None:
    """Put the table of a result into README, between the markers of that name ("results" or "claims").

    Raises LabError without markers, without a result, and for a result of smoke size.
    Introduced in 12_compare.

    >>> update_readme(Path("README.md"), "results", Path("runs/compare/latest/result.json"))
    """
    make = {"results": "compare", "claims": "claims"}[name]
    if not result.is_file():
        raise LabError(f"no result at {shown(result)}: run make {make}")
    found = json.loads(result.read_text("utf-8"))
    if found["size"] != "full":
        raise LabError(f"{shown(result)} is of {found['size']} size, which README does not show: run make {make}")
    opening, closing = (marker.format(name=name) for marker in MARKERS)
    before, start, rest = readme.read_text("utf-8").partition(opening)
    _, end, after = rest.partition(closing)
    if not (start and end):
        raise LabError(f"{readme.name} lacks {opening} and {closing}: put them where the table belongs")
    note = "<!-- written by `make notebooks`: do not edit -->"
    made = {"results": tables.markdown, "claims": ledger.markdown}[name](found)
    write_bytes(readme, f"{before}{opening}\n{note}\n\n{made}\n\n{closing}{after}".encode())


def note_time(path: Path, lesson: str, seconds: float) -> None:
    """Keep how long a lesson's last run at full size took, for the teaching pages."""
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    found[lesson] = {"seconds": round(seconds, 1), "cpus": os.cpu_count()}
    write_json(path, dict(sorted(found.items())))


def chosen(numbers: Sequence[str]) -> list[Path]:
    """The sources of these lesson numbers, all if none is given; LabError for one that is no lesson."""
    found = {path.stem[:2]: path for path in sources()}
    for number in numbers:
        if number.zfill(2)[:2] not in found:
            raise LabError(f"no lesson '{number}': choose {', '.join(found)}")
    return [found[number.zfill(2)[:2]] for number in numbers] if numbers else list(found.values())


def main(numbers: Sequence[str]) -> int:
    """Publish the lessons of these numbers, then README's tables; gives the exit status.

    Introduced in 12_compare.
    """
    failed = 0
    try:
        todo = chosen(numbers)
        for source in todo:
            began = time.perf_counter()
            try:
                kept = publish(source)
                note_time(ROOT / "docs" / "times.json", source.stem, time.perf_counter() - began)
                print(f"{shown(kept)}: {time.perf_counter() - began:.0f} s")
            except LabError as error:
                failed += 1
                print(f"error: {error}", file=sys.stderr)
        stems = set() if failed else {source.stem for source in todo}
        if "12_compare" in stems:
            result = runs_folder() / "compare" / "latest" / "result.json"
            update_readme(ROOT / "README.md", "results", result)
            write_bytes(PUBLISHED, result.read_bytes())
        if "19_claims" in stems:
            update_readme(ROOT / "README.md", "claims", ledger.write_ledger(labkit.open()))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
