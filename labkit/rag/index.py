"""A vector store on FAISS that adds, updates, deletes, filters, saves and loads; LangChain's interface to it.

It is saved as files with a manifest that is written last and checked before use. Other stores open by one call.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

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

    def _select_relevance_score_fn(self) -> Any:
        return lambda cosine: min(1.0, (cosine + 1) / 2)  # rounding takes a cosine a little above 1

    def max_marginal_relevance_search(self, query: str, k: int = 4, *args: Any, **kwargs: Any) -> list[Document]:
        """`max_marginal_relevance_search_by_vector` for a question."""
        vector = encode_with(self.embedder, [query], query=True)[0]
        return self.max_marginal_relevance_search_by_vector(vector, k, *args, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
    ) -> list[Document]:
        """`k` of the `fetch_k` nearest, near to the vector but unlike each other (Carbonell & Goldstein, SIGIR 1998)."""
        vector = np.array(embedding, "float32")
        with self._lock:
            (numbers,) = self.search_vectors(vector[None], fetch_k, filter)[1]
            numbers = numbers[numbers >= 0]
            if not len(numbers):
                return []
            chosen = maximal_marginal_relevance(vector, self.index.vectors_at(numbers), lambda_mult, k)
            return [_copy(self._documents[numbers[rank]]) for rank in chosen]

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


def open_store(kind: str, embedder: Embeddings, place: str | Path | None = None, name: str = "chunks") -> VectorStore:
    """The collection `name` in "chroma", "qdrant" or "pinecone", made if it is missing; it compares by cosine.

    `place` is a folder or the URL of a server; None keeps everything in memory. Pinecone is a service on the
    internet: it takes no place, but a key in PINECONE_API_KEY and an index `name` that is there already.
    Raises `LabError` for an unknown kind, for a package or a key that is missing, and for a store that does not
    open. A folder of Qdrant's holds pickles, which can run any code: open only your own.

    >>> open_store("chroma", embedder, "runs/chroma").add_documents(documents)
    """
    openers = {"chroma": _chroma, "qdrant": _qdrant, "pinecone": _pinecone}
    if kind not in openers:
        raise LabError(f"no store '{kind}': choose one of {', '.join(openers)}")
    try:
        return openers[kind](embedder, str(place) if place else None, name)
    except ImportError as error:
        extra = "pinecone" if kind == "pinecone" else "stores"
        raise LabError(f"{error.name} is not installed: run pip install -e '.[{extra}]'") from error
    except LabError:
        raise
    except Exception as error:  # the packages' errors have nothing in common
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise LabError(f"{kind} does not open '{name}' ({reason}): check the place, the key and the name") from error


def _is_url(place: str | None) -> bool:
    return bool(place) and place.startswith(("http://", "https://"))


def _chroma(embedder: Embeddings, place: str | None, name: str) -> VectorStore:
    from chromadb.config import Settings
    from langchain_chroma import Chroma

    where = {"host": place} if _is_url(place) else {"persist_directory": place}
    about = {"collection_configuration": {"hnsw": {"space": "cosine"}}}
    return Chroma(name, embedder, client_settings=Settings(anonymized_telemetry=False), **about, **where)


def _qdrant(embedder: Embeddings, place: str | None, name: str) -> VectorStore:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient, models

    class AnyId(QdrantVectorStore):
        """Qdrant names points by UUIDs only: here one is made from the document's id, which travels in the metadata."""

        def add_texts(
            self, texts: Iterable[str], metadatas: list[dict] | None = None, ids: Sequence[str] | None = None, **more: Any
        ) -> list[str]:
            texts = list(texts)
            names = [own or uuid.uuid4().hex for own in ids or [None] * len(texts)]
            about = [{**row, "_id_": own} for row, own in zip(metadatas or [{}] * len(texts), names, strict=True)]
            super().add_texts(texts, about, self._points(names), **more)
            return names

        def delete(self, ids: list[str] | None = None, **more: Any) -> bool | None:
            return super().delete(models.Filter() if ids is None else self._points(ids), **more)

        def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
            return super().get_by_ids(self._points(ids))

        @staticmethod
        def _points(names: Iterable[str]) -> list[str]:
            return [str(uuid.uuid5(uuid.NAMESPACE_OID, own)) for own in names]

        @classmethod
        def _document_from_point(cls, *args: Any) -> Document:
            document = super()._document_from_point(*args)
            hidden = ("_id_", "_id", "_collection_name")  # the last two are LangChain's
            about = {key: value for key, value in document.metadata.items() if key not in hidden}
            return Document(id=document.metadata.get("_id_"), page_content=document.page_content, metadata=about)

    where = {"url": place} if _is_url(place) else {"path": place} if place else {"location": ":memory:"}
    client = QdrantClient(**where)
    if not client.collection_exists(name):
        shape = models.VectorParams(size=len(embedder.embed_query("?")), distance=models.Distance.COSINE)
        client.create_collection(name, vectors_config=shape)
    return AnyId(client, name, embedder)


def _pinecone(embedder: Embeddings, place: str | None, name: str) -> VectorStore:
    from langchain_pinecone import PineconeVectorStore

    if not os.environ.get("PINECONE_API_KEY"):
        raise LabError("pinecone needs a key in PINECONE_API_KEY: set it, or choose chroma or qdrant, which run here")
    return PineconeVectorStore(index_name=name, embedding=embedder)
