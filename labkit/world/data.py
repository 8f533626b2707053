"""Read what `make data` wrote: questions, training pairs, folders of documents. Introduced in 00_start."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.profile import ROOT


@dataclass(frozen=True)
class Evidence:
    """One fact that proves an answer, and the passage that states it in the document that is its place.

    `also` names the documents that restate the fact: overviews, for example.
    """

    document: str
    value: str
    passage: str
    kind: str
    entity: str
    attribute: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """A test question or training pair; `gold` is what a right answer contains, None where it abstains.

    `accepted` are other forms of the gold value that are as right.
    """

    id: str
    kind: str
    question: str
    gold: str | None
    answer: str
    rivals: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    accepted: tuple[str, ...] = ()


def data_folder() -> Path:
    """The folder of shipped data, or the one that LABKIT_DATA names. Introduced in 00_start.

    >>> data_folder().name
    'data'
    """
    named = os.environ.get("LABKIT_DATA")
    return Path(named) if named else ROOT / "data"


def _needed(name: str) -> Path:
    path = data_folder() / name
    if not path.exists():
        raise LabError(f"there is no {name} in {data_folder()}: run `make data`, or set LABKIT_DATA")
    return path


def documents_folder() -> Path:
    """The documents as first written; LabError if they are missing. Introduced in 01_ingest.

    >>> ingest(documents_folder()).rejected
    []
    """
    return _needed("documents")


def updates_folder() -> Path:
    """The second versions, at the paths of the documents they replace; LabError if they are missing.

    Introduced in 13_update.

    >>> updates_folder().name
    'updates'
    """
    return _needed("updates")


def load_questions(path: Path | str | None = None) -> list[Item]:
    """The test questions; their evidence is of the documents with the updates laid over them.

    Raises `LabError` if the file is missing or damaged. Introduced in 00_start.

    >>> load_questions()[0].kind
    'single fact'
    """
    return _load(Path(path) if path is not None else _needed("questions.jsonl"))


def load_pairs(path: Path | str | None = None) -> list[Item]:
    """The training pairs, with plain answers; their evidence is of the documents as first written.

    Raises `LabError` if the file is missing or damaged. Introduced in 07_prepare.

    >>> load_pairs()[0].id
    'p001'
    """
    return _load(Path(path) if path is not None else _needed("pairs.jsonl"))


def load_rewordings() -> list[Item]:
    """More wordings of the pairs' facts that a test asks for, four each; `LabError` as `load_pairs`. Introduced in 12_compare.

    >>> load_rewordings()[0].id
    'w0001'
    """
    return _load(_needed("rewordings.jsonl"))


def of_kind(items: Iterable[Item], *kinds: str) -> list[Item]:
    """The items of some kinds. Introduced in 12_compare.

    >>> len(of_kind(load_questions(), "two-hop"))
    35
    """
    return [item for item in items if item.kind in kinds]


def _load(path: Path) -> list[Item]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{path} cannot be read ({type(error).__name__}): check the path or run `make data`") from error
    return [_item(line, f"{path.name}, line {number}") for number, line in enumerate(lines, start=1) if line]


def _item(line: str, place: str) -> Item:
    try:
        row = json.loads(line)
        evidence = {"evidence": _evidence(row.get("evidence", ()))}
        return Item(**row | {name: tuple(row.get(name, ())) for name in ("rivals", "accepted")} | evidence)
    except (ValueError, TypeError, AttributeError) as error:
        raise LabError(f"{place} is not an item ({error}): mend it or run `make data`") from error


def _evidence(rows: Sequence[dict[str, Any]]) -> tuple[Evidence, ...]:
    return tuple(Evidence(**row | {"also": tuple(row.get("also", ()))}) for row in rows)
