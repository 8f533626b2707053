"""The benchmark searches the same index both ways, and both ways find the same chunks."""

import numpy as np
import pytest

from labkit.bench import retrieve
from labkit.rag.embed import load_embedder
from labkit.rag.retrieve import Dense


@pytest.mark.reference
def test_both_ways_find_the_same_chunks_with_the_same_cosines(store):
    exact = load_embedder("bundled", "float32")
    ours = retrieve._store(store, exact)
    queries = ["How heavy is the KX-200?", "fish on Fridays"]
    scores, places = retrieve._by_hand(store, exact)(queries, 3)
    for hits, row, line in zip(Dense(ours).search_batch(queries, 3), places, scores, strict=True):
        assert [hit.chunk for hit in hits] == [store.chunks[place] for place in row]
        np.testing.assert_allclose([hit.score for hit in hits], line, atol=1e-3)


@pytest.mark.slow
def test_the_benchmark_gives_milliseconds_per_query_in_one_call_and_one_by_one():
    together, alone = retrieve.measure(quick=True)
    assert "one call" in together.name and "one query" in alone.name
    for figure in (together, alone):
        assert not figure.more_is_better and 0 < figure.ours < 3 * figure.theirs
