"""Every retriever is one of LangChain's: its standard tests pass, and it works in a chain."""

import asyncio

import pytest
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_tests.integration_tests import RetrieversIntegrationTests

from labkit import LabError
from labkit.rag.chunk import from_langchain
from labkit.rag.retrieve import BM25, MMR, Dense, Fusion, MultiQuery, SecondSearch
from labkit.rag.retrieve_fusion import reword_by_rule

QUESTION = "What does the front desk say about the KX-200?"  # words that several chunks share


@pytest.mark.asyncio
class Standard(RetrieversIntegrationTests):
    """LangChain's own tests, over the small corpus."""

    retriever_query_example = QUESTION
    num_results_arg_name = "top_k"

    @pytest.fixture(autouse=True)
    def over(self, store):
        self.store = store


class TestDense(Standard):
    retriever_constructor = Dense

    @property
    def retriever_constructor_params(self):
        return {"store": self.store}


class TestBM25(TestDense):
    retriever_constructor = BM25


class TestMMR(TestDense):
    retriever_constructor = MMR


class TestFusion(Standard):
    retriever_constructor = Fusion

    @property
    def retriever_constructor_params(self):
        return {"retrievers": [Dense(self.store), BM25(self.store)]}


class TestMultiQuery(Standard):
    retriever_constructor = MultiQuery

    @property
    def retriever_constructor_params(self):
        return {"first": Dense(self.store), "reword": reword_by_rule}


class TestSecondSearch(Standard):
    retriever_constructor = SecondSearch

    @property
    def retriever_constructor_params(self):
        return {"first": Dense(self.store)}


def test_invoke_gives_the_hits_as_documents_that_say_where_they_stand(store):
    dense = Dense(store, top_k=3)
    found, hits = dense.invoke(QUESTION), dense.search(QUESTION)
    assert [from_langchain(document) for document in found] == [hit.chunk for hit in hits]
    assert [document.metadata["score"] for document in found] == [hit.score for hit in hits]
    assert [document.metadata["rank"] for document in found] == [1, 2, 3]
    assert dense.batch([QUESTION, "fish"]) == [found, dense.invoke("fish")]
    assert asyncio.run(dense.ainvoke(QUESTION)) == found
    assert "score" not in store.get_by_ids([found[0].id])[0].metadata


def test_it_is_a_link_of_a_chain(store):
    def joined(documents: list[Document]) -> str:
        return " / ".join(document.page_content for document in documents)

    prompt = PromptTemplate.from_template("{context}\n\nQ: {query}")
    chain = {"context": Fusion([Dense(store), BM25(store)], top_k=2) | joined, "query": RunnablePassthrough()} | prompt
    told = (chain | (lambda prompt: prompt.to_string()) | StrOutputParser()).invoke("How heavy is the KX-200?")
    assert "weighs 12 kilograms" in told and told.endswith("Q: How heavy is the KX-200?")


def test_the_articles_line_works_as_printed(store):
    retriever, query = Dense(store), "How heavy is the KX-200?"
    context = retriever.search(query, top_k=5)
    assert len(context) == 5 and "12 kilograms" in context[0].chunk.text
    with pytest.raises(LabError, match="top_k is -1"):
        retriever.invoke(query, top_k=-1)
