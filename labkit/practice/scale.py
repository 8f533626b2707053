"""What runs here or, with Ray, on several machines (docs/scale.md): a grid of settings cell by cell, a folder embedded."""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from itertools import chain, product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tqdm import tqdm

from labkit.compare.arms import arm_class, weights_of
from labkit.compare.experiment import ask_arms
from labkit.compare.lab import Lab
from labkit.compare.score import recall
from labkit.data import documents_folder, load_pairs, load_questions, updates_folder
from labkit.errors import LabError, one_line
from labkit.model import fingerprint
from labkit.profile import resolve
from labkit.rag.chunk import chunk_documents
from labkit.rag.embed import load_embedder
from labkit.rag.ingest import ingest
from labkit.rag.retrieve import METHODS
from labkit.store import Store, address, hash_tree, provenance, write_bytes, write_json

COLUMNS = "profile chunk_size overlap method k arm seed n accuracy recall_at_k seconds error".split()
RETRIEVAL = "retrieval"  # in place of an arm: only search, and measure what was found
RECIPE = "sweep/1"  # raised by hand whenever a cell's row comes out differently for the same models and data
RETRIES = 5  # how often a cell is begun again when the machine under it has died
BATCH = 64  # chunks that are embedded and written at a time
Row = dict[str, Any]
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Cell:
    """One combination of settings; None where it has no bearing on the arm. `overlap` is a share of the size."""

    profile: str
    chunk_size: int | None
    overlap: float | None
    method: str | None
    k: int | None
    arm: str
    seed: int | None
    size: str
    questions: int | None


class Grid(BaseModel):
    """What an experiment file holds: lists of which every combination is tried; defaults are the pocket profile's.

    `chunk_sizes` in tokens of the embedder, `overlaps` as shares of the size, `questions` spread over the kinds.

    >>> len(Grid(k=[3, 5], arms=["base", "rag"]).cells())
    3
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    profiles: list[str] = Field(["pocket"], min_length=1)
    chunk_sizes: list[Positive] = Field([96], min_length=1)
    overlaps: list[Annotated[float, Field(ge=0, lt=1)]] = Field([0.15], min_length=1)
    methods: list[Literal[METHODS]] = Field(["fusion"], min_length=1)
    k: list[Positive] = Field([5], min_length=1)
    arms: list[str] = Field(["rag"], min_length=1)
    seeds: list[int] = Field([0], min_length=1)
    size: Literal["smoke", "full"] = "full"
    questions: Positive | None = None

    def cells(self) -> list[Cell]:
        """The grid's cells in order, each once: `base` has one whatever the chunks, an untrained arm one for all seeds."""
        axes = (self.profiles, self.chunk_sizes, self.overlaps, self.methods, self.k, self.arms, self.seeds)
        cells = (Cell(*values, self.size, self.questions) for values in product(*axes))
        return list(dict.fromkeys(map(_bare, cells)))


def _bare(cell: Cell) -> Cell:
    if cell.arm == RETRIEVAL or weights_of(cell.arm) is None:
        cell = replace(cell, seed=None)
    if cell.arm != RETRIEVAL and not arm_class(cell.arm).reads:
        cell = replace(cell, chunk_size=None, overlap=None, method=None, k=None)
    return cell


def read_grid(path: Path | str) -> Grid:
    """The grid in a YAML file; LabError naming what is wrong with it."""
    try:
        grid = Grid.model_validate(yaml.safe_load(Path(path).read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LabError(f"cannot read {path} ({one_line(error, 80)}): give a YAML file") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise LabError(f"{path}: {where}: {first['msg']}; labkit sweep --help shows a file") from error
    for profile in grid.profiles:
        resolve(profile)
    for arm in set(grid.arms) - {RETRIEVAL}:
        arm_class(arm)
    return grid


def sweep(
    grid: Grid, out: Path | str, address: str | None = None, gpus: float = 0, progress: bool = True
) -> pd.DataFrame:
    """The grid's table, a row for each cell in the grid's order; cells measured before are found under `out`.

    Each row is kept when it is measured, whole or not at all; a failed one is not, so that the next call tries it again.
    Cells run one after the other in this process or, with an `address`, as Ray's tasks with `gpus` GPUs each. `out` holds
    cells/, table.csv and result.json.
    """
    out, cells = Path(out), grid.cells()
    store, keys = Store(out / "cells"), {cell: key(cell) for cell in cells}
    folders = {cell: store.find(place) for cell, place in keys.items()}
    rows = {cell: json.loads((folder / "row.json").read_text("utf-8")) for cell, folder in folders.items() if folder}
    missing = [cell for cell in cells if cell not in rows]
    results = run_at(missing, address, gpus) if address and missing else ((c, run_cell(c)) for c in missing)
    with tqdm(total=len(cells), initial=len(rows), desc="sweep", unit="cell", disable=not progress) as bar:
        for cell, row in results:
            if not row["error"]:
                store.commit(keys[cell], lambda folder, row=row: write_json(folder / "row.json", row))
            rows[cell] = row
            bar.update()
    table = [rows[cell] for cell in cells]
    result = {"schema": 1, "experiment": "sweep", "grid": grid.model_dump(), "cells": list(keys.values())}
    write_json(out / "result.json", result | {"rows": table, "environment": provenance()})
    frame = pd.DataFrame(table, columns=COLUMNS).convert_dtypes()
    write_bytes(out / "table.csv", frame.to_csv(index=False).encode())
    return frame


def key(cell: Cell) -> str:
    """The address of a cell's row: of the cell, and of models, data and code that it rests on."""
    return address(cell=cell, made_of=_basis(cell.profile))


@cache
def _basis(name: str) -> dict[str, Any]:
    profile = resolve(name)
    return {
        "profile": profile,
        "model": fingerprint(profile.model_path) if Path(profile.model_path).is_dir() else profile.model,
        "documents": [hash_tree(documents_folder()), hash_tree(updates_folder())],
        "questions": address(test=load_questions(), training=load_pairs()),
        "recipe": RECIPE,
    }


def run_cell(cell: Cell, wanted: str | None = None) -> Row:
    """Measure one cell: `n` questions have an answer; `accuracy` is the share answered right, `recall_at_k` the mean
    share of the needed facts in the k chunks found, `seconds` what the cell took.

    Whatever goes wrong stands in the row's `error`; so does that this machine gives the cell another address than `wanted`.
    """
    began, numbers, error = time.perf_counter(), {}, ""
    try:
        if wanted and wanted != key(cell):
            machine = os.uname().nodename
            raise LabError(f"{machine} holds other code, data or models: install the same checkout there")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numbers = _measure(cell)
    except Exception as problem:  # a cell that fails must not end the sweep
        error = _reason(problem)
    finally:
        Lab.release()  # else every adapter's model would stay in memory
    return _row(cell, error, **numbers, seconds=round(time.perf_counter() - began, 2))


def _row(cell: Cell, error: str, **numbers: Any) -> Row:
    """A row of the table, with None for what was not measured."""
    settings = {name: value for name, value in asdict(cell).items() if name in COLUMNS}
    return dict.fromkeys(COLUMNS) | settings | numbers | {"error": error}


def _reason(problem: BaseException) -> str:
    """An exception on one line."""
    text = one_line(problem, 200)
    return text if isinstance(problem, LabError) else f"{type(problem).__name__}: {text}"


def _measure(cell: Cell) -> Row:
    lab = _lab(cell)
    if cell.arm == RETRIEVAL:
        items = [item for item in lab.questions if item.evidence]
        results = lab.retriever().search_batch([item.question for item in items], lab.profile.top_k)
        shares = [recall(item, hits) for item, hits in zip(items, results, strict=True)]
        return {"n": len(items), "recall_at_k": float(np.mean(shares))}
    answers = ask_arms(lab, [cell.arm]).query("answerable")
    share = None if cell.k is None else float(answers.retrieved.mean())
    return {"n": len(answers), "accuracy": float(answers.correct.mean()), "recall_at_k": share}


def _lab(cell: Cell) -> Lab:
    """A lab with the cell's settings; model, embedder, documents and questions are shared with the cells before."""
    shared = _shared_lab(cell.profile, cell.size, cell.questions)
    shared.documents, shared.questions, shared.embedder  # noqa: B018 - read before the copy is made
    if cell.arm != RETRIEVAL:
        shared.hashes  # noqa: B018 - which loads the model
    lab, settings = copy(shared), {}
    if cell.chunk_size is not None:  # the arm reads
        settings = {"chunk_size": cell.chunk_size, "chunk_overlap": round(cell.overlap * cell.chunk_size)}
        settings |= {"top_k": cell.k, "method": cell.method}
    if cell.seed is not None:
        settings["seeds"] = (cell.seed,)
    lab.profile = replace(shared.profile, **settings)
    return lab


@lru_cache(maxsize=1)
def _shared_lab(profile: str, size: str, questions: int | None) -> Lab:
    lab = Lab(resolve(profile), size, progress=False)
    if questions:
        lab.profile = replace(lab.profile, questions=questions)
    return lab


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """A connection to the Ray cluster at an address ("host:port", "auto"), or to one of its own on this machine ("local").

    LabError if Ray is not installed, there is no such cluster, or its own does not start: Ray gives up where a busy
    machine takes over 15 seconds to start its agents.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise LabError("Ray is not installed: run pip install -c constraints.txt -e '.[ray]'") from error
    own = {"include_dashboard": False} if address == "local" else {}
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit():  # Ray itself would try for many minutes
            socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=20).close()
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except Exception as error:  # Ray raises plain ones too
        remedy = "try again when the machine is less busy" if own else "give host:port, auto or local"
        raise LabError(f"no Ray cluster at '{address}' ({one_line(error, 100)}): {remedy}") from error
    try:
        yield
    finally:
        ray.shutdown()


def run_at(cells: list[Cell], address: str, gpus: float = 0) -> Iterator[tuple[Cell, Row]]:
    """Measure cells as Ray tasks, each on one processor and `gpus` GPUs; they come in the order they finish.

    A cell whose machine died is begun again elsewhere; one that kills its process again and again fails. Every
    machine must hold the same code and data: a cell elsewhere fails that would have another address there.
    """
    with cluster(address):
        import ray

        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(run_cell)
        waiting = {task.remote(cell, key(cell)): cell for cell in cells}
        while waiting:
            [done], _ = ray.wait(list(waiting), num_returns=1)
            cell = waiting.pop(done)
            try:
                yield cell, ray.get(done)
            except ray.exceptions.RayError as error:
                yield cell, _row(cell, _reason(error))


class Encoder:
    """An embedder that takes a table of chunks and adds their vectors; on Ray, one to an actor."""

    def __init__(self, embedder: str) -> None:
        self.embedder = load_embedder(embedder)

    def __call__(self, chunks: pa.Table) -> pa.Table:
        """The chunks with a column `vector` (float32, unit length) in place of the text that was embedded."""
        vectors = self.embedder.encode(chunks["embedded"].to_pylist())
        flat = pa.array(vectors.ravel(), pa.float32())
        column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        return chunks.drop_columns("embedded").append_column("vector", column)


def embed_folder(
    folder: Path | str, out: Path | str, profile: str = "pocket", address: str | None = None, progress: bool = True,
    embedder: str = "", reading: Mapping[str, Any] | None = None,
) -> tuple[int, int]:  # fmt: skip
    """Chunk the documents below a folder with the profile's settings, and write a row a chunk, in their order; gives how
    many, and the numbers in a vector.

    Columns: id, document_id, title, text, start, end, page, vector. With an `address` the vectors are computed by
    `ray.data` on the cluster there; the files are read and written here, so that the machines need share no disk.
    `reading` holds limits for `ingest`. `out` appears when it is complete. Raises LabError for a name that does not end in .parquet, and as `ingest` does.
    """
    out, settings = Path(out), resolve(profile)
    if out.suffix != ".parquet":
        raise LabError(f"{out} must end in .parquet, which pandas.read_parquet reads")
    files = ingest(folder, progress=progress, **(reading or {}))
    files.tell()
    name = embedder or settings.embedder
    encode = Encoder(name)
    chunks = chunk_documents(files.documents, encode.embedder.tokenizer, settings.chunk_size, settings.chunk_overlap)
    if not chunks:
        raise LabError(f"nothing in {folder} can be read: {files.rejected[0].id} is {files.rejected[0].reason}")
    rows = [asdict(chunk) | {"embedded": chunk.embedding_text} for chunk in chunks]
    whole = dict.fromkeys(("start", "end", "page"), pa.int64())
    table = pa.Table.from_pylist(rows, pa.schema([(column, whole.get(column, pa.string())) for column in rows[0]]))
    parts = [table.slice(start, BATCH) for start in range(0, len(table), BATCH)]
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        cluster(address) if address else nullcontext(),
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as work,
        tqdm(total=len(table), desc="embed", unit="chunk", disable=not progress) as bar,
    ):
        vectors = _encode_at(parts, name) if address else map(encode, parts)
        first = next(vectors)
        with pq.ParquetWriter(f"{work}/part", first.schema) as writer:
            for part in chain([first], vectors):
                writer.write_table(part)
                bar.update(len(part))
        Path(work, "part").replace(out)
    return len(table), first.schema.field("vector").type.list_size


def _encode_at(parts: list[pa.Table], embedder: str) -> Iterator[pa.Table]:
    """The same through ray.data: an actor with an embedder on each processor that is free, batches in their order."""
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    most = max(1, int(ray.cluster_resources().get("CPU", 1)))
    vectors = ray.data.from_arrow(parts).map_batches(
        Encoder,
        fn_constructor_args=(embedder,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
        num_cpus=1,
    )
    return iter(vectors.iter_batches(batch_size=None, batch_format="pyarrow"))
