"""Every benchmark measures both sides on the same work, against a named rival."""

import time
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from labkit.data import load_questions
from labkit.rag.chunk import Chunk
from labkit.rag.embed import load_embedder
from labkit.rag.index import FaissStore
from labkit.rag.retrieve import Dense
from tools.bench import milliseconds, model, search

TEXTS = ["The KX-200 pump weighs 12 kilograms.", "Fish is served on Fridays.", "Badges must be worn visibly."]


@pytest.fixture(scope="module")
def store():
    chunks = [Chunk(str(n), f"{n}.txt", "", text, 0, len(text)) for n, text in enumerate(TEXTS)]
    return FaissStore.from_chunks(chunks, load_embedder("bundled"))


def test_the_ways_take_turns_and_the_first_call_does_not_count():
    called = []

    def way(name, seconds):
        called.append(name)
        time.sleep(seconds if len(called) > 2 else 0.3)

    ours, theirs = milliseconds(lambda one: way("ours", one), lambda one: way("theirs", 2 * one), [0.01] * 3, rounds=2)
    assert called == ["ours", "theirs"] * 7 and 10 <= ours < 200 and 20 <= theirs < 200


def test_the_best_round_counts_and_the_ways_take_turns():
    called = []

    def encode(name, texts):
        called.append(name)
        return np.zeros((len(texts), 2))

    ways = {name: lambda texts, name=name: encode(name, texts) for name in ("ours", "theirs")}
    best, vectors = search._throughput(ways, ["a", "b"], rounds=2)
    assert called == ["ours", "theirs"] * 2 and best.keys() == vectors.keys() == ways.keys()
    assert vectors["ours"].shape == (2, 2) and best["ours"] > 0


@pytest.mark.slow
def test_embedding_is_measured_on_the_same_texts_and_the_ranking_stays():
    speed, quality = search.embed(quick=True)
    assert (speed.unit, speed.more_is_better) == ("texts/s", True) and min(speed.ours, speed.theirs) > 0
    assert speed.rival == quality.rival == "SentenceTransformer(...).encode(texts)"
    assert 0.3 < quality.theirs <= 1 and abs(quality.ours - quality.theirs) <= 0.002


def test_only_questions_that_some_chunk_proves_count():
    lab = SimpleNamespace(questions=load_questions()[:30])
    fact = lab.questions[0].evidence[0]
    chunks = [Chunk("a", fact.document, "", fact.passage, 0, 1), Chunk("b", "other", "", "nothing", 0, 1)]
    asked = np.tile([1.0, 0.0], (sum(bool(item.evidence) for item in lab.questions), 1))
    right, wrong = np.eye(2), np.eye(2)[::-1]
    assert search.ndcg(lab, chunks, right, asked) == 1
    assert search.ndcg(lab, chunks, wrong, asked) == pytest.approx(1 / np.log2(3))


def test_a_trial_of_the_exact_index_finds_everything_in_four_bytes_a_number():
    vectors = np.random.default_rng(0).normal(size=(800, 32)).astype("float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries, threads = vectors[-20:], faiss.omp_get_max_threads()
    wanted = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :5]
    row = search.trial("Flat", "", [vectors[:300], vectors[300:]], queries, wanted)
    assert row["recall"] > 0.99 and row["bytes"] == pytest.approx(4 * 32, 0.01)
    low, high = (search.trial("IVF8,Flat", f"nprobe={n}", [vectors], queries, wanted) for n in (1, 8))
    assert low["recall"] < high["recall"] > 0.99 and min(low["ms"], high["ms"]) > 0
    assert faiss.omp_get_max_threads() == threads


@pytest.mark.reference
def test_the_nearest_in_batches_are_the_nearest_of_all(store, monkeypatch):
    monkeypatch.setattr(search, "BATCH", 70)
    real = store.embedder.encode([f"{where} {text}" for where in ("north", "south", "old", "new") for text in TEXTS])
    whole = np.concatenate(list(search.batches(real, 300)))
    assert whole.shape == (300, 384)
    queries = whole[::37]
    found = search.nearest(real, 300, queries, 6)
    assert all(len(set(row)) == 6 for row in found.tolist())
    scores = queries @ whole.T
    np.testing.assert_allclose(np.take_along_axis(scores, found, 1), -np.sort(-scores)[:, :6], atol=1e-5)


@pytest.mark.slow
def test_indexes_are_compared_by_size_time_and_recall_with_named_rivals():
    figures = {figure.name: figure for figure in search.index(quick=True)}
    assert len(figures) == 8 and all(figure.rival for figure in figures.values())
    small = next(figure for name, figure in figures.items() if "PQ48" in name and name.endswith("size"))
    assert small.ratio > 3
    exact = next(figure for name, figure in figures.items() if "SQ8" in name and name.endswith("recall@10"))
    assert 0.8 < exact.ours <= exact.theirs <= 1
    for name in ("FaissStore.similarity_search, encoding included", "FaissStore.search_vectors"):
        assert min(figures[name].ours, figures[name].theirs) > 0 and not figures[name].more_is_better


@pytest.mark.reference
def test_both_ways_of_search_find_the_same_chunks_with_the_same_cosines(store):
    exact = load_embedder("bundled", "float32")
    ours = search._store(store, exact)
    queries = ["How heavy is the KX-200?", "fish on Fridays"]
    scores, places = search._by_hand(store, exact)(queries, 3)
    for hits, row, line in zip(Dense(ours).search_batch(queries, 3), places, scores, strict=True):
        assert [hit.chunk for hit in hits] == [store.chunks[place] for place in row]
        np.testing.assert_allclose([hit.score for hit in hits], line, atol=1e-3)


@pytest.mark.slow
def test_search_gives_milliseconds_per_query_in_one_call_and_one_by_one():
    together, alone = search.retrieve(quick=True)
    assert "one call" in together.name and "one query" in alone.name
    for figure in (together, alone):
        assert not figure.more_is_better and 0 < figure.ours < 3 * figure.theirs


def test_padded_rows_are_equally_long_and_pads_are_neither_read_nor_learned():
    rows = model.padded([{"input_ids": [5], "labels": [5]}, {"input_ids": [6, 7], "labels": [-100, 7]}])
    assert rows[0] == {"input_ids": [5, 0], "attention_mask": [1, 0], "labels": [5, -100]}
    assert rows[1] == {"input_ids": [6, 7], "attention_mask": [1, 1], "labels": [-100, 7]}


@pytest.mark.slow
def test_both_sides_train_as_many_steps_to_a_like_loss():
    speed, loss = model.train(quick=True)
    assert speed.ours > 0 and speed.theirs > 0 and speed.unit == "tokens/s without padding"
    assert speed.name.endswith("4 steps of 8 rows") and "padded to one length" in speed.rival
    assert loss.ours == pytest.approx(loss.theirs, rel=0.1) and not loss.more_is_better


@pytest.mark.slow
def test_both_sides_answer_the_same_questions_and_are_scored_alike():
    chain, right, alone = model.rag(quick=True)
    assert chain.ours == alone.ours > 0 and chain.theirs > 0 and alone.theirs > 0
    assert 0 <= right.ours <= 1 and abs(right.ours - right.theirs) <= 0.5


def test_importing_labkit_takes_a_fraction_of_what_it_builds_on():
    (found,) = model.start(quick=True)
    assert found.ratio > 3
