"""The benchmark embeds the same chunks both ways, and half precision finds what full precision finds."""

from types import SimpleNamespace

import numpy as np
import pytest

from labkit.bench import embed
from labkit.data import load_questions
from labkit.rag.chunk import Chunk


@pytest.mark.slow
def test_speed_is_measured_on_the_same_texts_and_the_ranking_stays():
    speed, quality = embed.measure(quick=True)
    assert (speed.unit, speed.more_is_better) == ("texts/s", True) and min(speed.ours, speed.theirs) > 0
    assert speed.rival == quality.rival == "SentenceTransformer(...).encode(texts)"
    assert 0.3 < quality.theirs <= 1 and abs(quality.ours - quality.theirs) <= 0.002


def test_the_best_round_counts_and_the_ways_take_turns():
    called = []

    def encode(name, texts):
        called.append(name)
        return np.zeros((len(texts), 2))

    ways = {name: lambda texts, name=name: encode(name, texts) for name in ("ours", "theirs")}
    best, vectors = embed._race(ways, ["a", "b"], rounds=2)
    assert called == ["ours", "theirs"] * 2 and best.keys() == vectors.keys() == ways.keys()
    assert vectors["ours"].shape == (2, 2) and best["ours"] > 0


def test_only_questions_that_some_chunk_proves_count():
    lab = SimpleNamespace(questions=load_questions()[:30])
    fact = lab.questions[0].evidence[0]
    chunks = [Chunk("a", fact.document, "", fact.passage, 0, 1), Chunk("b", "other", "", "nothing", 0, 1)]
    asked = np.tile([1.0, 0.0], (sum(bool(item.evidence) for item in lab.questions), 1))
    right, wrong = np.eye(2), np.eye(2)[::-1]
    assert embed.ndcg(lab, chunks, right, asked) == 1
    assert embed.ndcg(lab, chunks, wrong, asked) == pytest.approx(1 / np.log2(3))
