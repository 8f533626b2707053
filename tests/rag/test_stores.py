"""Chroma and Qdrant keep our chunks exactly, in memory, in a folder and on a server; what is missing is said."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from chromadb.api.shared_system_client import SharedSystemClient
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

from labkit import LabError
from labkit.rag.chunk import from_langchain, to_langchain
from labkit.rag.index import FaissStore, open_store

KINDS = ["chroma", "qdrant"]


def ids(found):
    return [document.id for document in found]


@pytest.fixture
def documents(chunks):
    """The chunks with the text that our store embeds, so that all stores compare the same vectors."""
    return [to_langchain(chunk).model_copy(update={"page_content": chunk.embedding_text}) for chunk in chunks]


@pytest.mark.reference
@pytest.mark.parametrize("kind", KINDS)
def test_every_store_finds_the_same(documents, embedder, kind):
    ours, theirs = FaissStore(embedder), open_store(kind, embedder, name="same")
    for store in (ours, theirs):
        plain = [document.model_copy(update={"metadata": {"source": document.id}}) for document in documents]
        assert store.add_documents(plain) == ids(documents)
    for question in ("How heavy is the KX-200?", "When is fish served?", "lost badge"):
        assert ids(theirs.similarity_search(question, k=4)) == ids(ours.similarity_search(question, k=4))
    assert ids(theirs.as_retriever(search_kwargs={"k": 1}).invoke("brass valve")) == ["valve.txt#0"]


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_come_back_exactly_from_a_folder(chunks, embedder, tmp_path, kind):
    store = open_store(kind, embedder, tmp_path)
    store.add_documents([to_langchain(chunk) for chunk in chunks])
    if kind == "qdrant":
        store.client.close()  # a folder is locked by whoever has it open
    else:
        SharedSystemClient.clear_system_cache()  # or the open one is given again
    again = open_store(kind, embedder, tmp_path)
    found = {document.id: from_langchain(document) for document in again.get_by_ids([chunk.id for chunk in chunks])}
    assert found == {chunk.id: chunk for chunk in chunks}


def test_qdrant_forgets_everything_when_told_so(chunks, embedder):
    store = open_store("qdrant", embedder)
    store.add_documents([to_langchain(chunk) for chunk in chunks])
    assert store.delete() and store.similarity_search("pump") == []


@pytest.mark.slow
def test_chroma_on_a_server(documents, embedder, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = [Path(sys.executable).with_name("chroma"), "run", "--path", tmp_path, "--port", str(port)]
    server = subprocess.Popen(program, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port, server)
        store = open_store("chroma", embedder, f"http://127.0.0.1:{port}")
        store.add_documents(documents)
        assert store.similarity_search("How heavy is the KX-200?", k=1)[0].metadata["document_id"] == "pump.txt"
    finally:
        server.kill()
        server.wait()


def wait_for_port(port: int, server: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the server did not start")


def test_an_unknown_store_names_those_there_are(embedder):
    with pytest.raises(LabError, match="no store 'redis': choose one of chroma, qdrant, pinecone"):
        open_store("redis", embedder)


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [
        ("chroma", "langchain_chroma", "stores"),
        ("qdrant", "langchain_qdrant", "stores"),
        ("pinecone", "langchain_pinecone", "pinecone"),
    ],
)
def test_a_missing_package_is_one_line_with_the_remedy(embedder, monkeypatch, kind, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(LabError, match=rf"^{module} is not installed: run pip install -e '\.\[{extra}\]'$"):
        open_store(kind, embedder)


def test_pinecone_without_a_key_is_one_line(embedder, monkeypatch):
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    monkeypatch.setitem(sys.modules, "langchain_pinecone", SimpleNamespace(PineconeVectorStore=None))
    with pytest.raises(LabError, match="pinecone needs a key in PINECONE_API_KEY"):
        open_store("pinecone", embedder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_does_not_answer_is_one_line(embedder, kind):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(LabError, match=f"^{kind} does not open 'chunks' .*: check the place, the key and the name$"):
        open_store(kind, embedder, f"http://127.0.0.1:{port}")


def test_a_folder_that_is_open_elsewhere_is_one_line(embedder, tmp_path):
    first = open_store("qdrant", embedder, tmp_path)
    with pytest.raises(LabError, match="qdrant does not open 'chunks' .*already accessed"):
        open_store("qdrant", embedder, tmp_path)
    first.client.close()


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The test .* is marked with")
class TestOtherStores(VectorStoreIntegrationTests):
    @pytest.fixture(params=["chroma", "qdrant"])
    def vectorstore(self, request):
        store = open_store(request.param, self.get_embeddings(), name="contract")
        yield store
        if request.param == "chroma":  # which keeps one memory for the whole process
            store.delete_collection()
