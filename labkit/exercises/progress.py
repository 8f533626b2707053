"""How far the learner has come: tries and passes, kept in `progress.json` beside the runs. Introduced in 00_start."""

import json

from labkit.errors import LabError
from labkit.exercises.lesson import lesson, sources
from labkit.profile import runs_folder
from labkit.store import write_json


def count(stem: str, name: str, right: bool) -> int:
    """Keep one more try; gives the failures so far."""
    kept = _kept()
    tries = kept.setdefault(stem, {}).setdefault(name, {"failed": 0, "passed": 0})
    tries["passed" if right else "failed"] += 1
    write_json(runs_folder() / "progress.json", kept)
    return tries["failed"]


def _kept() -> dict[str, dict[str, dict[str, int]]]:
    path = runs_folder() / "progress.json"
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError as error:
        raise LabError(f"{path.name} is damaged: mend or remove it, and progress begins anew") from error


def progress() -> list[tuple[str, str, str, str, str]]:
    """Each lesson with its exercises and questions done of how many, tries, and the exercises still open.

    Introduced in 00_start.
    """
    rows, kept = [], _kept()
    for path in sources():
        known, tried = lesson(path.stem[:2]), kept.get(path.stem, {})
        done = {name for name, tries in tried.items() if tries["passed"]}
        asked = {f"question {n}" for n in range(1, len(known.questions) + 1)}
        left = [name for name in known.exercises if name not in done]
        shares = f"{len(known.exercises) - len(left)} of {len(known.exercises)}", f"{len(done & asked)} of {len(asked)}"
        tries = sum(t["failed"] + t["passed"] for t in tried.values())
        rows.append((path.stem, *shares, str(tries), ", ".join(left)))
    return rows
