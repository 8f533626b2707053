"""The article's best practices: overlap chunks, index again, adapt with LoRA. Introduced in 19_claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from labkit.compare import small, update
from labkit.compare.score import recall
from labkit.compare.training import closed_book
from labkit.stats import Interval, paired_bootstrap

if TYPE_CHECKING:
    import pandas as pd

    from labkit.data import Item
    from labkit.lab import Lab
    from labkit.rag.retrieve import Hit

OVERLAP = 0.15


def chunking(lab: Lab) -> dict[str, Interval]:
    """What an overlap brings over none, over all sizes of lesson 02's sweep."""
    from labkit.compare.chunk_sweep import sweep

    swept = sweep(lab, overlaps=(0.0, OVERLAP))

    def gained(metric: str) -> Interval:
        wide = swept.dropna(subset=[metric]).pivot_table(metric, "id", "overlap", aggfunc="mean")
        return paired_bootstrap(wide[OVERLAP], wide[0.0]).interval

    return {
        "accuracy with 15 % overlap less with none": gained("correct"),
        "recall with 15 % overlap less with none": gained("found"),
    }


def embedding(lab: Lab) -> dict[str, Interval]:
    """Recall of an index made before the facts changed, and of questions embedded by another embedder than the index.

    The other embedder is a hash of the words into as many dimensions (lesson 03).
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    from labkit.rag.retrieve import Hit

    can = [item for item in lab.questions if item.evidence]
    now = [item for item in can if item.kind == "changed fact"]

    def recalls(items: Sequence[Item], found: Sequence[Sequence[Hit]]) -> list[float]:
        return [recall(item, hits) for item, hits in zip(items, found, strict=True)]

    def nearest(vectors: np.ndarray) -> list[float]:
        numbers = lab.vectors.index.search(np.asarray(vectors, np.float32), lab.profile.top_k)[1]
        return recalls(can, [[Hit(lab.vectors.chunks[n], 1.0, 1) for n in row] for row in numbers])

    asked, k = [item.question for item in can], lab.profile.top_k
    fresh, stale = (r.search_batch([i.question for i in now], k) for r in (lab.retriever(), lab.old_retriever()))
    other = HashingVectorizer(n_features=lab.embedder.dimensions).transform(asked).toarray()
    same = lab.embedder.encode(asked, query=True)
    return {
        "recall on changed facts: fresh index - stale index": paired_bootstrap(
            recalls(now, fresh), recalls(now, stale)
        ).interval,
        "recall: queries from the same embedder - from another": paired_bootstrap(
            nearest(same), nearest(other)
        ).interval,
    }


def fully_tuned(lab: Lab) -> pd.DataFrame:
    """The small company learned by all weights instead of an adapter: columns as `small.asked`, seed."""
    told = small.company().questions

    def make(seed: int) -> list[small.Row]:
        model, _ = small.learn(lab, lab.model, told, seed, full=True)
        return small.asked(lab, small.reciting(lab, "full", model), told, seed=seed)

    return small.by_seed(lab, "full tuning", make)


def adapting(lab: Lab) -> dict[str, Interval]:
    """What an adapter saves in bytes, and whether it learns as much as all weights do."""
    taken = lab.artifacts.value(lambda: _bytes(lab), what="bytes of training", base=lab.hashes["model"])
    shares = update.shares(lab)
    lora, full = shares[(shares.share == 0) & (shares.arm == "tuned")], fully_tuned(lab)
    gap = paired_bootstrap(update.by_question(lora, "tuned"), update.by_question(full, "full")).interval
    return {name: Interval(value, value, value) for name, value in taken.items()} | {
        "accuracy: lora - full tuning": gap
    }


def _bytes(lab: Lab) -> dict[str, float]:
    """Bytes of gradients and optimiser with and without an adapter, and of weights in four bits and in 32: ratios."""
    from labkit.model import load_model
    from labkit.tune.adapters import LoraSettings, add_lora, footprint, load_quantised
    from labkit.tune.prepare import Example, dataset

    p = lab.profile
    settings = LoraSettings(epochs=2, batch_size=8, rank=p.lora_rank)
    whole, squeezed = load_model(p.model_path, dtype="float32"), load_quantised(p.model_path)
    talks = closed_book(small.company().questions[:8])
    rows = dataset([Example(messages) for messages in talks], whole.tokenizer, p.context).rows
    full = footprint(whole.network, whole.tokenizer, rows, replace(settings, learning_rate=1e-4))
    lora = footprint(add_lora(whole.network, settings), whole.tokenizer, rows, settings)
    qlora = footprint(add_lora(squeezed.network, settings), whole.tokenizer, rows, replace(settings, quantised=True))
    return {
        "trained bytes: lora / full": (lora.gradients + lora.optimiser) / (full.gradients + full.optimiser),
        "bytes of the weights: qlora / full": qlora.weights / full.weights,
    }
