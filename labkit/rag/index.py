"""A vector store on FAISS that adds, deletes, saves and loads without pickle. Introduced in 04_index."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from labkit.errors import LabError
from labkit.rag.chunk import Chunk
from labkit.rag.saved import load_parts, save_parts

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from labkit.rag.embed import Embedder


class FaissStore(VectorStore):
    """Chunks and their vectors; the i-th chunk has the i-th vector. Scores are inner products of unit vectors.

    `factory` is a FAISS index factory string: "Flat" is exact; "HNSW32" or "IVF64,Flat" trade recall for
    speed and cannot delete. `version` counts the changes. Introduced in 04_index.

    >>> store = FaissStore.from_chunks(chunks, load_embedder("bundled"))
    >>> [document.id for document in store.similarity_search("How heavy is the pump?", k=2)]
    ['pump.html#1', 'pump.html#0']
    """

    def __init__(self, embedder: Embedder | Embeddings, factory: str = "Flat") -> None:
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
        return [to_chunk(document) for document in self._documents]

    def encode(self, texts: Sequence[str], query: bool = False) -> np.ndarray:
        """Unit vectors (n, d) of `texts`, from our embedder or any other of LangChain's."""
        if hasattr(self.embedder, "encode"):
            return self.embedder.encode(texts, query=query)
        one = self.embedder.embed_query
        rows = [one(text) for text in texts] if query else self.embedder.embed_documents(list(texts))
        vectors = np.asarray(rows, "float32")
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    @classmethod
    def from_chunks(
        cls, chunks: Sequence[Chunk], embedder: Embedder | Embeddings, factory: str = "Flat"
    ) -> FaissStore:
        """A store of `chunks`, each embedded as 'title: text'."""
        store = cls(embedder, factory)
        store.add_chunks(chunks)
        return store

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embedder | Embeddings,
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
        return self.add_documents([_to_document(chunk) for chunk in chunks])

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add LangChain documents and return their ids (new ones where missing); an id that exists is replaced."""
        given = kwargs.get("ids") or [None] * len(documents)
        ids = [
            name or document.id or uuid.uuid4().hex for name, document in zip(given, documents, strict=True)
        ]
        new = {name: doc.model_copy(update={"id": name}) for name, doc in zip(ids, documents, strict=True)}
        if not new:
            return []
        vectors = self.encode([to_chunk(document).embedding_text for document in new.values()])
        self.delete([document.id for document in self._documents if document.id in new])
        if self.index is None:
            self.index = _new_index(vectors.shape[1], self.factory)
        if not self.index.is_trained:
            self.index.train(vectors)
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
        """Scores and positions in `chunks`, each (n, min(k, len(self))), of the nearest to `queries` (n, d)."""
        k = min(k, len(self))
        if not k:
            return np.empty((len(queries), 0), "float32"), np.empty((len(queries), 0), "int64")
        return self.index.search(np.ascontiguousarray(queries, "float32"), k)

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """LangChain's search: the `k` nearest documents, best first."""
        return [document for document, _ in self.similarity_search_with_score(query, k)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The `k` nearest documents with their cosine, best first."""
        scores, found = self.search_vectors(self.encode([query], query=True), k)
        pairs = zip(found[0], scores[0], strict=True)
        return [(self._documents[i], float(score)) for i, score in pairs if i >= 0]

    def _select_relevance_score_fn(self) -> Any:
        return lambda cosine: (cosine + 1) / 2

    def save(self, path: str | Path) -> None:
        """Write index and chunks, then a manifest with their hashes; killed at any moment, a whole store remains.

        >>> store.save("runs/store")
        >>> store = FaissStore.load("runs/store", embedder)
        """
        import faiss

        if self.index is None:
            raise LabError("an empty store cannot be saved: add chunks first")
        rows = [{"id": d.id, "text": d.page_content, "metadata": d.metadata} for d in self._documents]
        parts = {
            "index.faiss": faiss.serialize_index(self.index).tobytes(),
            "chunks.json": json.dumps(rows, ensure_ascii=False).encode(),
        }
        save_parts(Path(path), parts, {"factory": self.factory, "embedder": _model_of(self.embedder)})

    @classmethod
    def load(cls, path: str | Path, embedder: Embedder | Embeddings) -> FaissStore:
        """The store saved at `path`; its hashes are checked before FAISS reads a byte.

        Raises `LabError` if it is missing, incomplete, altered, or was made with another embedding model.
        """
        import faiss

        parts, about = load_parts(Path(path))
        if about.get("embedder") != _model_of(embedder):
            raise LabError(
                f"the index in {path} was made with another embedder: load that one, or build anew"
            )
        store = cls(embedder, about["factory"])
        store.index = faiss.deserialize_index(np.frombuffer(parts["index.faiss"], "uint8"))
        store._documents = [
            Document(id=row["id"], page_content=row["text"], metadata=row["metadata"])
            for row in json.loads(parts["chunks.json"])
        ]
        return store


def to_chunk(document: Document) -> Chunk:
    """The chunk that a LangChain document holds; one from elsewhere is a document of its own."""
    about, text = document.metadata, document.page_content
    start = about.get("start", 0)
    source = about.get("document_id", about.get("source", document.id or ""))
    place = (start, about.get("end", start + len(text)), about.get("page"))
    return Chunk(document.id or "", source, about.get("title", ""), text, *place)


def _to_document(chunk: Chunk) -> Document:
    about = asdict(chunk)
    return Document(id=about.pop("id"), page_content=about.pop("text"), metadata=about)


def _new_index(dimensions: int, factory: str) -> Any:
    import torch  # noqa: F401  before faiss, or macOS crashes on two copies of OpenMP
    import faiss  # isort: skip

    if sys.platform == "darwin":
        faiss.omp_set_num_threads(1)
    return faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)


def _model_of(embedder: Embedder | Embeddings) -> str:
    """The model, without the precision: an index moves between machines with and without bfloat16."""
    return getattr(embedder, "fingerprint", type(embedder).__name__).partition(":")[0]
