"""A company small enough for commands to be run whole."""

import json
import os
import shutil
from pathlib import Path

import pytest

from labkit.store import ROOT

FOLDERS = ("documents", "updates")
FILES = ("questions.jsonl", "pairs.jsonl", "rewordings.jsonl")
KEPT = ("products/beaver-echo.html", "products/azure-ivory.html", "products/saddle-dawn.html")
EXPERIMENT = "chunk_sizes: [48, 96]\noverlaps: [0]\nk: [1, 3]\narms: [retrieval, rag]\nquestions: 4\n"


def speaks_of(line: str) -> bool:
    proofs = json.loads(line)["evidence"]
    return bool(proofs) and all(proof["document"] in KEPT for proof in proofs)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The environment of a company with three documents, and of runs of its own."""
    folder = tmp_path_factory.mktemp("small")
    for path in (Path(part, name) for part in FOLDERS for name in KEPT):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "data" / path, folder / path)
    for name in FILES:
        lines = (ROOT / "data" / name).read_text("utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(filter(speaks_of, lines)), "utf-8")
    (folder / "grid.yaml").write_text(EXPERIMENT)
    alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # as each of Ray's workers is
    return {**os.environ, **alone, "LABKIT_DATA": str(folder), "LABKIT_RUNS": str(folder / "runs")}
