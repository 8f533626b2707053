"""What became of every file of a folder, as a table for those who can mend the files. Introduced in 01_ingest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.rag.ingest import Ingested
from labkit.store import write_bytes

if TYPE_CHECKING:
    import pandas as pd


def verdicts(found: Ingested) -> pd.DataFrame:
    """One row a file, those left out first: file, verdict, what is wrong, what to do.

    Introduced in 01_ingest.

    >>> verdicts(ingest("data/documents")).verdict.value_counts()
    """
    import pandas as pd

    rows = [(file.id, file.reason, *file.detail.partition("; ")[::2]) for file in found.rejected]
    rows += [(document.id, "loaded", "", "") for document in found.documents]
    return pd.DataFrame(rows, columns=["file", "verdict", "wrong", "remedy"])


def write_quarantine(found: Ingested, path: str | Path) -> None:
    """Write the files left out, with what is wrong and what to do, as CSV or JSON by the ending of `path`.

    Raises `LabError` for another ending. Introduced in 01_ingest.

    >>> write_quarantine(ingest("data/documents"), "quarantine.csv")
    """
    table = verdicts(found).query("verdict != 'loaded'")
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".json"):
        raise LabError(f"no report ends in '{suffix}': name a .csv or .json file")
    said = (
        table.to_csv(index=False) if suffix == ".csv" else table.to_json(orient="records", indent=1, force_ascii=False)
    )
    write_bytes(path, said.encode("utf-8"))
