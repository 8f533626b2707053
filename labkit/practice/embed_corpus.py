"""A folder's chunks and their vectors in one Parquet file, computed here or on a Ray cluster. See docs/scale.md."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.profile import Profile, resolve

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

    from labkit.rag.ingest import Ingested, Rejected

BATCH = 64
"""Chunks that are embedded and written at a time."""


@dataclass(frozen=True)
class Embedded:
    """What was written: chunks, numbers in a vector, and the files that could not be read."""

    chunks: int
    dimensions: int
    rejected: list[Rejected]


class Encoder:
    """An embedder that takes a table of chunks and adds their vectors; on Ray, one to an actor."""

    def __init__(self, embedder: str) -> None:
        from labkit.rag.embed import load_embedder

        self.embedder = load_embedder(embedder)

    def __call__(self, chunks: pa.Table) -> pa.Table:
        """The chunks with a column `vector` (float32, unit length) in place of the text that was embedded."""
        import pyarrow as pa

        vectors = self.embedder.encode(chunks["embedded"].to_pylist())
        flat = pa.array(vectors.ravel(), pa.float32())
        column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        return chunks.drop_columns("embedded").append_column("vector", column)


def embed_folder(
    folder: Path | str, out: Path | str, profile: str = "pocket", address: str | None = None, progress: bool = True
) -> Embedded:
    """Chunk the documents below a folder with the profile's settings, and write a row a chunk, in their order.

    Columns: id, document_id, title, text, start, end, page, vector. With an `address` the vectors are computed by
    `ray.data` on the cluster there; the files are read and written here, so that the machines need share no disk.
    `out` appears when it is complete. Raises LabError for a name that does not end in .parquet, and as `ingest` does.

    >>> embed_folder("my/documents", "vectors.parquet").chunks
    """
    import pyarrow.parquet as pq
    from tqdm import tqdm

    from labkit.rag.ingest import ingest

    out, settings = Path(out), resolve(profile)
    if out.suffix != ".parquet":
        raise LabError(f"{out} must end in .parquet, which pandas.read_parquet reads")
    found = ingest(folder, progress=progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")))
        bar = stack.enter_context(tqdm(desc="embed", unit="chunk", disable=not progress))
        encode = Encoder(settings.embedder)
        table = _chunks(folder, found, settings, encode.embedder.tokenizer)
        bar.reset(len(table))
        parts = [table.slice(start, BATCH) for start in range(0, len(table), BATCH)]
        made = map(encode, parts) if address is None else _there(parts, settings.embedder, stack, address)
        writer = None
        for part in made:
            writer = writer or stack.enter_context(pq.ParquetWriter(work / "part", part.schema))
            writer.write_table(part)
            bar.update(len(part))
        writer.close()
        (work / "part").replace(out)
    return Embedded(len(table), part.schema.field("vector").type.list_size, found.rejected)


def _chunks(folder: Path | str, found: Ingested, settings: Profile, tokenizer: PreTrainedTokenizerBase) -> pa.Table:
    import pyarrow as pa

    from labkit.rag.chunk import chunk_documents

    chunks = chunk_documents(found.documents, tokenizer, settings.chunk_size, settings.chunk_overlap)
    if not chunks:
        raise LabError(f"nothing in {folder} can be read: {found.rejected[0].id} is {found.rejected[0].reason}")
    whole = {"start": pa.int64(), "end": pa.int64(), "page": pa.int64()}
    rows = [asdict(chunk) | {"embedded": chunk.embedding_text} for chunk in chunks]
    fields = [(name, whole.get(name, pa.string())) for name in rows[0]]
    return pa.Table.from_pylist(rows, pa.schema(fields))


def _there(parts: list[pa.Table], embedder: str, stack: ExitStack, address: str) -> Iterator[pa.Table]:
    """The same through ray.data: an actor with an embedder on each processor that is free, batches in their order."""
    from labkit.practice.sweep import connected

    stack.enter_context(connected(address))
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    most = max(1, int(ray.cluster_resources().get("CPU", 1)))
    blocks = ray.data.from_arrow(parts)
    made = blocks.map_batches(
        Encoder,
        fn_constructor_args=(embedder,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
        num_cpus=1,
    )
    return iter(made.iter_batches(batch_size=None, batch_format="pyarrow"))
