"""Every store keeps LangChain's contract: its own standard suite, sync and async, on each kind of index."""

import pytest
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

from labkit.rag.index import FaissStore
from labkit.rag.stores import open_store


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The test .* is marked with", "ignore:an index trained on")
class TestFaissStore(VectorStoreIntegrationTests):
    @pytest.fixture(params=["Flat", "SQ8", "HNSW8", "IVF2,Flat", "PQ3", "IVF2,PQ3x2np", "HNSW8,PQ3x2np"])
    def vectorstore(self, request):
        return FaissStore(self.get_embeddings(), request.param)


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The test .* is marked with")
class TestOtherStores(VectorStoreIntegrationTests):
    @pytest.fixture(params=["chroma", "qdrant"])
    def vectorstore(self, request):
        store = open_store(request.param, self.get_embeddings(), name="contract")
        yield store
        if request.param == "chroma":  # which keeps one memory for the whole process
            store.delete_collection()
