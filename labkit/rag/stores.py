"""Other vector stores by one call: Chroma, Qdrant, Pinecone."""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from labkit.errors import LabError
from labkit.rag.index import FaissStore

KINDS = ("faiss", "chroma", "qdrant", "pinecone")
_ID = "_chunk_id"  # the key of the metadata under which Qdrant keeps a document's own id


def open_store(kind: str, embedder: Embeddings, place: str | Path | None = None, name: str = "chunks") -> VectorStore:
    """The collection `name` in a store of that kind, made if it is missing; it compares by cosine.

    `place` is a folder or the URL of a server; None keeps everything in memory. Pinecone is a service on the
    internet: it takes no place, but a key in PINECONE_API_KEY and an index `name` that is there already.
    Raises `LabError` for an unknown kind, for a package or a key that is missing, and for a store that does not
    open. A folder of Qdrant's holds pickles, which can run any code: open only your own. Introduced in 04_index.

    >>> open_store("chroma", embedder, "runs/chroma").add_documents(documents)
    """
    openers = {"faiss": _faiss, "chroma": _chroma, "qdrant": _qdrant, "pinecone": _pinecone}
    if kind not in openers:
        raise LabError(f"no store '{kind}': choose one of {', '.join(KINDS)}")
    try:
        return openers[kind](embedder, str(place) if place else None, name)
    except LabError:
        raise
    except Exception as error:  # the packages' errors have nothing in common
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise LabError(f"{kind} does not open '{name}' ({reason}): check the place, the key and the name") from error


def _faiss(embedder: Embeddings, place: str | None, name: str) -> FaissStore:
    folder = Path(place or "", name)
    return FaissStore.load(folder, embedder) if place and folder.is_dir() else FaissStore(embedder)


def _chroma(embedder: Embeddings, place: str | None, name: str) -> VectorStore:
    package, settings = _package("langchain_chroma", "stores"), _package("chromadb.config", "stores").Settings
    where = {"host": place} if _is_url(place) else {"persist_directory": place}
    space = {"hnsw": {"space": "cosine"}}
    silent = settings(anonymized_telemetry=False)
    return package.Chroma(name, embedder, client_settings=silent, collection_configuration=space, **where)


def _qdrant(embedder: Embeddings, place: str | None, name: str) -> VectorStore:
    package, client = _package("langchain_qdrant", "stores"), _package("qdrant_client", "stores")

    class QdrantStore(_AnyId, package.QdrantVectorStore):
        pass

    where = {"url": place} if _is_url(place) else {"path": place} if place else {"location": ":memory:"}
    opened = client.QdrantClient(**where)
    if not opened.collection_exists(name):
        shape = client.models.VectorParams(size=len(embedder.embed_query("?")), distance=client.models.Distance.COSINE)
        opened.create_collection(name, vectors_config=shape)
    return QdrantStore(opened, name, embedder)


def _pinecone(embedder: Embeddings, place: str | None, name: str) -> VectorStore:
    package = _package("langchain_pinecone", "pinecone")
    if not os.environ.get("PINECONE_API_KEY"):
        raise LabError("pinecone needs a key in PINECONE_API_KEY: set it, or choose chroma or qdrant, which run here")
    return package.PineconeVectorStore(index_name=name, embedding=embedder)


def _package(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise LabError(f"{error.name or module} is not installed: run pip install -e '.[{extra}]'") from error


def _is_url(place: str | None) -> bool:
    return bool(place) and place.startswith(("http://", "https://"))


class _AnyId:
    """Gives LangChain's class for Qdrant ids of any kind: a mixin, since the package is an extra.

    Qdrant names points by UUIDs only, and the package gives documents back without their ids. Here a point's UUID is
    made from the document's id, which travels in the metadata.
    """

    def add_texts(
        self, texts: Iterable[str], metadatas: list[dict] | None = None, ids: Sequence[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add texts and return their ids, new where missing; an id that exists is replaced."""
        texts = list(texts)
        names = [name or uuid.uuid4().hex for name in ids or [None] * len(texts)]
        named = [{**about, _ID: name} for about, name in zip(metadatas or [{}] * len(texts), names, strict=True)]
        super().add_texts(texts, named, _points(names), **kwargs)
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete the documents with these ids, all of them if None."""
        from qdrant_client.models import Filter

        return super().delete(Filter() if ids is None else _points(ids), **kwargs)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in the order asked for; unknown ids are passed over."""
        documents = {document.id: document for document in super().get_by_ids(_points(ids))}
        return [documents[name] for name in ids if name in documents]

    @classmethod
    def _document_from_point(cls, scored_point: Any, *args: Any) -> Document:
        document = super()._document_from_point(scored_point, *args)
        hidden = (_ID, "_id", "_collection_name")
        about = {key: value for key, value in document.metadata.items() if key not in hidden}
        return Document(id=document.metadata.get(_ID), page_content=document.page_content, metadata=about)


def _points(names: Iterable[str]) -> list[str]:
    return [str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in names]
