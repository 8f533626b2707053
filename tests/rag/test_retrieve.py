"""Each retriever ranks as its formula says, ties are settled, and the three find what they should."""

import asyncio
import math
import random
import unicodedata

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_tests.integration_tests import RetrieversIntegrationTests

from labkit import LabError
from labkit.rag.chunk import Chunk, from_langchain
from labkit.rag.index import FaissStore
from labkit.rag.retrieve import (
    BM25,
    METHODS,
    MMR,
    Dense,
    Fusion,
    Rerank,
    SecondSearch,
    Texts,
    language,
    load_reranker,
    names,
    reciprocal_rank_fusion,
    retitled,
    retriever,
    stems,
)
from labkit.text import words

METHODS = [name for name in METHODS if name != "rerank"]  # which needs a model: see test_retrieve_rerank
QUESTIONS = {
    "How heavy is the KX-200?": "pump.txt",
    "Which day is fish on the menu?": "canteen.txt",
    "How many days of vacation do I get?": "leave.txt",
    "What does the KX-310 consist of?": "valve.txt",
    "price of a parking permit": "parking.txt",
}


def ids(hits):
    return [hit.chunk.id for hit in hits]


@pytest.mark.parametrize("method", METHODS)
def test_hits_are_ranked_and_batches_equal_single_searches(store, method):
    search = retriever(method, store)
    batches = search.search_batch(list(QUESTIONS), top_k=4)
    for question, hits in zip(QUESTIONS, batches, strict=True):
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert ids(search.search(question, top_k=4)) == ids(hits)
        assert ids(search.search(question, top_k=2)) == ids(hits)[:2]
    assert search.search_batch([], top_k=3) == []


@pytest.mark.parametrize(("method", "least"), [("dense", 5), ("bm25", 4), ("fusion", 5), ("mmr", 5), ("second", 5)])
def test_the_source_is_among_the_first_two(store, method, least):
    found = retriever(method, store).search_batch(list(QUESTIONS), top_k=2)
    right = [
        source in {hit.chunk.document_id for hit in hits}
        for source, hits in zip(QUESTIONS.values(), found, strict=True)
    ]
    assert sum(right) >= least


@pytest.mark.reference
def test_dense_equals_the_plain_inner_product(store, embedder):
    matrix = embedder.encode([chunk.embedding_text for chunk in store.chunks])
    queries = embedder.encode(list(QUESTIONS), query=True)
    for hits, row in zip(Dense(store).search_batch(list(QUESTIONS), 5), queries @ matrix.T, strict=True):
        assert ids(hits) == [store.chunks[i].id for i in np.argsort(-row, kind="stable")[:5]]
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(row)[::-1][:5], atol=1e-5)


def test_mmr_takes_the_nearest_first_and_then_what_is_unlike_it(store, embedder):
    query = "How heavy is the KX-200?"
    assert ids(MMR(store, balance=1.0).search(query)) == ids(Dense(store).search(query))
    twins = [
        Chunk(f"twin#{i}", "twin", "", f"The KX-200 weighs 12 kilograms{end}", 0, 30) for i, end in enumerate(".!")
    ]
    other = Chunk("other#0", "other", "", "The KX-200 is a pump.", 0, 21)
    small = FaissStore.from_chunks([*twins, other], embedder)
    assert {hit.chunk.document_id for hit in Dense(small).search(query, top_k=2)} == {"twin"}
    first, second = MMR(small, balance=0.5).search(query, top_k=2)
    assert first.chunk == Dense(small).search(query, top_k=1)[0].chunk and second.chunk == other


@pytest.mark.reference
def test_bm25_equals_its_formula(store):
    terms = stems("english")
    texts = [terms(words(chunk.embedding_text)) for chunk in store.chunks]
    mean = sum(map(len, texts)) / len(texts)

    def score(query, text):
        total = 0.0
        for word in terms(words(query)):
            holding = sum(word in other for other in texts)
            idf = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
            count = text.count(word)
            total += idf * count / (count + 1.5 * (1 - 0.75 + 0.75 * len(text) / mean))
        return total

    for query in [*QUESTIONS, "the the desk", "front desk of the canteen"]:
        wanted = [score(query, text) for text in texts]
        hits = BM25(store).search(query, top_k=100)
        order = [i for i in np.argsort(-np.round(wanted, 5), kind="stable") if wanted[i] > 0]
        np.testing.assert_allclose([hit.score for hit in hits], [wanted[i] for i in order], rtol=1e-4)
        assert set(ids(hits)) == {store.chunks[i].id for i in order}


def test_bm25_ties_keep_the_order_of_the_chunks(embedder):
    same = [Chunk(str(i), "d", "", "the same words", 0, 14) for i in (3, 1, 2)]
    hits = BM25(FaissStore.from_chunks(same, embedder)).search("words", top_k=3)
    assert ids(hits) == ["3", "1", "2"] and len({hit.score for hit in hits}) == 1


def test_bm25_without_a_shared_word_finds_nothing(store):
    for query in ("zebra", "", "?!"):
        assert BM25(store).search(query) == []


def test_bm25_follows_the_store(store):
    lexical = BM25(store)
    store.add_chunks([Chunk("zoo#0", "zoo", "", "A zebra lives here.", 0, 19)])
    assert ids(lexical.search("zebra")) == ["zoo#0"]
    store.delete(["zoo#0"])
    assert lexical.search("zebra") == []


@pytest.mark.parametrize("method", METHODS)
def test_empty_stores_and_fewer_chunks_than_asked_for(store, embedder, method):
    assert retriever(method, FaissStore(embedder)).search_batch(["a", "b"]) == [[], []]
    assert len(retriever(method, store).search("the", top_k=500)) <= len(store)
    assert len(Dense(store).search("the", top_k=500)) == len(store)


def test_bm25_finds_other_forms_of_a_word_and_no_stop_words(embedder):
    texts = ["Die Pumpen wurden in der Halle geprüft.", "Der Vertrag läuft bis Mai.", "Das Wetter bleibt gut."]
    german = BM25(Texts([Chunk(str(n), "d", "", text, 0, 9) for n, text in enumerate(texts)]))
    assert ids(german.search("Wann wurde die Pumpe geprüft?", 3)) == ["0"]
    assert ids(german.search(unicodedata.normalize("NFD", "VERTRÄGE"), 3)) == ["1"] and not german.search("der die das")
    assert (
        language([words("She said that the house was not for sale")]) == "english" == language([]) == language([["x"]])
    )


def test_bm25_finds_words_in_scripts_without_spaces():
    texts = ["恒星泵由北京市的工厂制造。", "本社は東京都港区にあります。", "ประกันสองปีนับจากวันซื้อ"]
    search = BM25(Texts([Chunk(str(n), "d", "", text, 0, 9) for n, text in enumerate(texts)]))
    assert [ids(search.search(q, 1)) for q in ("北京的工厂在哪里？", "東京都", "สองปี")] == [["0"], ["1"], ["2"]]


def test_fusion_scores_follow_the_formula(store):
    dense, lexical = Dense(store), BM25(store)
    query = "How heavy is the KX-200?"
    rankings = [ids(retrieve.search(query, 50)) for retrieve in (dense, lexical)]
    wanted = reciprocal_rank_fusion(rankings)
    hits = Fusion([dense, lexical]).search(query, top_k=6)
    assert ids(hits) == list(wanted)[:6]
    assert [hit.score for hit in hits] == list(wanted.values())[:6]
    assert hits[0].score == pytest.approx(2 / 61)


rankings = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8), max_size=5)


@given(rankings=rankings, k=st.integers(1, 100))
def test_reciprocal_rank_fusion_is_the_sum_of_reciprocal_ranks(rankings, k):
    fused = list(reciprocal_rank_fusion(rankings, k))
    total = {name: sum(1 / (k + r.index(name) + 1) for r in rankings if name in r) for name in fused}
    assert set(fused) == {name for ranking in rankings for name in ranking}
    assert all(total[a] >= total[b] - 1e-12 for a, b in zip(fused, fused[1:], strict=False))


def test_reciprocal_rank_fusion_ties_keep_first_appearance():
    assert list(reciprocal_rank_fusion([["a", "b"], ["b", "c"]])) == ["b", "a", "c"]
    assert list(reciprocal_rank_fusion([["x", "y"], ["y", "x"]])) == ["x", "y"]
    assert reciprocal_rank_fusion([["same"]]) == {"same": 1 / 61} and reciprocal_rank_fusion([]) == {}


def test_wrong_choices_are_errors_that_name_the_right_ones(store):
    with pytest.raises(LabError, match="dense, bm25, fusion, mmr, second, rerank"):
        retriever("magic", store)
    with pytest.raises(LabError, match="'rerank' needs a cross-encoder"):
        retriever("rerank", store)
    for method in METHODS:
        with pytest.raises(LabError, match="top_k"):
            retriever(method, store).search("x", top_k=0)


SITES = {"Delta": "Rome", "Orion": "Oslo", "Lynx": "Bern", "Heron": "Kyiv"}
HEADS = {"Rome": "Ann Weir", "Oslo": "Bo Lund", "Bern": "Cy Frei", "Kyiv": "Di Maro"}


@pytest.fixture(scope="module")
def company(embedder):
    """Which product is made where, and who runs which site, in different documents."""
    made = [f"{name} data sheet. The {name} is made at the {site} site. It is blue." for name, site in SITES.items()]
    runs = [f"Staff notes. The {site} site has {head} as its head." for site, head in HEADS.items()]
    texts = random.Random(0).sample(made + runs, 8)
    return FaissStore.from_chunks([Chunk(f"{i}#0", str(i), "", t, 0, len(t)) for i, t in enumerate(texts)], embedder)


@given(st.text(max_size=200))
def test_names_and_seeds_come_from_the_text(text):
    assert all(name in text for name in names(text))
    assert not set(names(text)) & set(names(retitled(text, "")))
    assert retitled("why?", text) == f"why? {text}"


def test_another_title_takes_the_place_of_the_names_in_a_query():
    assert (
        retitled("Who runs the site where the Delta 4 is made?", "Rome")
        == "Who runs the site where the   is made? Rome"
    )
    assert retitled("", "Rome") == " Rome"


@pytest.fixture
def titled(company):
    """The company's chunks, each under the name of the product or site that it is about."""
    from dataclasses import replace

    known = {*SITES, *HEADS}
    titles = [next((name for name in names(chunk.text) if name in known), "") for chunk in company.chunks]
    chunks = [
        replace(c, document_id=f"{n}.md", title=t) for n, (c, t) in enumerate(zip(company.chunks, titles, strict=True))
    ]
    return FaissStore.from_chunks(chunks, company.embedder)


@pytest.mark.parametrize("make", [Dense, BM25, lambda store: Fusion([Dense(store), BM25(store)])])
def test_a_second_search_finds_the_second_hop_that_one_search_ranks_lower(titled, make):
    found = {"one search": 0, "second search": 0}
    for product, site in SITES.items():
        for name, search in (
            ("one search", make(titled)),
            ("second search", SecondSearch(make(titled), titled, seeds=1, keep=1, floor=0)),
        ):
            texts = " ".join(hit.chunk.text for hit in search.search(f"Who runs the site of the {product}?", top_k=2))
            found[name] += HEADS[site] in texts and site in texts
    assert found["second search"] == len(SITES) > found["one search"]


def test_a_second_search_keeps_the_first_hits_in_front_and_each_chunk_once(titled):
    first, query = Dense(titled), "Who runs the site of the Orion?"
    both = SecondSearch(first, titled, keep=2).search(query, top_k=8)
    assert ids(both)[:2] == ids(first.search(query, top_k=2))
    assert len(set(ids(both))) == len(both) == 8
    assert [hit.score for hit in both] == [1 / hit.rank for hit in both]


def test_a_document_that_the_query_names_is_no_second_hop_and_a_floor_of_more_than_one_follows_none(titled):
    search = SecondSearch(Dense(titled), titled)
    product, site = next(iter(SITES.items()))
    hits = search.first.search(f"Where is the {product} made?", top_k=3)
    assert site in search.mentioned(f"Where is the {product} made?", hits)
    assert site not in search.mentioned(f"Is the {product} made in {site}?", hits)
    strict = SecondSearch(Dense(titled), titled, floor=2.5).search(f"Where is the {product} made?", top_k=5)
    assert ids(strict) == ids(Dense(titled).search(f"Where is the {product} made?", top_k=5))


def test_a_second_search_sees_a_store_that_changed(titled):
    search, product, site = SecondSearch(Dense(titled), titled, keep=1), *next(iter(SITES.items()))
    query = f"Who runs the site of the {product}?"
    assert site in search.mentioned(query, search.first.search(query, top_k=3))
    gone = next(chunk.document_id for chunk in titled.chunks if chunk.title == site)
    titled.delete_document(gone)
    assert site not in search.mentioned(query, search.first.search(query, top_k=3))
    assert gone not in [hit.chunk.document_id for hit in search.search(query, top_k=8)]


HEAVY = "How heavy is the KX-200?"


def cross_encoder(folder, labels=1, head=True):
    """A real BERT with random weights."""
    from tokenizers.implementations import BertWordPieceTokenizer
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    trainer = BertWordPieceTokenizer()
    trainer.train_from_iterator(
        ["how heavy is the pump it weighs twelve kilograms a desk 0 1 2 3"] * 20, vocab_size=120
    )
    tokenizer = BertTokenizerFast(tokenizer_object=trainer._tokenizer, model_max_length=64)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, num_labels=labels, initializer_range=0.5,
    )  # fmt: skip
    network = BertForSequenceClassification(config) if head else BertModel(config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    return cross_encoder(tmp_path_factory.mktemp("models") / "cross-encoder")


@pytest.mark.reference
def test_scores_are_the_sigmoid_of_the_plain_models_logits(store, reranker):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, plain = (
        AutoTokenizer.from_pretrained(reranker),
        AutoModelForSequenceClassification.from_pretrained(reranker),
    )
    hits = Rerank(Dense(store), load_reranker(reranker), depth=6).search(HEAVY, top_k=6)
    texts = [hit.chunk.embedding_text for hit in hits]
    with torch.no_grad():
        batch = tokenizer([HEAVY] * len(texts), texts, padding=True, truncation=True, return_tensors="pt")
        logits = plain(**batch).logits[:, 0]
    assert [hit.score for hit in hits] == pytest.approx(torch.sigmoid(logits).tolist(), abs=1e-5)
    assert logits.tolist() == sorted(logits.tolist(), reverse=True) and logits.std() > 1e-3


def test_reranking_only_reorders_what_was_found(store, reranker):
    first, model = Dense(store), load_reranker(reranker)
    found = {hit.chunk.id for hit in first.search(HEAVY, top_k=4)}
    assert {hit.chunk.id for hit in Rerank(first, model, depth=4).search(HEAVY, top_k=4)} == found
    assert {hit.chunk.id for hit in Rerank(first, model, depth=4).search(HEAVY, top_k=2)} < found
    assert len(Rerank(first, model, depth=1).search(HEAVY, top_k=3)) == 3


def test_batches_equal_single_searches_and_nothing_found_stays_nothing(store, reranker):
    ranker = Rerank(BM25(store), load_reranker(reranker))
    batch = ranker.search_batch([HEAVY, "zebra", "fish"])
    assert batch[1] == [] and ranker.search_batch([]) == []
    for query, hits in zip([HEAVY, "fish"], batch[::2], strict=True):
        alone = ranker.search(query)
        assert [hit.chunk for hit in alone] == [hit.chunk for hit in hits]
        assert [hit.score for hit in alone] == pytest.approx([hit.score for hit in hits], abs=1e-5)


def test_the_profiles_reranker_is_used_by_its_name(store, reranker):
    made = retriever("rerank", store, str(reranker), top_k=2)
    assert isinstance(made.first, Fusion) and len(made.search(HEAVY)) == 2
    assert len(made.invoke(HEAVY)) == 2


@pytest.mark.parametrize("wrong", [{"labels": 3}, {"head": False}], ids=["three labels", "no head"])
def test_a_model_that_gives_no_single_score_is_refused(tmp_path, wrong):
    with pytest.raises(LabError, match="does not score pairs of texts: give the folder or hub id of a cross-encoder"):
        load_reranker(cross_encoder(tmp_path / "model", **wrong))


def test_what_is_not_there_is_told_in_one_line(tmp_path):
    with pytest.raises(LabError, match="no reranker '.*missing'") as told:
        load_reranker(tmp_path / "missing")
    assert "\n" not in str(told.value)


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


class TestSecondSearch(Standard):
    retriever_constructor = SecondSearch

    @property
    def retriever_constructor_params(self):
        return {"first": Dense(self.store), "store": self.store}


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
