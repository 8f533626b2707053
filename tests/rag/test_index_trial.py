"""Trials measure what they say, on the company's own vectors."""

import time

import faiss
import numpy as np
import pytest

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
