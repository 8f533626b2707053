"""A vector store on FAISS that adds, deletes, saves and loads without pickle. Introduced in 04_index."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from labkit.errors import LabError
from labkit.rag.chunk import Chunk, from_langchain, to_langchain
from labkit.rag.embed import encode_with
from labkit.rag.saved import load_parts, save_parts


class FaissStore(VectorStore):
    """Chunks and their vectors, in the same order. Scores are inner products of unit vectors: cosines.

    `factory` is a FAISS index factory string: "Flat" is exact; "HNSW32" or "IVF64,Flat" trade recall for
    speed and cannot delete. `version` counts the changes. Introduced in 04_index.

    >>> store = FaissStore.from_chunks(chunks, load_embedder("bundled"))
    >>> [document.id for document in store.similarity_search("How heavy is the pump?", k=2)]
    ['pump.html#1', 'pump.html#0']
    """

    def __init__(self, embedder: Embeddings, factory: str = "Flat") -> None:
        self.embedder, self.factory, self.version = embedder, factory, 0
        self.index: Any = None
        self._documents: list[Document] = []

    def __len__(self) -> int:
        return len(self._documents)

    @property
    def embeddings(self) -> Embeddings:
        """The embedder, by LangChain's name for it."""
        return self.embedder

    @property
    def chunks(self) -> list[Chunk]:
        """All chunks, in the order of their vectors."""
        return [from_langchain(document) for document in self._documents]

    def chunk_at(self, position: int) -> Chunk:
        """The chunk at a position that `search_vectors` returned."""
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

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add LangChain documents and return their ids, new where missing; an id that exists is replaced."""
        given = kwargs.get("ids") or [None] * len(documents)
        ids = [name or doc.id or uuid.uuid4().hex for name, doc in zip(given, documents, strict=True)]
        new = {name: _copy(doc, name) for name, doc in zip(ids, documents, strict=True)}
        if not new:
            return []
        vectors = encode_with(self.embedder, [from_langchain(doc).embedding_text for doc in new.values()])
        self.delete([document.id for document in self._documents if document.id in new])
        if self.index is None:
            self.index = _new_index(vectors, self.factory)
        self.index.add(vectors)
        self._documents += new.values()
        self.version += 1
        return ids

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove the chunks with these ids, all of them if None; unknown ids are passed over.

        Raises `LabError` if the index is not flat: the others only remove by building anew.
        """
        gone = {document.id for document in self._documents} & set(self._ids() if ids is None else ids)
        if not gone:
            return True
        if self.factory != "Flat":
            raise LabError(f"a '{self.factory}' index cannot delete: build it anew from the chunks that stay")
        self.index.remove_ids(np.array([i for i, name in enumerate(self._ids()) if name in gone], "int64"))
        self._documents = [document for document in self._documents if document.id not in gone]
        self.version += 1
        return True

    def _ids(self) -> list[str]:
        return [document.id for document in self._documents]

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in the order asked for; unknown ids are passed over."""
        known = {document.id: document for document in self._documents}
        return [known[name] for name in ids if name in known]

    def search_vectors(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions in `chunks` nearest to `queries` (n, d), each (n, min(k, len(self)))."""
        k = min(k, len(self))
        if not k:
            return np.empty((len(queries), 0), "float32"), np.empty((len(queries), 0), "int64")
        return self.index.search(np.ascontiguousarray(queries, "float32"), k)

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """LangChain's search: the `k` nearest documents, best first."""
        return [document for document, _ in self.similarity_search_with_score(query, k)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """The `k` nearest documents with their cosine, best first."""
        scores, found = self.search_vectors(encode_with(self.embedder, [query], query=True), k)
        pairs = zip(found[0], scores[0], strict=True)
        return [(self._documents[i], float(score)) for i, score in pairs if i >= 0]

    def _select_relevance_score_fn(self) -> Any:
        return lambda cosine: (cosine + 1) / 2

    def save(self, path: str | Path) -> None:
        """Write index, chunks and last a manifest with their hashes; a kill leaves the old store or the new.

        >>> store.save("runs/store")
        >>> store = FaissStore.load("runs/store", embedder)
        """
        import faiss

        if self.index is None:
            raise LabError("an empty store cannot be saved: add chunks first")
        rows = [doc.model_dump(include={"id", "page_content", "metadata"}) for doc in self._documents]
        parts = {
            "index.faiss": faiss.serialize_index(self.index).tobytes(),
            "chunks.json": json.dumps(rows, ensure_ascii=False).encode(),
        }
        save_parts(Path(path), parts, {"factory": self.factory, "embedder": _model_of(self.embedder)})

    @classmethod
    def load(cls, path: str | Path, embedder: Embeddings) -> FaissStore:
        """The store saved at `path`; its hashes are checked before FAISS reads a byte.

        Raises `LabError` if it is missing, incomplete, altered, or was made with another embedding model.
        """
        import faiss

        parts, about = load_parts(Path(path), ("index.faiss", "chunks.json"))
        if about.get("embedder") != _model_of(embedder):
            raise LabError(f"the index in {path} was made with another embedder: load that one, or build anew")
        store = cls(embedder, about["factory"])
        store.index = faiss.deserialize_index(np.frombuffer(parts["index.faiss"], "uint8"))
        store._documents = [Document(**row) for row in json.loads(parts["chunks.json"])]
        return store


def _new_index(vectors: np.ndarray, factory: str) -> Any:
    import torch  # noqa: F401  before faiss, or macOS crashes on two copies of OpenMP
    import faiss  # isort: skip

    if sys.platform == "darwin":
        faiss.omp_set_num_threads(1)
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
    except RuntimeError as error:
        reason = " ".join(str(error).split("Error: ")[-1].split())[:120]
        raise LabError(f"no '{factory}' index of {len(vectors)} vectors ({reason}): try 'Flat'") from error
    return index


def _copy(document: Document, name: str) -> Document:
    return document.model_copy(update={"id": name}, deep=True)


def _model_of(embedder: Embeddings) -> str:
    """The model, without the precision: an index moves between machines with and without bfloat16."""
    return getattr(embedder, "fingerprint", type(embedder).__name__).partition(":")[0]
