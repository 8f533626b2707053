"""Find chunks by meaning, by words, or by both; join searches; let a cross-encoder order what they give."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from pydantic import PrivateAttr

from labkit.errors import LabError, one_line
from labkit.rag.chunk import Chunk, to_langchain
from labkit.rag.embed import encode_with
from labkit.rag.index import FaissStore
from labkit.text import words

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


METHODS = ("dense", "bm25", "fusion", "mmr", "second", "rerank")
Pairs = list[tuple[Chunk, float]]

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

    `top_k` is how many hits come back where a call does not say; fewer come where fewer chunks fit. Raises
    `LabError` for a `top_k` below 1.
    """

    top_k: int = 5
    _kept: tuple[int, Any] = PrivateAttr((-1, None))

    def __init__(self, *parts: Any, **settings: Any) -> None:
        """Give the fields of a class by name, or in the order in which it declares them."""
        own = [name for name in type(self).model_fields if name not in Retriever.model_fields]
        super().__init__(**dict(zip(own, parts, strict=False)), **settings)

    def search(self, query: str, top_k: int | None = None) -> list[Hit]:
        """The hits for one query, best first."""
        return self.search_batch([query], top_k)[0]

    def search_batch(self, queries: Sequence[str], top_k: int | None = None) -> list[list[Hit]]:
        """The hits for each query, in the order of the queries."""
        wanted = self.top_k if top_k is None else top_k
        if wanted < 1:
            raise LabError(f"top_k is {wanted}: ask for 1 or more")
        rankings = self._find(list(queries), wanted) if queries else []
        return [
            [Hit(chunk, score, rank) for rank, (chunk, score) in enumerate(pairs[:wanted], start=1)]
            for pairs in rankings
        ]

    @abstractmethod
    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        """Chunks and scores for each query, best first; those beyond `top_k` are cut off."""

    def _prepared(self) -> Any:
        """What a subclass's `_prepare` makes of its store, made again when the store has changed."""
        if self._kept[0] != self.store.version:
            self._kept = (self.store.version, self._prepare())
        return self._kept[1]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, top_k: int | None = None, **kwargs: Any
    ) -> list[Document]:
        return [to_langchain(hit.chunk, score=hit.score, rank=hit.rank) for hit in self.search(query, top_k)]


class Dense(Retriever):
    """Nearest embeddings; scores are cosines, from -1 to 1."""

    store: FaissStore

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        vectors = encode_with(self.store.embedder, queries, query=True)
        scores, positions = self.store.search_vectors(vectors, top_k)
        for row, line in zip(positions.tolist(), scores.tolist(), strict=True):
            yield [(self.store.chunk_at(i), score) for i, score in zip(row, line, strict=True) if i >= 0]


class MMR(Retriever):
    """Maximal marginal relevance: of the `depth` nearest, near the query and unlike each other.

    Each next hit has the greatest balance * cosine to the query - (1 - balance) * cosine to the most similar hit
    above it (Carbonell & Goldstein, SIGIR 1998); `balance` 1 is the dense order. Scores are 1 / rank.
    """

    store: FaissStore
    balance: float = 0.7
    depth: int = 20

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        vectors = encode_with(self.store.embedder, queries, query=True)
        _, nearest = self.store.search_vectors(vectors, max(self.depth, top_k))
        for vector, positions in zip(vectors, nearest, strict=True):
            there = self.store.index.vectors_at(positions[positions >= 0]) if positions.size else []
            order = maximal_marginal_relevance(vector, there, self.balance, top_k) if len(there) else []
            yield [(self.store.chunk_at(positions[i]), 1 / rank) for rank, i in enumerate(order, start=1)]


@dataclass(frozen=True)
class Texts:
    """Chunks without vectors: all that BM25 needs of a store."""

    chunks: list[Chunk]
    version: int = 0


class BM25(Retriever):
    """Shared words, weighted by rarity (Robertson & Zaragoza 2009; Lucene's form, by bm25s).

    Words are stems, and stop words are left out, of the language that `language` finds in the chunks. A chunk sharing
    no word is no hit; ties keep the order of chunks. The store may change: the next search sees it as it is then.
    """

    store: Any

    def _prepare(self) -> tuple[list[Chunk], Any, Callable[[list[str]], list[str]]]:
        """The chunks, their word index, and what makes terms of words."""
        import bm25s

        chunks = self.store.chunks
        texts = [words(chunk.embedding_text) for chunk in chunks]
        terms = stems(language(texts))
        texts = [terms(text) for text in texts]
        index = bm25s.BM25() if any(texts) else None
        if index:
            index.index(texts, show_progress=False)
        return chunks, index, terms

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        chunks, index, terms = self._prepared()
        for query in queries:
            wanted = terms(words(query))
            scores = index.get_scores(wanted) if index and wanted else np.empty(0)
            best = np.argsort(-scores, kind="stable")[:top_k]
            yield [(chunks[i], float(scores[i])) for i in best if scores[i] > 0]


LANGUAGES = ("english", "danish", "dutch", "french", "german", "italian", "norwegian", "portuguese", "russian",
             "spanish", "swedish", "turkish")  # fmt: skip
"""Those of which bm25s has stop words and Snowball has stems."""


def language(texts: Sequence[Sequence[str]]) -> str:
    """The language whose stop words make up most of some texts, each a list of words; English where none do, as in a script
    that is neither Latin nor Cyrillic.

    >>> language([["der", "hammer", "liegt", "auf", "dem", "tisch"]])
    'german'
    """
    counts = Counter(chain(*texts[:: max(1, len(texts) // 500)]))
    return max(LANGUAGES, key=lambda name: sum(counts[word] for word in _stop_words(name)))


def _stop_words(name: str) -> frozenset[str]:
    import bm25s.stopwords

    return frozenset(getattr(bm25s.stopwords, f"STOPWORDS_{'EN_PLUS' if name == 'english' else name.upper()}"))


def stems(name: str) -> Callable[[list[str]], list[str]]:
    """What makes Snowball stems (Porter 2001) of words of a language, its stop words left out.

    >>> stems("english")(["how", "are", "pumps", "made"])
    ['pump', 'made']
    """
    import Stemmer

    stop, stemmer = _stop_words(name), Stemmer.Stemmer(name)
    return lambda some: stemmer.stemWords([word for word in some if word not in stop])


def reciprocal_rank_fusion(rankings: Iterable[Sequence[str]], k: int = 60) -> dict[str, float]:
    """Merge rankings of ids, best first, by the sum of 1 / (k + rank): each id with its sum, best first.

    `k` damps the lead of the top ranks; 60 is from Cormack, Clarke & Büttcher (SIGIR 2009). Ties stay in the
    order in which the ids first appear.

    >>> list(reciprocal_rank_fusion([["a", "b"], ["b", "c"]]))
    ['b', 'a', 'c']
    """
    totals: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            totals[name] = totals.get(name, 0.0) + 1 / (k + rank)
    return dict(sorted(totals.items(), key=lambda pair: -pair[1]))


class Fusion(Retriever):
    """Reciprocal-rank fusion of retrievers, each asked for `depth` hits; see `reciprocal_rank_fusion`."""

    retrievers: Sequence[Retriever]
    depth: int = 50

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        depth = max(self.depth, top_k)
        batches = [retriever.search_batch(queries, depth) for retriever in self.retrievers]
        for rankings in zip(*batches, strict=True):
            chunks = {hit.chunk.id: hit.chunk for ranking in rankings for hit in ranking}
            scores = reciprocal_rank_fusion([[hit.chunk.id for hit in ranking] for ranking in rankings])
            yield [(chunks[name], score) for name, score in scores.items()]


class SecondSearch(Retriever):
    """For questions of two hops: search, then look into the documents that the first hits mention.

    A hit mentions a document where it holds the names of that document's title, as a product's sheet holds its site's.
    A document that the question names itself is no second hop. Each of the others is asked the question with its own
    title in place of the names that the question gave; its nearest chunks follow the first `keep` hits where their
    cosine is at least `floor` of the best one of the first search. Scores are 1 / rank. A rule in the manner of
    multi-hop dense retrieval (Xiong et al., ICLR 2021), with links for the model that writes the second query.
    """

    first: Retriever
    store: FaissStore
    seeds: int = 3
    keep: int = 3
    floor: float = 0.8
    depth: int = 10

    def _find(self, queries: list[str], top_k: int) -> Iterable[Pairs]:
        rankings = self.first.search_batch(queries, max(self.depth, top_k))
        links = [
            (n, document, retitled(query, title))
            for n, (query, hits) in enumerate(zip(queries, rankings, strict=True))
            for title, document in self.mentioned(query, hits[: self.seeds]).items()
        ]
        # Queries and links in one call: embedding is what takes the time.
        vectors = encode_with(self.store.embedder, [*queries, *(text for _, _, text in links)], query=True)
        nearest: dict[int, list[tuple[float, int]]] = {}
        for (n, document, _), vector in zip(links, vectors[len(queries) :], strict=True):
            places = self._prepared()[1][document]
            near = self.store.index.vectors_at(np.array(places)) @ vector
            nearest.setdefault(n, []).extend(sorted(zip(near.tolist(), places, strict=True), reverse=True)[:2])
        # The best cosine of a plain search is the measure: a link far below it leads away from the question.
        best = self.store.search_vectors(vectors[: len(queries)], 1)[0][:, 0] if nearest else np.zeros(len(queries))
        for n, hits in enumerate(rankings):
            linked = [p for near, p in sorted(nearest.get(n, []), reverse=True) if near >= self.floor * best[n]]
            direct = [hit.chunk for hit in hits]
            order = {c.id: c for c in [*direct[: self.keep], *map(self.store.chunk_at, linked), *direct]}
            yield [(chunk, 1 / rank) for rank, chunk in enumerate(order.values(), start=1)]

    def mentioned(self, query: str, hits: Sequence[Hit]) -> dict[str, str]:
        """The documents that some hits mention and the query does not name: id by the names of the title, at most four."""
        titles, own, documents = self._prepared()[0], set(names(query)), {}
        for hit in hits:
            text = names(hit.chunk.text)
            for place, word in enumerate(text):
                for title, document in titles.get(word, []):
                    there = text[place : place + len(title)] == title and document != hit.chunk.document_id
                    if there and not own.issuperset(title):
                        documents[" ".join(title)] = document
        return dict(list(documents.items())[:4])

    def _prepare(self) -> tuple[dict[str, list[tuple[list[str], str]]], dict[str, list[int]]]:
        """Titles as names with their document, by the first name; the places of each document's chunks."""
        titles, places = {}, {}
        for place, chunk in enumerate(self.store.chunks):
            if chunk.document_id not in places and (title := names(chunk.title)):
                titles.setdefault(title[0], []).append((title, chunk.document_id))
            places.setdefault(chunk.document_id, []).append(place)
        return titles, places


def retitled(query: str, title: str) -> str:
    """A query without its own names, and with those of a title.

    >>> retitled("Who runs the site of the Delta?", "Rome")
    'Who runs the site of the ? Rome'
    """
    return " ".join([re.sub("|".join(rf"\b{re.escape(name)}\b" for name in names(query)) or "$^", "", query), title])


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
    """

    first: Retriever
    model: Any
    depth: int = 20

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
        raise LabError(f"no reranker '{name}' ({one_line(error)}): {remedy}") from error


def retriever(method: str, store: FaissStore, reranker: str | None = None, top_k: int = 5) -> Retriever:
    """The retriever of that name over a store.

    "dense", "bm25", "mmr" search once; "fusion" joins dense and bm25; "rerank" has the model `reranker` read
    what fusion found, "second" also looks into the documents that these mention. Raises `LabError` for any other name,
    and for "rerank" without a model.
    """
    check_method(method, reranker)
    if single := {"dense": Dense, "bm25": BM25, "mmr": MMR}.get(method):
        return single(store, top_k=top_k)
    both = [Dense(store), BM25(store)]
    if method == "fusion":
        return Fusion(both, top_k=top_k)
    if method == "second":
        return SecondSearch(Fusion(both), store, top_k=top_k)
    return Rerank(Fusion(both), load_reranker(reranker), top_k=top_k)


def check_method(method: str, reranker: str | None = None) -> None:
    """`LabError` unless `method` is one of `METHODS`, and has the model that it needs."""
    if method not in METHODS:
        raise LabError(f"no retriever '{method}': choose one of {', '.join(METHODS)}")
    if method == "rerank" and not reranker:
        raise LabError("'rerank' needs a cross-encoder, and this profile names none: choose laptop or gpu")
