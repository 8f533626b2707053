"""A vector store on FAISS that adds, updates, deletes, filters, saves and loads. Introduced in 04_index."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from labkit.errors import LabError
from labkit.rag.chunk import Chunk, from_langchain, to_langchain
from labkit.rag.embed import encode_with
from labkit.rag.index_search import Searched, own_copy
from labkit.rag.index_vectors import VectorIndex
from labkit.rag.saved import load_parts, save_parts


class FaissStore(Searched):
    """Chunks and their vectors, in the same order. Scores are inner products of unit vectors: cosines.

    `factory` and `effort` choose the kind of index, as in `VectorIndex`. A filtered search compares every chunk
    that passes, so that it finds them all. `version` counts the changes. Introduced in 04_index.

    >>> store = FaissStore.from_chunks(chunks, load_embedder("bundled"))
    >>> [document.id for document in store.similarity_search("How heavy is the pump?", k=2)]
    ['pump.html#1', 'pump.html#0']
    """

    def __init__(self, embedder: Embeddings, factory: str = "Flat", effort: str = "") -> None:
        self.embedder, self.version = embedder, 0
        self.index = VectorIndex(factory, effort)
        self._documents: list[Document | None] = []
        self._numbers: dict[str, int] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def embeddings(self) -> Embeddings:
        """The embedder, by LangChain's name for it."""
        return self.embedder

    @property
    def chunks(self) -> list[Chunk]:
        """All chunks, in the order of their vectors."""
        return [from_langchain(document) for document in self._documents if document]

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
        given = kwargs.get("ids") or [None] * len(documents)
        ids = [name or doc.id or uuid.uuid4().hex for name, doc in zip(given, documents, strict=True)]
        new = {name: own_copy(doc, name) for name, doc in zip(ids, documents, strict=True)}
        if not new:
            return []
        vectors = self._embed(list(new.values()))
        with self._lock:
            self.delete(list(new))
            self.index.add(vectors)
            self._numbers |= {name: number for number, name in enumerate(new, start=len(self._documents))}
            self._documents += new.values()
            self.version += 1
        return ids

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete the chunks with these ids, all of them if None; unknown ids are passed over."""
        with self._lock:
            names = set(self._numbers) & set(self._numbers if ids is None else ids)
            if names:
                kept = self.index.delete(np.array([self._numbers[name] for name in names], "int64"))
                for name in names:
                    self._documents[self._numbers.pop(name)] = None
                self._close_gaps(kept)
                self.version += 1
        return True

    def _close_gaps(self, kept: np.ndarray | None) -> None:
        if kept is not None:
            self._documents = [self._documents[number] for number in kept]
            self._numbers = {document.id: number for number, document in enumerate(self._documents)}

    def rebuild(self, factory: str, effort: str = "") -> None:
        """Index the same chunks anew, in another kind or trained on all of them; a cache spares the embedder."""
        fresh = VectorIndex(factory, effort)
        with self._lock:
            documents = [document for document in self._documents if document]
            if documents:
                fresh.add(self._embed(documents))
            self.index, self._documents, self.version = fresh, documents, self.version + 1
            self._numbers = {document.id: number for number, document in enumerate(documents)}

    def _embed(self, documents: Sequence[Document]) -> np.ndarray:
        return encode_with(self.embedder, [from_langchain(document).embedding_text for document in documents])

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in the order asked for; unknown ids are passed over."""
        return [own_copy(self._documents[self._numbers[name]]) for name in ids if name in self._numbers]

    def save(self, path: str | Path) -> None:
        """Write index, chunks and last a manifest with their hashes; a kill leaves the old store or the new.

        Nothing deleted is written. Raises `LabError` for an empty store and for metadata that JSON cannot hold.

        >>> store.save("runs/store")
        >>> store = FaissStore.load("runs/store", embedder)
        """
        with self._lock:
            if len(self) < len(self._documents):
                self._close_gaps(self.index.compact())
            rows = [document.model_dump(include={"id", "page_content", "metadata"}) for document in self._documents]
            try:
                parts = {
                    "index.faiss": self.index.to_bytes(),
                    "chunks.json": json.dumps(rows, ensure_ascii=False).encode(),
                }
            except TypeError as error:
                raise LabError(f"this store cannot be saved ({error}): keep text and numbers in metadata") from error
            kind = {"factory": self.index.factory, "effort": self.index.effort, "waiting": self.index.waiting}
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
        store.index = VectorIndex.from_bytes(parts["index.faiss"], *kind, about["waiting"], mapped)
        store._documents = [Document(**row) for row in json.loads(bytes(parts["chunks.json"]))]
        store._numbers = {document.id: number for number, document in enumerate(store._documents)}
        return store


def _model_of(embedder: Embeddings) -> str:
    """The model, without the precision: an index moves between machines with and without bfloat16."""
    return getattr(embedder, "fingerprint", type(embedder).__name__).partition(":")[0]
