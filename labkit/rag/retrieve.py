"""Find chunks by meaning, by words, or by both; join several searches; let a cross-encoder order what they found."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

from labkit.errors import LabError
from labkit.rag.chunk import Chunk, from_langchain, to_langchain
from labkit.rag.embed import encode_with
from labkit.rag.index import FaissStore

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from labkit.model import Model

METHODS = ("dense", "bm25", "fusion", "mmr", "second", "rerank")
Pairs = list[tuple[Chunk, float]]
Reword = Callable[[Sequence[str]], list[list[str]]]
"""Gives other wordings of each query."""

STOP_WORDS = frozenset(
    "a about an and are as at be by can could did do does for from had has have how i in into is it its me much many "
    "must my of on one or our please say so tell than that the their there these they this to under was we were what "
    "when where which who whom whose why will with would you your".split()
)


@dataclass(frozen=True)
class Hit:
    """A chunk found: `rank` counts from 1; a higher `score` is better, within one method."""

    chunk: Chunk
    score: float
    rank: int


class Search(Protocol):
    """Whatever finds passages for questions."""

    def search_batch(self, queries: Sequence[str], top_k: int) -> list[list[Hit]]:
        """The hits for each query, best first."""
        ...


class Retriever(BaseRetriever):
    """Finds chunks for a query; also a LangChain retriever, so that `invoke`, `batch` and `|` work.

    `top_k` is how many hits come back where a call does not say; fewer come where fewer chunks fit, or score
    `threshold`, if one is set. Raises `LabError` for a `top_k` below 1.

    >>> retriever.search("How heavy is the pump?", top_k=1)[0].chunk.id
    'pump.html#1'
    >>> retriever.invoke("How heavy is the pump?")[0].metadata["score"]
    0.63
    """

    top_k: int = 5
    threshold: float | None = None

    def search(self, query: str, top_k: int | None = None) -> list[Hit]:
        """The hits for one query, best first."""
        return self.search_batch([query], top_k)[0]

    def search_batch(self, queries: Sequence[str], top_k: int | None = None) -> list[list[Hit]]:
        """The hits for each query, in the order of the queries."""
        wanted = self.top_k if top_k is None else top_k
        if wanted < 1:
            raise LabError(f"top_k is {wanted}: ask for 1 or more")
        rankings = self._find(list(queries), wanted) if queries else []
        return [self._numbered(pairs[:wanted]) for pairs in rankings]

    @abstractmethod
    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        """Chunks and scores for each query, best first; those beyond `top_k` are cut off."""

    def _numbered(self, pairs: Pairs) -> list[Hit]:
        least = self.threshold
        kept = [(chunk, score) for chunk, score in pairs if least is None or score >= least]
        return [Hit(chunk, score, rank) for rank, (chunk, score) in enumerate(kept, start=1)]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, top_k: int | None = None, **kwargs: Any
    ) -> list[Document]:
        return [_document(hit) for hit in self.search(query, top_k)]


def _document(hit: Hit) -> Document:
    document = to_langchain(hit.chunk)
    document.metadata |= {"score": hit.score, "rank": hit.rank}
    return document


class OverStore(Retriever):
    """A retriever over a store, which may change: the next search sees the store as it is then."""

    store: FaissStore

    def __init__(self, store: FaissStore, **settings: Any) -> None:
        super().__init__(store=store, **settings)


class Dense(OverStore):
    """Nearest embeddings; scores are cosines, from -1 to 1. Introduced in 05_retrieve.

    >>> Dense(store).search("How heavy is the pump?", top_k=1)[0].chunk.id
    'pump.html#1'
    """

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        vectors = encode_with(self.store.embedder, queries, query=True)
        scores, positions = self.store.search_vectors(vectors, top_k)
        for row, line in zip(positions.tolist(), scores.tolist(), strict=True):
            yield [(self.store.chunk_at(i), score) for i, score in zip(row, line, strict=True) if i >= 0]


class MMR(OverStore):
    """Maximal marginal relevance: of the `depth` nearest, near the query and unlike each other.

    Each next hit has the greatest balance * cosine to the query - (1 - balance) * cosine to the likest hit
    above it (Carbonell & Goldstein, SIGIR 1998); `balance` 1 is the dense order. Scores are 1 / rank.
    Introduced in 05_retrieve.

    >>> MMR(store, balance=0.7).search("How heavy is the pump?")
    """

    balance: float = 0.7
    depth: int = 20

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        depth, search = max(self.depth, top_k), self.store.max_marginal_relevance_search_by_vector
        for vector in encode_with(self.store.embedder, queries, query=True):
            documents = search(vector, top_k, depth, self.balance)
            yield [(from_langchain(document), 1 / rank) for rank, document in enumerate(documents, start=1)]


class BM25(OverStore):
    """Shared words, weighted by rarity (Robertson & Zaragoza 2009; Lucene's form, by bm25s).

    A chunk sharing no word is no hit; ties keep the order of chunks. Introduced in 05_retrieve.

    >>> BM25(store).search("KX-200", top_k=3)
    """

    _built: tuple[int, list[Chunk], Any] | None = PrivateAttr(None)

    def _index(self) -> tuple[list[Chunk], Any]:
        """The chunks and their word index, made anew when the store has changed."""
        import bm25s

        if self._built is None or self._built[0] != self.store.version:
            version, chunks = self.store.version, self.store.chunks
            texts = [words(chunk.embedding_text) for chunk in chunks]
            index = bm25s.BM25() if any(texts) else None
            if index:
                index.index(texts, show_progress=False)
            self._built = (version, chunks, index)
        return self._built[1:]

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        chunks, index = self._index()
        for query in map(words, queries):
            scores = index.get_scores(query) if index and query else np.empty(0)
            best = np.argsort(-scores, kind="stable")[:top_k]
            yield [(chunks[i], float(scores[i])) for i in best if scores[i] > 0]


def words(text: str) -> list[str]:
    """Lower-case words and numbers, what BM25 counts.

    >>> words("The KX-200 weighs 12.5 kg")
    ['the', 'kx', '200', 'weighs', '12', '5', 'kg']
    """
    return re.findall(r"[^\W_]+", text.lower())


def rank_scores(rankings: Iterable[Sequence[str]], k: int = 60) -> dict[str, float]:
    """The score of each id in `reciprocal_rank_fusion`, best first.

    >>> rank_scores([["a"]], k=1)
    {'a': 0.5}
    """
    totals: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            totals[name] = totals.get(name, 0.0) + 1 / (k + rank)
    return dict(sorted(totals.items(), key=lambda pair: -pair[1]))


def reciprocal_rank_fusion(rankings: Iterable[Sequence[str]], k: int = 60) -> list[str]:
    """Merge rankings of ids, best first, by the sum of 1 / (k + rank).

    `k` damps the lead of the top ranks; 60 is from Cormack, Clarke & Büttcher (SIGIR 2009). Ties stay in the
    order in which the ids first appear. Introduced in 05_retrieve.

    >>> reciprocal_rank_fusion([["a", "b"], ["b", "c"]])
    ['b', 'a', 'c']
    """
    return list(rank_scores(rankings, k))


def _fuse(rankings: Sequence[Sequence[Hit]], k: int = 60) -> Pairs:
    """The chunks of several rankings with their reciprocal-rank score, best first."""
    chunks = {hit.chunk.id: hit.chunk for ranking in rankings for hit in ranking}
    scores = rank_scores([[hit.chunk.id for hit in ranking] for ranking in rankings], k)
    return [(chunks[name], score) for name, score in scores.items()]


class Fusion(Retriever):
    """Reciprocal-rank fusion of retrievers, each asked for `depth` hits; see `reciprocal_rank_fusion`.

    >>> Fusion([Dense(store), BM25(store)]).search("weight of the KX-200")
    """

    retrievers: Sequence[Retriever]
    k: int = 60
    depth: int = 50

    def __init__(self, retrievers: Sequence[Retriever], **settings: Any) -> None:
        super().__init__(retrievers=retrievers, **settings)

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        depth = max(self.depth, top_k)
        batches = [retriever.search_batch(queries, depth) for retriever in self.retrievers]
        return [_fuse(rankings, self.k) for rankings in zip(*batches, strict=True)]


class MultiQuery(Retriever):
    """The query and other wordings of it, each searched, the rankings fused. Introduced in 05_retrieve.

    `reword` is `reword_by_rule`, or a model's `reword_with(model)`.

    >>> MultiQuery(Dense(store), reword_by_rule).search("Tell me, how heavy is the KX-200?")
    """

    first: Retriever
    reword: Reword
    k: int = 60
    depth: int = 50

    def __init__(self, first: Retriever, reword: Reword, **settings: Any) -> None:
        super().__init__(first=first, reword=reword, **settings)

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        wordings = [list(dict.fromkeys([q, *others])) for q, others in zip(queries, self.reword(queries), strict=True)]
        rankings = iter(self.first.search_batch(list(chain(*wordings)), max(self.depth, top_k)))
        return [_fuse([next(rankings) for _ in group], self.k) for group in wordings]


def reword_by_rule(queries: Sequence[str]) -> list[list[str]]:
    """Three rewordings without a model: without its lead-in, key words only, names and numbers only.

    >>> reword_by_rule(["For my notes: What does the Delta 4 weigh?"])
    [['What does the Delta 4 weigh?', 'weigh Delta 4', 'Delta 4']]
    """
    return [[wording for wording in _wordings(query) if wording] for query in queries]


def _wordings(query: str) -> tuple[str, str, str]:
    bare = re.sub(r"^(?:[^:?]{1,40}:|(?:[\w']+\s){0,5}[\w']+,)\s(?=\S)", "", query)  # "For my notes: ", "Tell me, "
    key = [word for word in re.findall(r"\w[\w'.,-]*\w|\w", bare) if word.lower() not in STOP_WORDS]
    return bare, " ".join(key), " ".join(names(bare))


def reword_with(model: Model, count: int = 3) -> Reword:
    """Other wordings from a language model: the first `count` lines of what it says, unlike the query.

    >>> MultiQuery(Dense(store), reword_with(load_model("Qwen/Qwen3-0.6B")))
    """

    def reword(queries: Sequence[str]) -> list[list[str]]:
        ask = f"Write {count} other wordings of this question, one on each line, nothing else.\n\nQuestion: "
        prompts = [[{"role": "user", "content": ask + query}] for query in queries]
        lists = [answer.text.splitlines() for answer in model.generate(prompts, max_new_tokens=128)]
        plain = [[re.sub(r"^\W*(?:\d+[.)])?\s*", "", line).strip() for line in lines] for lines in lists]
        return [[line for line in lines if line and line != q][:count] for q, lines in zip(queries, plain, strict=True)]

    return reword


class SecondSearch(Retriever):
    """For questions of two hops: search, put what the first `seeds` hits name into the query, search again.

    From each of these hits come the lines that share most names with the query; the names in them that the
    query lacks are added to it. The first `keep` hits of the first search stay in front, those of the second
    searches follow in turns; scores are 1 / rank. A rule in the manner of multi-hop dense retrieval (Xiong et
    al., ICLR 2021), without a model. Introduced in 05_retrieve.

    >>> SecondSearch(Dense(store)).search("Who runs the site where the KX-200 is made?")
    """

    first: Retriever
    seeds: int = 3
    keep: int = 3
    depth: int = 10

    def __init__(self, first: Retriever, **settings: Any) -> None:
        super().__init__(first=first, **settings)

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        depth = max(self.depth, top_k)
        first = self.first.search_batch(queries, depth)
        pairs = zip(queries, first, strict=True)
        seeds = [[seed(query, hit.chunk.text) for hit in hits[: self.seeds]] for query, hits in pairs]
        second = iter(self.first.search_batch(list(chain(*seeds)), depth))
        for hits, group in zip(first, seeds, strict=True):
            yield self._merge(hits, [next(second) for _ in group])

    def _merge(self, hits: list[Hit], second: list[list[Hit]]) -> Pairs:
        in_turns = [hit for turn in zip_longest(*second) for hit in turn if hit]
        order = {hit.chunk.id: hit.chunk for hit in [*hits[: self.keep], *in_turns, *hits]}
        return [(chunk, 1 / rank) for rank, chunk in enumerate(order.values(), start=1)]


def seed(query: str, text: str) -> str:
    """The query with the names that `text` adds to it, from the lines that share most names with the query.

    >>> seed("Who runs the site of the Delta?", "The Delta is made in Rome. Ask Ann.")
    'Who runs the site of the Delta? Rome'
    """
    own = set(names(query))
    lines = [names(line) for line in re.split(r"\n|(?<=[.!?])\s", text)]
    most = max(len(own & set(line)) for line in lines)
    new = dict.fromkeys(name for line in lines if len(own & set(line)) == most for name in line if name not in own)
    return " ".join([query, *new])


def names(text: str) -> list[str]:
    """Words that begin with a capital, and numbers; no stop words. What names things in a passage.

    >>> names("The Delta 4 of Rome.")
    ['Delta', '4', 'Rome']
    """
    tokens = re.findall(r"\w[\w.,:'-]*\w|\w", text)
    return [word for word in tokens if (word[0].isupper() or word[0].isdigit()) and word.lower() not in STOP_WORDS]


class Rerank(Retriever):
    """The first `depth` hits of a retriever, ordered by a cross-encoder; scores run from 0 to 1.

    An embedder must say all about a passage before it knows the question; a cross-encoder reads both at once:
    slower by far, and usually better at the top (Nogueira & Cho, 2019).

    >>> Rerank(Dense(store), load_reranker("cross-encoder/ms-marco-MiniLM-L6-v2")).search("How heavy is the pump?")
    """

    first: Retriever
    model: Any
    depth: int = 20

    def __init__(self, first: Retriever, model: CrossEncoder, **settings: Any) -> None:
        super().__init__(first=first, model=model, **settings)

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        rankings = self.first.search_batch(queries, max(self.depth, top_k))
        texts = [(q, hit.chunk.embedding_text) for q, hits in zip(queries, rankings, strict=True) for hit in hits]
        scores = iter(self.model.predict(texts, show_progress_bar=False).tolist() if texts else [])
        for hits in rankings:
            scored = [(hit.chunk, next(scores)) for hit in hits]
            yield sorted(scored, key=lambda pair: -pair[1])


def load_reranker(name: str | Path) -> CrossEncoder:
    """The cross-encoder in that folder or under that hub id, from safetensors; no code of its own runs.

    It gives one score for a query and a passage, here as a probability: models trained on MS MARCO emit logits
    of any size. Raises `LabError` for what cannot be loaded, and for a model without a trained, single score.

    >>> load_reranker("BAAI/bge-reranker-base").predict([("How heavy is it?", "It weighs 12 kilograms.")])
    """
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoConfig

    remedy = "give the folder or hub id of a cross-encoder"
    try:
        config = AutoConfig.from_pretrained(str(name), trust_remote_code=False)
        trained = [kind for kind in config.architectures or [] if kind.endswith("ForSequenceClassification")]
        if not trained or config.num_labels != 1:
            raise LabError(f"{name} does not score pairs of texts: {remedy}")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options: dict[str, Any] = {"trust_remote_code": False, "model_kwargs": {"use_safetensors": True}}
        return CrossEncoder(str(name), device=device, activation_fn=torch.nn.Sigmoid(), **options)
    except (OSError, ValueError, KeyError) as error:
        raise LabError(f"no reranker '{name}' ({' '.join(str(error).split())[:120]}): {remedy}") from error


def retriever(method: str, store: FaissStore, reranker: str | None = None, **settings: Any) -> Retriever:
    """The retriever of that name over a store, with its settings.

    "dense", "bm25", "mmr" search once; "fusion" joins dense and bm25; "rerank" has the model `reranker` read
    what fusion found, "second" searches again with what fusion found. Raises `LabError` for any other name,
    and for "rerank" without a model. Introduced in 05_retrieve.

    >>> retriever("fusion", store, top_k=3).search("How heavy is the pump?")
    """
    check_method(method, reranker)
    if single := {"dense": Dense, "bm25": BM25, "mmr": MMR}.get(method):
        return single(store, **settings)
    if method == "fusion":
        return Fusion([Dense(store), BM25(store)], **settings)
    if method == "second":
        return SecondSearch(Fusion([Dense(store), BM25(store)]), **settings)
    return Rerank(Fusion([Dense(store), BM25(store)]), load_reranker(reranker), **settings)


def check_method(method: str, reranker: str | None = None) -> None:
    """`LabError` unless `method` is one of `METHODS`, and has the model that it needs."""
    if method not in METHODS:
        raise LabError(f"no retriever '{method}': choose one of {', '.join(METHODS)}")
    if method == "rerank" and not reranker:
        raise LabError("'rerank' needs a cross-encoder, and this profile names none: choose laptop or gpu")
