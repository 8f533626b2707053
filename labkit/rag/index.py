"""Unit vectors in any FAISS index, and a store of chunks on it with LangChain's interface, whose files are checked at loading."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from labkit.errors import LabError
from labkit.rag.chunk import Chunk, from_langchain, to_langchain
from labkit.rag.embed import encode_with
from labkit.store import write_bytes, write_json

MANIFEST = "manifest.json"
REMEDY = "build it again and save it"
Filter = Mapping[str, Any] | Callable[[Document], bool]
"""What may be found: metadata with these values (in a list, tuple or set: one of them), or a test of a document."""


class VectorIndex:
    """Vectors numbered in the order they came; scores are inner products, of unit vectors: cosines.

    `factory` names the kind as FAISS does: "Flat" is exact, "SQ8" and "PQ48" store 1 byte a number and 48 bytes
    a vector, "IVF64,Flat" searches a few of 64 cells, "HNSW32" walks a graph of 32 neighbours; "IVF64,PQ48"
    combines. Raises `LabError` for a kind that FAISS does not know.

    >>> index = VectorIndex("HNSW32")
    >>> index.add(vectors); scores, numbers = index.search(queries, k=10)
    """

    def __init__(self, factory: str = "Flat") -> None:
        self.factory = factory
        self._index: Any = None

    def __len__(self) -> int:
        return self._index.ntotal if self._index else 0

    def add(self, vectors: np.ndarray) -> None:
        """Add vectors (n, d) of length 1; the first batch trains a kind that is trained, so let it be large.

        Raises `LabError` for a first batch that is too small: FAISS needs a vector for each cell, and 256 for PQ.
        """
        vectors = np.ascontiguousarray(vectors, "float32")
        if self._index is None:
            index = _new_index(vectors.shape[1], self.factory)
            try:
                index.train(vectors)
            except RuntimeError as error:
                problem = f"'{self.factory}' cannot be trained on {len(vectors)} vectors ({_reason(error)})"
                raise LabError(f"{problem}: begin with more, or begin with 'Flat' and rebuild later") from error
            self._index = index
        self._index.add(vectors)

    def tune(self, effort: str) -> None:
        """Search with "nprobe=16" (cells) or "efSearch=128" (graph) from now on, "" as before; LabError for one it does not have."""
        import faiss

        if effort:
            try:
                faiss.ParameterSpace().set_index_parameters(self._index, effort)
            except RuntimeError as error:
                raise LabError(f"a '{self.factory}' index has no '{effort}': {_reason(error)}") from error

    def delete(self, numbers: np.ndarray) -> np.ndarray:
        """Forget these vectors; the old numbers of those that stay, in their new order.

        FAISS cannot take a vector out of a graph. So every kind is filled again with the vectors that stay: what was
        trained is kept, and a decoded vector has the code that it came from.
        """
        rest = np.setdiff1d(np.arange(len(self)), numbers)
        vectors = self.vectors_at(rest)
        self._index.reset()
        self._index.add(vectors)
        return rest

    def search(self, queries: np.ndarray, k: int, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers nearest to `queries` (n, d), each (n, min(k, what there is)), -1 for none; `among`: of these, all compared."""
        queries = np.ascontiguousarray(queries, "float32")
        k = min(k, len(self) if among is None else len(among))
        if not k:
            return np.empty((len(queries), 0), "float32"), np.empty((len(queries), 0), "int64")
        if among is None:
            return self._index.search(queries, k)
        among = np.asarray(among)
        scores = queries @ self.vectors_at(among).T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, axis=1), among[best]

    def vectors_at(self, numbers: np.ndarray) -> np.ndarray:
        """The vectors with these numbers, as this kind of index remembers them."""
        import faiss

        cells = faiss.try_extract_index_ivf(self._index)
        if cells is not None and cells.direct_map.no():
            cells.make_direct_map()
        return self._index.reconstruct_batch(np.ascontiguousarray(numbers, "int64"))

    def to_bytes(self) -> memoryview:
        """The index in FAISS's own format; `LabError` while it is empty."""
        import faiss

        if self._index is None:
            raise LabError("an empty index has no bytes: add vectors first")
        return memoryview(faiss.serialize_index(self._index))

    @classmethod
    def from_bytes(cls, data: bytes, factory: str = "Flat") -> VectorIndex:
        """The index in `data`; give it only bytes that were checked. LabError if FAISS cannot read them."""
        import faiss

        index = cls(factory)
        try:
            index._index = faiss.deserialize_index(np.frombuffer(data, "uint8"))
        except RuntimeError as error:
            raise LabError(f"FAISS cannot read this index ({_reason(error)}): build it again") from error
        return index


def _new_index(dimensions: int, factory: str) -> Any:
    """An empty FAISS index of unit vectors, set to search 8 cells or a list of 64 on a graph."""
    import torch  # noqa: F401  before faiss, or macOS crashes on two copies of OpenMP
    import faiss  # isort: skip

    if sys.platform == "darwin":
        faiss.omp_set_num_threads(1)
    try:
        index = faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise LabError(f"no '{factory}' index of {dimensions} dimensions ({_reason(error)}): try 'Flat'") from error
    inner = codes = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    if isinstance(inner, faiss.IndexIVF):
        inner.nprobe, inner.cp.min_points_per_centroid = min(8, inner.nlist), 1  # else FAISS prints advice
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efSearch, codes = 64, faiss.downcast_index(inner.storage)
    if hasattr(codes, "pq"):
        codes.pq.cp.min_points_per_centroid = 1
        codes.do_polysemous_training = False  # minutes of work for a search that is not used here
    return index


def _reason(error: RuntimeError) -> str:
    """What FAISS says went wrong, on one line, without the place in its code."""
    return " ".join(str(error).split("Error: ")[-1].split())[-120:]


def more_vectors(real: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """`count` unit vectors (count, d) like the real ones, which come first.

    Each new one is a real vector moved by 0.45 of the difference of two others: it varies in the directions
    in which real vectors vary, and has neighbours about as near as theirs.
    """
    rng, missing = np.random.default_rng(seed), max(0, count - len(real))
    some, plus, minus = (real[rng.integers(len(real), size=missing)] for _ in range(3))
    moved = some + np.float32(0.45) * (plus - minus)
    return np.concatenate([real[:count], moved / np.linalg.norm(moved, axis=1, keepdims=True)])


class FaissStore(VectorStore):
    """Chunks and their vectors, in the same order. Scores are inner products of unit vectors: cosines.

    `factory` chooses the kind of index, as in `VectorIndex`. A filtered search compares every chunk
    that passes, so that it misses none. `version` counts the changes.

    >>> store = FaissStore.from_chunks(chunks, load_embedder("bundled"))
    >>> [document.id for document in store.similarity_search("How heavy is the pump?", k=2)]
    ['pump.html#1', 'pump.html#0']
    """

    def __init__(self, embedder: Embeddings, factory: str = "Flat") -> None:
        self.embedder, self.version = embedder, 0
        self.index = VectorIndex(factory)
        self._documents: list[Document] = []  # by the numbers of their vectors
        self._numbers: dict[str, int] = {}
        self._lock = threading.RLock()  # FAISS cannot be read while it is written, as LangChain's async calls would do

    def __len__(self) -> int:
        return len(self._numbers)

    embeddings = property(lambda self: self.embedder, doc="The embedder, by LangChain's name for it.")

    @property
    def chunks(self) -> list[Chunk]:
        """All chunks, in the order of their vectors."""
        return [from_langchain(document) for document in self._documents]

    def chunk_at(self, position: int) -> Chunk:
        """The chunk at a position that `search_vectors` returned, as long as nothing is deleted in between."""
        return from_langchain(self._documents[position])

    @classmethod
    def from_chunks(cls, chunks: Sequence[Chunk], embedder: Embeddings, factory: str = "Flat") -> FaissStore:
        """A store of `chunks`, each embedded as 'title: text'."""
        store = cls(embedder, factory)
        store.add_chunks(chunks)
        return store

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> FaissStore:
        """LangChain's constructor."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def add_chunks(self, chunks: Sequence[Chunk]) -> list[str]:
        """Add chunks and return their ids; a chunk replaces the one with its id."""
        return self.add_documents([to_langchain(chunk) for chunk in chunks])

    def update_chunks(self, chunks: Sequence[Chunk]) -> list[str]:
        """Replace whole documents: `chunks` are added, and what else was there of their documents is deleted."""
        about, new = {chunk.document_id for chunk in chunks}, {chunk.id for chunk in chunks}
        stale = [chunk.id for chunk in self.chunks if chunk.document_id in about and chunk.id not in new]
        added = self.add_chunks(chunks)
        self.delete(stale)
        return added

    def delete_document(self, document_id: str) -> bool:
        """Delete all chunks of a document."""
        return self.delete([chunk.id for chunk in self.chunks if chunk.document_id == document_id])

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add LangChain documents and return their ids, new where missing; an id that exists is replaced."""
        names = kwargs.get("ids") or [None] * len(documents)
        ids = [name or doc.id or uuid.uuid4().hex for name, doc in zip(names, documents, strict=True)]
        new = {name: _copy(doc, name) for name, doc in zip(ids, documents, strict=True)}
        if not new:
            return []
        vectors = self._embed(list(new.values()))
        with self._lock:
            self.delete(list(new))
            self.index.add(vectors)
            self._keep([*self._documents, *new.values()])
        return ids

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete the chunks with these ids, all of them if None; unknown ids are passed over."""
        with self._lock:
            names = set(self._numbers) & set(self._numbers if ids is None else ids)
            if names:
                rest = self.index.delete(np.array([self._numbers[name] for name in names], "int64"))
                self._keep([self._documents[number] for number in rest])
        return True

    def _keep(self, documents: list[Document]) -> None:
        """Hold these documents, in the order of their vectors."""
        self._documents, self.version = documents, self.version + 1
        self._numbers = {document.id: number for number, document in enumerate(documents)}

    def rebuild(self, factory: str) -> None:
        """Index the same chunks again, in another kind or trained on all of them; a cache spares the embedder."""
        fresh = VectorIndex(factory)
        with self._lock:
            if self._documents:
                fresh.add(self._embed(self._documents))
            self.index = fresh
            self._keep(self._documents)

    def _embed(self, documents: Sequence[Document]) -> np.ndarray:
        return encode_with(self.embedder, [from_langchain(document).embedding_text for document in documents])

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The chunks with these ids as LangChain documents; unknown ids are passed over."""
        return [_copy(self._documents[self._numbers[name]]) for name in ids if name in self._numbers]

    def search_vectors(
        self, queries: np.ndarray, k: int, filter: Filter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions nearest to `queries` (n, d), each (n, min(k, what may be found)); -1 is no hit."""
        with self._lock:
            return self.index.search(queries, k, None if filter is None else self._passing(filter))

    def _passing(self, filter: Filter) -> np.ndarray:
        def has_values(document: Document) -> bool:
            """Whether the document's metadata are those asked for."""
            wanted = ((document.metadata.get(key), value) for key, value in filter.items())
            return all(own in value if isinstance(value, list | tuple | set) else own == value for own, value in wanted)

        passes = filter if callable(filter) else has_values
        return np.array([number for number, document in enumerate(self._documents) if passes(document)], "int64")

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None) -> list[Document]:
        """The `k` nearest documents, best first."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None
    ) -> list[tuple[Document, float]]:
        """The `k` nearest documents with their cosine, best first."""
        return self._nearest(encode_with(self.embedder, [query], query=True), k, filter)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None
    ) -> list[Document]:
        """The `k` documents nearest to a vector, best first."""
        return [document for document, _ in self._nearest(np.array([embedding], "float32"), k, filter)]

    def _nearest(self, vectors: np.ndarray, k: int, filter: Filter | None) -> list[tuple[Document, float]]:
        with self._lock:
            scores, numbers = self.search_vectors(vectors, k, filter)
            pairs = zip(numbers[0], scores[0], strict=True)
            return [(_copy(self._documents[number]), float(score)) for number, score in pairs if number >= 0]

    def save(self, path: str | Path) -> None:
        """Write index and chunks under names that hold their hashes, then the manifest, then drop what it does not list.

        A kill leaves the old store or the new. Raises `LabError` for an empty store and for metadata that JSON cannot hold.
        """
        with self._lock:
            rows = [document.model_dump(include={"id", "page_content", "metadata"}) for document in self._documents]
            try:
                chunks = json.dumps(rows, ensure_ascii=False).encode()
            except TypeError as error:
                raise LabError(f"this store cannot be saved ({error}): keep text and numbers in metadata") from error
            parts = {"index.faiss": self.index.to_bytes(), "chunks.json": chunks}
            about = {"factory": self.index.factory, "embedder": _model_of(self.embedder)}
        folder, hashes = Path(path), {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
        for name, data in parts.items():
            write_bytes(folder / _stored(name, hashes[name]), data)
        write_json(folder / MANIFEST, {**about, "files": hashes})
        for name, digest in hashes.items():
            for old in set(folder.glob(_stored(name, "?" * 64))) - {folder / _stored(name, digest)}:
                old.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, embedder: Embeddings) -> FaissStore:
        """The store saved at `path`; its hashes are checked before FAISS reads a byte.

        Raises `LabError` if it is missing, incomplete, altered, or was made with another embedding model.
        """
        folder, parts = Path(path), {}
        try:
            about = json.loads((folder / MANIFEST).read_bytes())
            files = {name: str(about["files"][name]) for name in ("index.faiss", "chunks.json")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LabError(f"nothing was saved completely in {folder}, {MANIFEST} cannot be read: {REMEDY}") from error
        for name, digest in files.items():
            file = folder / Path(_stored(name, digest)).name  # never a file outside the folder
            parts[name] = file.read_bytes() if file.is_file() else b""
            if hashlib.sha256(parts[name]).hexdigest() != digest:
                raise LabError(f"{file} is missing or was altered after it was saved: {REMEDY}")
        if about.get("embedder") != _model_of(embedder):
            raise LabError(f"the index in {path} was made with another embedder: load that one, or build it again")
        store = cls(embedder)
        store.index = VectorIndex.from_bytes(parts["index.faiss"], about["factory"])
        store._keep([Document(**row) for row in json.loads(parts["chunks.json"])])
        return store


def _model_of(embedder: Embeddings) -> str:
    """The model, without the precision: an index moves between machines with and without bfloat16."""
    return getattr(embedder, "fingerprint", type(embedder).__name__).partition(":")[0]


def _copy(document: Document, name: str | None = None) -> Document:
    """A document of our own, so that nobody else's changes reach the store."""
    return document.model_copy(update={"id": name or document.id}, deep=True)


def _stored(name: str, digest: str) -> str:
    return f"{digest[:16]}-{name}"
