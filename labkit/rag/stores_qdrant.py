"""Qdrant through its LangChain package, with ids of any kind. Introduced in 04_index."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_qdrant import QdrantVectorStore

ID = "_chunk_id"
"""The key of the metadata under which a document's own id is kept."""


class QdrantStore(QdrantVectorStore):
    """Qdrant names points by UUIDs only, and its package gives documents back without their ids.

    Here a point's UUID is made from the document's id, which travels in the metadata. Introduced in 04_index.

    >>> QdrantStore(client, "chunks", embedder).add_texts(["It pumps."], ids=["pump.html#1"])
    ['pump.html#1']
    """

    def add_texts(
        self, texts: Iterable[str], metadatas: list[dict] | None = None, ids: Sequence[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add texts and return their ids, new where missing; an id that exists is replaced."""
        texts = list(texts)
        names = [name or uuid.uuid4().hex for name in ids or [None] * len(texts)]
        named = [{**about, ID: name} for about, name in zip(metadatas or [{}] * len(texts), names, strict=True)]
        super().add_texts(texts, named, _points(names), **kwargs)
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Delete the documents with these ids, all of them if None."""
        from qdrant_client.models import Filter

        return super().delete(Filter() if ids is None else _points(ids), **kwargs)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in the order asked for; unknown ids are passed over."""
        found = {document.id: document for document in super().get_by_ids(_points(ids))}
        return [found[name] for name in ids if name in found]

    @classmethod
    def _document_from_point(cls, scored_point: Any, *args: Any) -> Document:
        document = super()._document_from_point(scored_point, *args)
        hidden = (ID, "_id", "_collection_name")
        about = {key: value for key, value in document.metadata.items() if key not in hidden}
        return Document(id=document.metadata.get(ID), page_content=document.page_content, metadata=about)


def _points(names: Iterable[str]) -> list[str]:
    return [str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in names]
