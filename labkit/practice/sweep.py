"""A grid of settings, measured cell by cell; a sweep that was stopped goes on. See docs/scale.md."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import asdict, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.compare.experiment import ask_arms
from labkit.compare.score import recall
from labkit.data import documents_folder, load_pairs, load_questions, updates_folder
from labkit.errors import LabError
from labkit.hashing import address, hash_tree
from labkit.lab import Lab
from labkit.practice.sweep_grid import RETRIEVAL, Cell, Grid
from labkit.profile import resolve
from labkit.store import Store, provenance, write_bytes, write_json

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = "profile chunk_size overlap method k arm seed n accuracy recall_at_k seconds error".split()
Row = dict[str, Any]
RECIPE = "sweep/1"
"""Raised by hand whenever a cell's row comes out differently for the same models and data."""


def key(cell: Cell) -> str:
    """The address of a cell's row: of the cell, and of models, data and code that make it."""
    return address(cell=cell, made_of=_made_of(cell.profile))


@cache
def _made_of(name: str) -> dict[str, Any]:
    from labkit.checkpoint import fingerprint

    profile = resolve(name)
    return {
        "profile": profile,
        "model": fingerprint(profile.model_path) if Path(profile.model_path).is_dir() else profile.model,
        "documents": [hash_tree(documents_folder()), hash_tree(updates_folder())],
        "questions": address(test=load_questions(), training=load_pairs()),
        "recipe": RECIPE,
    }


def run_cell(cell: Cell) -> Row:
    """Measure one cell; whatever goes wrong is told in the row's `error`. `seconds` is what the cell took.

    `n` questions have an answer; `accuracy` is the share answered right, `recall_at_k` the mean share of the
    needed facts in the k chunks found. See docs/scale.md.
    """
    began, measured, error = time.perf_counter(), {}, ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measured = _measure(cell)
    except Exception as problem:  # a cell that fails must not end the sweep
        error = told(problem)
    finally:
        Lab.tuned_model.cache_clear()  # else every adapter's model would stay in memory
    return row(cell, error, **measured, seconds=round(time.perf_counter() - began, 2))


def row(cell: Cell, error: str = "", **measured: Any) -> Row:
    """A row of the table, with None for what was not measured."""
    return (
        dict.fromkeys(COLUMNS) | {n: v for n, v in asdict(cell).items() if n in COLUMNS} | measured | {"error": error}
    )


def told(problem: BaseException) -> str:
    """An exception on one line."""
    text = " ".join(str(problem).split())[:200]
    return text if isinstance(problem, LabError) else f"{type(problem).__name__}: {text}"


def _measure(cell: Cell) -> Row:
    lab = _lab(cell)
    if cell.arm == RETRIEVAL:
        items = [item for item in lab.questions if item.evidence]
        found = lab.retriever().search_batch([item.question for item in items], lab.profile.top_k)
        shares = [recall(item, hits) for item, hits in zip(items, found, strict=True)]
        return {"n": len(items), "recall_at_k": float(np.mean(shares))}
    answers = ask_arms(lab, [cell.arm]).query("answerable")
    found = None if cell.k is None else float(answers.retrieved.mean())
    return {"n": len(answers), "accuracy": float(answers.correct.mean()), "recall_at_k": found}


def _lab(cell: Cell) -> Lab:
    """A lab with the cell's settings; model, embedder, documents and questions are shared with the cells before."""
    shared = _opened(cell.profile, cell.size, cell.questions)
    shared.documents, shared.questions, shared.embedder  # noqa: B018 - read before the copy is made
    if cell.arm != RETRIEVAL:
        shared.hashes  # noqa: B018 - which loads the model
    lab = copy(shared)
    settings = {"chunk_size": cell.chunk_size, "top_k": cell.k, "method": cell.method}
    if cell.overlap is not None:
        settings["chunk_overlap"] = round(cell.overlap * cell.chunk_size)
    if cell.seed is not None:
        settings["seeds"] = (cell.seed,)
    lab.profile = replace(shared.profile, **{name: value for name, value in settings.items() if value is not None})
    return lab


@lru_cache(maxsize=1)
def _opened(profile: str, size: str, questions: int | None) -> Lab:
    lab = Lab(resolve(profile), size, progress=False)
    if questions:
        lab.profile = replace(lab.profile, questions=questions)
    return lab


Runner = Callable[[list[Cell]], Iterator[tuple[Cell, Row]]]
"""Measures cells in any order; each comes back once, with its row."""


def here(cells: Iterable[Cell]) -> Iterator[tuple[Cell, Row]]:
    """One cell after the other, in this process."""
    return ((cell, run_cell(cell)) for cell in cells)


def sweep(grid: Grid, out: Path | str, run: Runner = here, progress: bool = True) -> pd.DataFrame:
    """The grid's table, a row for each cell in the grid's order; cells measured before are found under `out`.

    Each row is kept when it is made, whole or not at all; a failed one is not, so that the next call tries it
    again. `out` holds cells/, table.csv and result.json. See docs/scale.md.

    >>> sweep(Grid(arms=["retrieval"], k=[1, 5], size="smoke"), "runs/sweeps/mine")[["k", "recall_at_k"]]
    """
    import pandas as pd
    from tqdm import tqdm

    out, cells = Path(out), grid.cells()
    store, keys = Store(out / "cells"), {cell: key(cell) for cell in cells}
    kept = {cell: folder for cell in cells if (folder := store.find(keys[cell]))}
    rows = {cell: json.loads((folder / "row.json").read_text("utf-8")) for cell, folder in kept.items()}
    missing = [cell for cell in cells if cell not in rows]
    with tqdm(total=len(cells), initial=len(rows), desc="sweep", unit="cell", disable=not progress) as bar:
        for cell, made in run(missing) if missing else ():
            if not made["error"]:
                store.commit(keys[cell], lambda folder, made=made: write_json(folder / "row.json", made))
            rows[cell] = made
            bar.update()
    table = [rows[cell] for cell in cells]
    result = {"schema": 1, "experiment": "sweep", "grid": grid.model_dump(), "cells": list(keys.values())}
    write_json(out / "result.json", result | {"rows": table, "environment": provenance()})
    frame = pd.DataFrame(table, columns=COLUMNS).convert_dtypes()
    write_bytes(out / "table.csv", frame.to_csv(index=False).encode())
    return frame
