"""Each retriever ranks as its formula says, ties are settled, and the three find what they should."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import LabError
from labkit.rag.chunk import Chunk
from labkit.rag.index import FaissStore
from labkit.rag.retrieve import (
    BM25,
    METHODS,
    MMR,
    Dense,
    Fusion,
    rank_scores,
    reciprocal_rank_fusion,
    retriever,
    words,
)

METHODS = [name for name in METHODS if name != "rerank"]  # which needs a model: see test_retrieve_rerank
QUESTIONS = {
    "How heavy is the KX-200?": "pump.txt",
    "Which day is fish on the menu?": "canteen.txt",
    "How many days of vacation do I get?": "leave.txt",
    "What does the KX-310 consist of?": "valve.txt",
    "price of a parking permit": "parking.txt",
}


def names(hits):
    return [hit.chunk.id for hit in hits]


@pytest.mark.parametrize("method", METHODS)
def test_hits_are_ranked_and_batches_equal_single_searches(store, method):
    search = retriever(method, store)
    batches = search.search_batch(list(QUESTIONS), top_k=4)
    for question, hits in zip(QUESTIONS, batches, strict=True):
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert names(search.search(question, top_k=4)) == names(hits)
        assert names(search.search(question, top_k=2)) == names(hits)[:2]
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
        assert names(hits) == [store.chunks[i].id for i in np.argsort(-row, kind="stable")[:5]]
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(row)[::-1][:5], atol=1e-5)


def test_mmr_takes_the_nearest_first_and_then_what_is_unlike_it(store, embedder):
    query = "How heavy is the KX-200?"
    assert names(MMR(store, balance=1.0).search(query)) == names(Dense(store).search(query))
    twins = [
        Chunk(f"twin#{i}", "twin", "", f"The KX-200 weighs 12 kilograms{end}", 0, 30) for i, end in enumerate(".!")
    ]
    other = Chunk("other#0", "other", "", "The KX-200 is a pump.", 0, 21)
    small = FaissStore.from_chunks([*twins, other], embedder)
    assert {hit.chunk.document_id for hit in Dense(small).search(query, top_k=2)} == {"twin"}
    first, second = MMR(small, balance=0.5).search(query, top_k=2)
    assert first.chunk == Dense(small).search(query, top_k=1)[0].chunk and second.chunk == other


def test_a_threshold_drops_what_scores_below_it(store):
    every = Dense(store).search("How heavy is the KX-200?", top_k=20)
    least = every[2].score
    assert Dense(store, threshold=least).search("How heavy is the KX-200?", top_k=20) == every[:3]
    assert Dense(store, threshold=1.01).search("How heavy is the KX-200?") == []


@pytest.mark.reference
def test_bm25_equals_its_formula(store):
    texts = [words(chunk.embedding_text) for chunk in store.chunks]
    mean = sum(map(len, texts)) / len(texts)

    def score(query, text):
        total = 0.0
        for word in words(query):
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
        assert set(names(hits)) == {store.chunks[i].id for i in order}


def test_bm25_ties_keep_the_order_of_the_chunks(embedder):
    same = [Chunk(str(i), "d", "", "the same words", 0, 14) for i in (3, 1, 2)]
    hits = BM25(FaissStore.from_chunks(same, embedder)).search("words", top_k=3)
    assert names(hits) == ["3", "1", "2"] and len({hit.score for hit in hits}) == 1


def test_bm25_without_a_shared_word_finds_nothing(store):
    for query in ("zebra", "", "?!"):
        assert BM25(store).search(query) == []


def test_bm25_follows_the_store(store):
    lexical = BM25(store)
    store.add_chunks([Chunk("zoo#0", "zoo", "", "A zebra lives here.", 0, 19)])
    assert names(lexical.search("zebra")) == ["zoo#0"]
    store.delete(["zoo#0"])
    assert lexical.search("zebra") == []


@pytest.mark.parametrize("method", METHODS)
def test_empty_stores_and_fewer_chunks_than_asked_for(store, embedder, method):
    assert retriever(method, FaissStore(embedder)).search_batch(["a", "b"]) == [[], []]
    assert len(retriever(method, store).search("the", top_k=500)) <= len(store)
    assert len(Dense(store).search("the", top_k=500)) == len(store)


def test_words_keep_numbers_and_letters_of_any_script():
    assert words("The KX-200's Größe: 12.5 км_h") == ["the", "kx", "200", "s", "größe", "12", "5", "км", "h"]


def test_fusion_scores_follow_the_formula(store):
    dense, lexical = Dense(store), BM25(store)
    query = "How heavy is the KX-200?"
    rankings = [names(retrieve.search(query, 50)) for retrieve in (dense, lexical)]
    wanted = rank_scores(rankings)
    hits = Fusion([dense, lexical]).search(query, top_k=6)
    assert names(hits) == list(wanted)[:6]
    assert [hit.score for hit in hits] == list(wanted.values())[:6]
    assert hits[0].score == pytest.approx(2 / 61)


rankings = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8), max_size=5)


@given(rankings=rankings, k=st.integers(1, 100))
def test_reciprocal_rank_fusion_is_the_sum_of_reciprocal_ranks(rankings, k):
    fused = reciprocal_rank_fusion(rankings, k)
    total = {name: sum(1 / (k + r.index(name) + 1) for r in rankings if name in r) for name in fused}
    assert set(fused) == {name for ranking in rankings for name in ranking}
    assert all(total[a] >= total[b] - 1e-12 for a, b in zip(fused, fused[1:], strict=False))


def test_reciprocal_rank_fusion_ties_keep_first_appearance():
    assert reciprocal_rank_fusion([["a", "b"], ["b", "c"]]) == ["b", "a", "c"]
    assert reciprocal_rank_fusion([["x", "y"], ["y", "x"]]) == ["x", "y"]
    assert reciprocal_rank_fusion([["same"]]) == ["same"] and reciprocal_rank_fusion([]) == []


def test_wrong_choices_are_errors_that_name_the_right_ones(store):
    with pytest.raises(LabError, match="dense, bm25, fusion, mmr, second, rerank"):
        retriever("magic", store)
    with pytest.raises(LabError, match="'rerank' needs a cross-encoder"):
        retriever("rerank", store)
    for method in METHODS:
        with pytest.raises(LabError, match="top_k"):
            retriever(method, store).search("x", top_k=0)
