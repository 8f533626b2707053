"""A vector store on FAISS that adds, updates, deletes, filters, saves and loads; LangChain's interface to it.

It is saved as files with a manifest that is written last and checked before use.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from labkit.errors import LabError
from labkit.rag.chunk import Chunk, from_langchain, to_langchain
from labkit.rag.embed import encode_with
from labkit.rag.vectors import VectorIndex
from labkit.store import write_bytes, write_json

MANIFEST = "manifest.json"
REMEDY = "build it anew and save it again"
Filter = Mapping[str, Any] | Callable[[Document], bool]
"""What may be found: metadata with these values (in a list, tuple or set: one of them), or a test of a document."""


class FaissStore(VectorStore):
    """Chunks and their vectors, in the same order. Scores are inner products of unit vectors: cosines.

    `factory` and `effort` choose the kind of index, as in `VectorIndex`. A filtered search compares every chunk
    that passes, so that it misses none. `version` counts the changes.

    >>> store = FaissStore.from_chunks(chunks, load_embedder("bundled"))
    >>> [document.id for document in store.similarity_search("How heavy is the pump?", k=2)]
    ['pump.html#1', 'pump.html#0']
    """

    def __init__(self, embedder: Embeddings, factory: str = "Flat", effort: str = "") -> None:
        self.embedder, self.version = embedder, 0
        self.index = VectorIndex(factory, effort)
        self._documents: list[Document] = []  # by the numbers of their vectors
        self._numbers: dict[str, int] = {}
        self._lock = threading.RLock()  # FAISS cannot be read while it is written, as LangChain's async calls would do

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def embeddings(self) -> Embeddings:
        """The embedder, by LangChain's name for it."""
        return self.embedder

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
                kept = self.index.delete(np.array([self._numbers[name] for name in names], "int64"))
                self._keep([self._documents[number] for number in kept])
        return True

    def _keep(self, documents: list[Document]) -> None:
        """Hold these documents, in the order of their vectors."""
        self._documents, self.version = documents, self.version + 1
        self._numbers = {document.id: number for number, document in enumerate(documents)}

    def rebuild(self, factory: str, effort: str = "") -> None:
        """Index the same chunks anew, in another kind or trained on all of them; a cache spares the embedder."""
        fresh = VectorIndex(factory, effort)
        with self._lock:
            if self._documents:
                fresh.add(self._embed(self._documents))
            self.index = fresh
            self._keep(self._documents)

    def _embed(self, documents: Sequence[Document]) -> np.ndarray:
        return encode_with(self.embedder, [from_langchain(document).embedding_text for document in documents])

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in the order asked for; unknown ids are passed over."""
        return [_copy(self._documents[self._numbers[name]]) for name in ids if name in self._numbers]

    def search_vectors(
        self, queries: np.ndarray, k: int, filter: Filter | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions nearest to `queries` (n, d), each (n, min(k, what may be found)); -1 is no hit."""
        with self._lock:
            return self.index.search(queries, k, None if filter is None else self._passing(filter))

    def _passing(self, filter: Filter) -> np.ndarray:
        passes = filter if callable(filter) else lambda document: _has(document.metadata, filter)
        return np.array([number for number, document in enumerate(self._documents) if passes(document)], "int64")

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None) -> list[Document]:
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
        """Write index, chunks and last a manifest with their hashes; a kill leaves the old store or the new.

        Raises `LabError` for an empty store and for metadata that JSON cannot hold.

        >>> store.save("runs/store")
        >>> store = FaissStore.load("runs/store", embedder)
        """
        with self._lock:
            rows = [document.model_dump(include={"id", "page_content", "metadata"}) for document in self._documents]
            try:
                parts = {
                    "index.faiss": self.index.to_bytes(),
                    "chunks.json": json.dumps(rows, ensure_ascii=False).encode(),
                }
            except TypeError as error:
                raise LabError(f"this store cannot be saved ({error}): keep text and numbers in metadata") from error
            kind = {"factory": self.index.factory, "effort": self.index.effort}
            save_parts(Path(path), parts, {**kind, "embedder": _model_of(self.embedder)})

    @classmethod
    def load(cls, path: str | Path, embedder: Embeddings, mapped: bool = False) -> FaissStore:
        """The store saved at `path`; its hashes are checked before FAISS reads a byte.

        `mapped` leaves the vectors on disk, shared by all processes that map them, and the store read-only.
        Raises `LabError` if it is missing, incomplete, altered, or was made with another embedding model.
        """
        parts, about = load_parts(Path(path), ("index.faiss", "chunks.json"), ("index.faiss",) if mapped else ())
        if about.get("embedder") != _model_of(embedder):
            raise LabError(f"the index in {path} was made with another embedder: load that one, or build anew")
        kind = about["factory"], about["effort"]
        store = cls(embedder, *kind)
        store.index = VectorIndex.from_bytes(parts["index.faiss"], *kind, mapped)
        store._keep([Document(**row) for row in json.loads(bytes(parts["chunks.json"]))])
        return store


def _model_of(embedder: Embeddings) -> str:
    """The model, without the precision: an index moves between machines with and without bfloat16."""
    return getattr(embedder, "fingerprint", type(embedder).__name__).partition(":")[0]


def _has(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    groups = (list, tuple, set, frozenset)
    choices = {key: value if isinstance(value, groups) else (value,) for key, value in wanted.items()}
    return all(metadata.get(key) in values for key, values in choices.items())


def _copy(document: Document, name: str | None = None) -> Document:
    """A document of our own, so that nobody else's changes reach the store."""
    return document.model_copy(update={"id": name or document.id}, deep=True)


def save_parts(folder: Path, parts: Mapping[str, bytes | memoryview], about: Mapping[str, Any]) -> None:
    """Write `parts` under names that hold their hashes, then the manifest, then drop what is not in it.

    Killed at any moment, the folder holds either the old parts or the new ones.
    """
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    for name, data in parts.items():
        write_bytes(folder / _stored(name, hashes[name]), data)
    write_json(folder / MANIFEST, {**about, "files": hashes})
    for name, digest in hashes.items():
        for file in folder.glob(_stored(name, "?" * 64)):
            if file.name != _stored(name, digest):
                file.unlink(missing_ok=True)


def load_parts(
    folder: Path, names: Collection[str], mapped: Collection[str] = ()
) -> tuple[dict[str, bytes | memoryview], dict[str, Any]]:
    """The named parts and the manifest of a folder: the very bytes that were checked.

    Those in `mapped` stay on disk and are mapped into memory: trust them while nobody writes into the file.
    Raises `LabError` if the manifest or a part is missing or altered.
    """
    try:
        about = json.loads((folder / MANIFEST).read_bytes())
        files = {name: str(about["files"][name]) for name in names}
    except FileNotFoundError as error:
        raise LabError(f"nothing was saved completely in {folder} (no {MANIFEST}): {REMEDY}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{folder / MANIFEST} cannot be read: {REMEDY}") from error
    parts = {}
    for name, digest in files.items():
        path = folder / Path(_stored(name, digest)).name  # never a file outside the folder
        parts[name] = _read(path, name in mapped)
        if hashlib.sha256(parts[name]).hexdigest() != digest:
            raise LabError(f"{path} is missing or was altered after it was saved: {REMEDY}")
    return parts, about


def _stored(name: str, digest: str) -> str:
    return f"{digest[:16]}-{name}"


def _read(path: Path, mapped: bool) -> bytes | memoryview:
    """The bytes of a file, none if there is no such file."""
    if not path.is_file() or not path.stat().st_size:
        return b""
    if not mapped:
        return path.read_bytes()
    with open(path, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
