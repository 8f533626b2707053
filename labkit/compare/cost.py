"""What each arm costs: where an answer's time goes, what setting up takes, how it grows.

`python -m labkit.compare.cost ARM SEED PROFILE SIZE` sets one arm up in a process of its own and prints what that took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from labkit.compare import small
from labkit.compare.arms import ARMS, passages
from labkit.compare.experiment import ask_arms, in_turn
from labkit.compare.small import by_question
from labkit.model import greedy
from labkit.rag.augment import build_messages
from labkit.rag.index import VectorIndex, more_vectors
from labkit.stats import Interval, bootstrap, bootstrap_mean, paired_bootstrap, paired_ratio, unpaired_bootstrap

if TYPE_CHECKING:
    import pandas as pd

    from labkit.compare.arms import Arm
    from labkit.compare.lab import Lab

Row = small.Row
BUDGETS = (5, 20, small.EPOCHS)  # epochs of the tuned arm on the small company
SIZES = (1_000, 10_000, 100_000, 1_000_000)
SHARDS = (1, 2, 4, 8)
SHARDED = 100_000  # vectors that are spread over shards
WIDTHS = (128, 256, 512)
BATCH = 50_000
NEAREST = 10


@small.study("cost split", reads=True)
def split(lab: Lab) -> list[Row]:
    """Where an answer's time goes, one question at a time, each arm over the same spread of questions.

    Milliseconds to embed the question, to search, to read the prompt (prefill) and to write (decode); processor seconds
    of all; tokens read and written. The arms take turns.
    """
    arms = in_turn(lab, {name: lab.arm(name) for name in ARMS})
    return [{"arm": name, "id": item.id, **_time(lab, arm, item.question)} for name, arm, item in arms]


def _time(lab: Lab, arm: Arm, question: str) -> Row:
    """One answer, whole and not looked up; then its first stages once more alone, so that each has its share."""
    arm = replace(arm, cache=None)
    began, processor = time.perf_counter(), time.process_time()
    answer = arm.answer([question])[0]
    whole, spent = time.perf_counter() - began, time.process_time() - processor
    began = time.perf_counter()
    if arm.retriever:
        lab.embedder.encode([question], query=True)
    embed = time.perf_counter() - began
    prompt = arm.model.encode(build_messages(question, passages(answer.hits), system=arm.system))
    began = time.perf_counter()
    greedy(arm.model.network, [prompt], {-1}, 1)
    prefill = time.perf_counter() - began
    search, decode = answer.retrieval_seconds - embed, answer.generation_seconds - prefill
    stages = {"embed": embed, "search": search, "prefill": prefill, "decode": decode, "total": whole}
    tokens = {"processor": spent, "read": answer.prompt_tokens, "written": answer.output_tokens}
    return {name: 1000 * max(0.0, seconds) for name, seconds in stages.items()} | tokens


@small.study("cost of setting up")
def setting_up(lab: Lab) -> list[Row]:
    """Seconds, and peak memory in MB, of setting each arm up on the small company, each in a fresh process, by seed."""
    rows = []
    for arm in ("rag", "tuned", "hybrid"):
        for seed in lab.profile.seeds:
            words = ["-m", "labkit.compare.cost", arm, str(seed), lab.profile.name, lab.size]
            rows.append({"arm": arm, "seed": seed, **json.loads(small.alone(words, f"setting {arm} up failed"))})
    return rows


def set_up(lab: Lab, arm: str, seed: int) -> float:
    """Seconds from documents, or pairs, to an arm that could answer; loading the models is not counted."""
    from labkit.rag.retrieve import retriever

    company = small.company()
    store, seconds = small.reindex(lab, [], company.documents)
    if arm == "rag":
        return seconds
    read = retriever(lab.profile.method, store, lab.profile.reranker) if arm == "hybrid" else None
    epochs = lab.profile.hybrid_epochs if read else small.EPOCHS
    return small.learn(lab, lab.model, company.questions, seed, epochs, read)[1] + (seconds if read else 0.0)


@small.study("cost by budget")
def by_budget(lab: Lab) -> list[Row]:
    """The tuned arm after more and more training on the small company, and RAG: columns as `small.ask`, seconds."""
    company = small.company()
    store, seconds = small.reindex(lab, [], company.documents)
    rag = small.readers(lab, lab.profile.seeds[0], store)[0]
    rows = small.ask(lab, rag, company.questions, seconds=seconds, seed=0)
    for seed in lab.profile.seeds:
        for epochs in BUDGETS:
            model, seconds = small.learn(lab, lab.model, company.questions, seed, epochs)
            about = {"seconds": seconds, "seed": seed, "epochs": epochs}
            rows += small.ask(lab, small.reciter(lab, "tuned", model), company.questions, **about)
    return rows


def _known(lab: Lab) -> tuple[np.ndarray, np.ndarray]:
    """The real vectors, which more are made like, and those of forty questions."""
    queries = lab.embedder.encode([item.question for item in lab.questions[:40]], query=True)
    return lab.vectors.index.vectors_at(np.arange(len(lab.vectors))), queries


def _alike(real: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """`count` vectors like the real ones, a batch at a time."""
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        yield more_vectors(real, len(real) + size, seed=start)[len(real) :]


def _flat(batches: Iterator[np.ndarray] | list[np.ndarray]) -> VectorIndex:
    """A flat index in half precision."""
    index = VectorIndex("SQfp16")
    for batch in batches:
        index.add(batch)
    return index


def _each(index: VectorIndex, queries: np.ndarray) -> list[float]:
    """Milliseconds of each search, on one thread, after one to warm up."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index.search(queries[:1], NEAREST)
        spent = []
        for number in range(len(queries)):
            began = time.perf_counter()
            index.search(queries[number : number + 1], NEAREST)
            spent.append(1000 * (time.perf_counter() - began))
        return spent
    finally:
        faiss.omp_set_num_threads(threads)


@small.study("growth of vectors")
def vectors(lab: Lab) -> list[Row]:
    """Milliseconds of each of 40 searches through more and more vectors, on one thread: columns vectors, question, ms."""
    real, queries = _known(lab)
    sizes = SIZES if lab.size == "full" else SIZES[:2]
    return [
        {"vectors": size, "question": number, "ms": spent}
        for size in sizes
        for number, spent in enumerate(_each(_flat(_alike(real, size)), queries))
    ]


@small.study("growth of shards")
def shards(lab: Lab) -> list[Row]:
    """Recall of the ten nearest, and milliseconds of the slowest shard, with the same vectors on one to eight shards.

    Each shard gives its ten nearest, and the ten best of all are kept: columns shards, question, recall, ms.
    """
    real, queries = _known(lab)
    total = SHARDED if lab.size == "full" else 4_000
    whole = _flat(_alike(real, total))
    stored, wanted, rows = whole.vectors_at(np.arange(total)), whole.search(queries, NEAREST)[1], []
    for count in SHARDS:
        scores, numbers, spent = [], [], []
        for part in np.array_split(np.arange(total), count):
            shard = _flat([stored[part]])
            spent.append(_each(shard, queries))
            near = shard.search(queries, NEAREST)
            scores.append(near[0])
            numbers.append(part[near[1]])
        best = np.argsort(-np.hstack(scores), axis=1)[:, :NEAREST]
        merged = np.take_along_axis(np.hstack(numbers), best, axis=1)
        for number, (row, right, ms) in enumerate(zip(merged, wanted, np.max(spent, axis=0), strict=True)):
            recall = float(np.isin(right, row).mean())
            rows.append({"shards": count, "question": number, "recall": recall, "ms": float(ms)})
    return rows


@small.study("growth of width")
def widths(lab: Lab) -> list[Row]:
    """Seconds of a training step of models like the pocket one, but narrower and wider, untrained: width, step, seconds."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    rows = []
    for width in WIDTHS if lab.size == "full" else WIDTHS[:2]:
        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=len(lab.model.tokenizer), hidden_size=width, intermediate_size=2 * width,
            num_hidden_layers=6, num_attention_heads=width // 64, num_key_value_heads=width // 64, head_dim=64,
            max_position_embeddings=2048, tie_word_embeddings=True, rope_theta=10000.0,
        )  # fmt: skip
        network = Qwen3ForCausalLM(config).train()
        optimizer = torch.optim.AdamW(network.parameters(), fused=True)
        ids = torch.randint(3, 1000, (16, 128), generator=torch.Generator().manual_seed(0))
        for step in range(-1, 5):
            began = time.perf_counter()
            network(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            rows += [{"width": width, "step": step, "seconds": time.perf_counter() - began}]
    return [row for row in rows if row["step"] >= 0]  # the first step warms up


def per_doubling(wide: pd.DataFrame) -> Interval:
    """By how much a cost is multiplied when its cause doubles: columns are causes, rows repeated measurements."""
    causes, costs = np.log2(wide.columns.to_numpy(float)), wide.to_numpy(float)
    centred = causes - causes.mean()

    def slope(i: np.ndarray) -> np.ndarray:
        means = np.log2(np.median(costs[i], axis=1))
        return 2 ** ((means * centred).sum(-1) / (centred**2).sum())

    return bootstrap(slope, len(costs))


def figures(lab: Lab) -> dict[str, Interval]:
    """What the claims about cost need, each by its name in claims.yaml."""
    spent, setup = split(lab), setting_up(lab)
    total, processor, read = (spent.pivot(index="id", columns="arm", values=c) for c in ("total", "processor", "read"))
    seconds, memory = (setup.pivot(index="seed", columns="arm", values=c) for c in ("seconds", "peak_mb"))
    spread = shards(lab).pivot(index="question", columns="shards", values="recall")
    searched = vectors(lab).pivot(index="question", columns="vectors", values="ms")
    trained = widths(lab).pivot(index="step", columns="width", values="seconds")
    return {
        "milliseconds an answer: rag - tuned": paired_bootstrap(total.rag, total.tuned).interval,
        "milliseconds an answer: rag / tuned": paired_ratio(total.rag, total.tuned),
        "prompt tokens: rag / tuned": paired_ratio(read.rag, read.tuned),
        "processor seconds a question: rag / tuned": paired_ratio(processor.rag, processor.tuned),
        "processor seconds a question: rag - tuned": paired_bootstrap(processor.rag, processor.tuned).interval,
        "seconds of setting up: tuned / rag": paired_ratio(seconds.tuned, seconds.rag),
        "seconds of setting up: tuned - rag": paired_bootstrap(seconds.tuned, seconds.rag).interval,
        "peak memory of setting up: tuned / rag": paired_ratio(memory.tuned, memory.rag),
        **{
            f"cost of 1,000 questions: {arm} / rag": paired_ratio(
                seconds[arm].mean() + 1000 * processor[arm], seconds.rag.mean() + 1000 * processor.rag
            )
            for arm in ("tuned", "hybrid")
        },
        "recall with 8 shards less with one": bootstrap_mean(spread[8] - spread[1]),
        "search time per doubling of the vectors": per_doubling(searched),
        "training time per doubling of the width": per_doubling(trained),
    } | _quality(lab)


def _quality(lab: Lab) -> dict[str, Interval]:
    """Right and in style for the time of setting up: RAG, and the longest tuning that a time allows."""
    budget = by_budget(lab)
    rag, tuned = (budget[budget.arm == arm] for arm in ("rag", "tuned"))
    means = tuned.groupby("epochs").seconds.mean()

    def within(seconds: float, column: str = "correct") -> np.ndarray:
        allowed = [epochs for epochs, took in means.items() if took <= seconds] or [means.idxmin()]
        return by_question(tuned[tuned.epochs == max(allowed)], "tuned", column)

    right, most, style = by_question(rag, "rag"), within(np.inf), by_question(rag, "rag", "style")
    all_data = ask_arms(lab, ["rag"]).query("kind == 'single fact'").correct.to_numpy(float)
    rag_seconds, tuned_seconds = float(rag.seconds.mean()), float(means[max(BUDGETS)])

    def for_a_second(i: np.ndarray) -> np.ndarray:
        return (right[i].mean(-1) / rag_seconds) / np.maximum(most[i].mean(-1) / tuned_seconds, 1e-9)

    return {
        "accuracy with a tenth of the data: rag - tuned": paired_bootstrap(right, most).interval,
        "accuracy with a tenth of the data less with all: rag": unpaired_bootstrap(right, all_data),
        "accuracy within a minute of setting up: rag - tuned": paired_bootstrap(right, within(60)).interval,
        "style within five minutes of setting up: tuned - rag": paired_bootstrap(within(300, "style"), style).interval,
        "accuracy for a second of setting up: rag / tuned": bootstrap(for_a_second, len(right)),
    }


if __name__ == "__main__":
    import labkit
    from labkit.store import peak_rss_mb

    name, number, profile, size = sys.argv[1:]
    took = set_up(labkit.open(profile, size=size, progress=False), name, int(number))
    print(json.dumps({"seconds": took, "peak_mb": peak_rss_mb()}))
