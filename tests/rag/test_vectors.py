"""Each kind of index finds, forgets, filters, trains and maps as it says."""

import numpy as np
import pytest

from labkit import LabError
from labkit.rag.index import VectorIndex, more_vectors

KINDS = ["Flat", "SQ8", "IVF4,Flat", "IVF4,SQ8", "HNSW16", "HNSW16,SQ8", "PQ16x4", "IVF4,PQ16x4", "RR32,IVF4,SQ8"]
LOSSLESS = ["Flat", "SQ8", "IVF4,Flat", "IVF4,SQ8", "HNSW16", "HNSW16,SQ8"]


def units(count, dimensions=32, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, dimensions))
    vectors = centres[rng.integers(20, size=count)] + 0.4 * rng.normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")


def best(vectors, queries, k):
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]


def shared(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), wanted.tolist(), strict=True)])


def filled(kind, vectors):
    made = VectorIndex(kind)
    made.add(vectors)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_finds_most_of_the_nearest(kind):
    vectors, queries = units(1000), units(50, seed=1)
    scores, found = filled(kind, vectors).search(queries, 10)
    assert shared(found, best(vectors, queries, 10)) > (0.9 if kind in LOSSLESS else 0.4)
    assert (np.diff(scores, axis=1) <= 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_deleted_are_never_found_and_the_rest_as_before(kind):
    vectors, queries, rng = units(600), units(30, seed=1), np.random.default_rng(3)
    index, names = filled(kind, vectors), np.arange(600)
    for share in (0.2, 0.9):  # of those that are left
        gone = rng.choice(len(index), int(share * len(index)), replace=False)
        stays = np.delete(names, gone)
        names = names[index.delete(gone)]
        assert names.tolist() == stays.tolist() and len(index) == len(names)
        nearest = best(index.vectors_at(np.arange(len(index))), queries, 5)
        assert shared(index.search(queries, 5)[1], nearest) > 0.9, "as near as the codes can tell"


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_among_some_misses_none_of_them(kind):
    vectors, queries = units(500), units(20, seed=1)
    made, among = filled(kind, vectors), np.arange(3, 500, 25)
    scores, found = made.search(queries, 50, among)
    assert found.shape == (20, len(among)) and all(set(row) == set(among) for row in found.tolist())
    decoded = made.vectors_at(among)
    np.testing.assert_array_equal(found[:, 0], among[best(decoded, queries, 1)[:, 0]])
    np.testing.assert_allclose(scores, -np.sort(-(queries @ decoded.T)), atol=1e-5)
    assert made.search(queries, 5, np.array([], "int64"))[1].shape == (20, 0)


def test_too_few_vectors_to_train_are_one_line_and_more_are_taken():
    index = VectorIndex("IVF4,PQ16x4")
    with pytest.raises(LabError, match="'IVF4,PQ16x4' cannot be trained on 3 vectors .*: begin with more") as problem:
        index.add(units(3))
    assert len(index) == 0 and "\n" not in str(problem.value)
    index.add(units(400))
    assert len(index) == 400


def test_more_effort_finds_more():
    vectors, queries = units(2000), units(50, seed=1)
    made, wanted = filled("IVF32,Flat", vectors), best(vectors, queries, 10)
    recalls = []
    for effort in ("nprobe=1", "nprobe=4", "nprobe=32"):
        made.tune(effort)
        recalls.append(shared(made.search(queries, 10)[1], wanted))
    assert recalls == sorted(recalls) and recalls[0] < 0.95 and recalls[-1] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_give_the_same_answers_again(kind):
    vectors, queries = units(600), units(20, seed=1)
    made = filled(kind, vectors)
    again = VectorIndex.from_bytes(made.to_bytes(), kind)
    for mine, theirs in zip(again.search(queries, 5), made.search(queries, 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(again.vectors_at(np.arange(9)), made.vectors_at(np.arange(9)))


def test_codes_are_smaller_than_numbers():
    sizes = {
        kind: filled(kind, units(2000, 64)).to_bytes().nbytes / 2000 for kind in ("Flat", "SQ8", "PQ16x4np", "HNSW16")
    }
    assert sizes["PQ16x4np"] < sizes["SQ8"] < sizes["Flat"] < sizes["HNSW16"] and sizes["Flat"] == pytest.approx(
        256, 0.01
    )


@pytest.mark.parametrize("kind", ["Nonsense", "PQ7"])
def test_a_kind_that_is_none_is_one_line(kind):
    with pytest.raises(LabError) as caught:
        VectorIndex(kind).add(units(50))
    assert "\n" not in str(caught.value)


def test_an_effort_that_is_none_is_one_line():
    with pytest.raises(LabError, match="a 'Flat' index has no 'nprobe=3': "):
        filled("Flat", units(50)).tune("nprobe=3")


def test_bytes_that_are_no_index_are_one_line():
    with pytest.raises(LabError, match="FAISS cannot read this index"):
        VectorIndex.from_bytes(b"not an index at all")


@pytest.mark.parametrize("kind", KINDS)
def test_an_emptied_index_fills_again(kind):
    vectors = units(300)
    made = filled(kind, vectors)
    made.delete(np.arange(300))
    assert len(made) == 0 and made.search(vectors[:2], 5)[1].shape == (2, 0)
    made.add(vectors[:100])
    assert len(made) == 100 and made.search(vectors[:2], 5)[1].shape == (2, 5)


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
