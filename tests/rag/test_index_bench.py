"""Trials and benchmarks measure what they say, on the company's own vectors."""

import time

import faiss
import numpy as np
import pytest

from labkit.bench import index as bench
from labkit.rag.index_trial import milliseconds, more_vectors, recall, trial


@pytest.fixture(scope="module")
def real(embedder):
    texts = [f"{place} {thing}" for place in ("north", "south", "old", "new") for thing in ("hall", "gate", "pump")]
    return embedder.encode(texts)


def test_vectors_made_are_like_the_real_ones_and_the_same_each_time(real):
    made = more_vectors(real, 500)
    np.testing.assert_array_equal(made[: len(real)], real)
    np.testing.assert_array_equal(more_vectors(real, 500), made)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert np.linalg.matrix_rank(made, tol=1e-2) <= len(real), "in the directions of the real ones only"
    np.testing.assert_array_equal(more_vectors(real, 3), real[:3])


def test_recall_is_the_share_of_the_wanted_that_was_found():
    assert recall(np.array([[1, 2, 3], [4, 5, -1]]), np.array([[3, 2, 9], [7, 4, 5]])) == pytest.approx(4 / 6)


def test_milliseconds_are_the_median_of_a_call():
    assert 4 < milliseconds(lambda one: time.sleep(0.005 * len(one)), [0] * 7) < 100


def test_a_trial_of_the_exact_index_finds_everything_in_four_bytes_a_number():
    vectors = np.random.default_rng(0).normal(size=(800, 32)).astype("float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries, threads = vectors[-20:], faiss.omp_get_max_threads()
    wanted = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :5]
    (row,) = trial("Flat", [""], [vectors[:300], vectors[300:]], queries, wanted)
    assert row["recall"] > 0.99 and row["bytes"] == pytest.approx(4 * 32, 0.01) and row["vectors"] == 800
    low, high = trial("IVF8,Flat", ["nprobe=1", "nprobe=8"], [vectors], queries, wanted)
    assert low["recall"] < high["recall"] and high["recall"] > 0.99 and low["seconds"] == high["seconds"] > 0
    assert faiss.omp_get_max_threads() == threads


@pytest.mark.reference
def test_the_nearest_in_batches_are_the_nearest_of_all(real, monkeypatch):
    monkeypatch.setattr(bench, "BATCH", 70)
    whole = np.concatenate(list(bench.batches(real, 300)))
    assert whole.shape == (300, 384)
    queries = whole[::37]
    found = bench.nearest(real, 300, queries, 6)
    assert all(len(set(row)) == 6 for row in found.tolist())
    scores = queries @ whole.T
    np.testing.assert_allclose(np.take_along_axis(scores, found, 1), -np.sort(-scores)[:, :6], atol=1e-5)


@pytest.mark.slow
def test_the_benchmark_compares_size_time_and_recall_with_named_rivals():
    figures = {figure.name: figure for figure in bench.measure(quick=True)}
    assert len(figures) == 8 and all(figure.rival for figure in figures.values())
    small = next(figure for name, figure in figures.items() if "PQ48" in name and name.endswith("size"))
    assert small.ratio > 3
    exact = next(figure for name, figure in figures.items() if "SQ8" in name and name.endswith("recall@10"))
    assert 0.8 < exact.ours <= exact.theirs <= 1
    for name in ("FaissStore.similarity_search, encoding included", "FaissStore.search_vectors"):
        assert min(figures[name].ours, figures[name].theirs) > 0 and not figures[name].more_is_better
