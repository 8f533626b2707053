"""Several rankings become one: of several retrievers, several wordings, several searches. Introduced in 05_retrieve."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from labkit.rag.chunk import Chunk
from labkit.rag.retrieve_base import Hit, Retriever

if TYPE_CHECKING:
    from labkit.model import Model

Pairs = list[tuple[Chunk, float]]
Reword = Callable[[Sequence[str]], list[list[str]]]
"""Gives other wordings of each query."""

STOP_WORDS = frozenset(
    "a about an and are as at be by can could did do does for from had has have how i in into is it its me much many "
    "must my of on one or our please say so tell than that the their there these they this to under was we were what "
    "when where which who whom whose why will with would you your".split()
)


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


def fuse(rankings: Sequence[Sequence[Hit]], k: int = 60) -> Pairs:
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
        answers = [retriever.search_batch(queries, depth) for retriever in self.retrievers]
        return [fuse(rankings, self.k) for rankings in zip(*answers, strict=True)]


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
        found = iter(self.first.search_batch(list(chain(*wordings)), max(self.depth, top_k)))
        return [fuse([next(found) for _ in group], self.k) for group in wordings]


def reword_by_rule(queries: Sequence[str]) -> list[list[str]]:
    """Three rewordings without a model: without its lead-in, key words only, names and numbers only.

    >>> reword_by_rule(["For my notes: What does the Delta 4 weigh?"])
    [['What does the Delta 4 weigh?', 'weigh Delta 4', 'Delta 4']]
    """
    return [[wording for wording in _wordings(query) if wording] for query in queries]


def _wordings(query: str) -> tuple[str, str, str]:
    asked = re.sub(r"^(?:[^:?]{1,40}:|(?:[\w']+\s){0,5}[\w']+,)\s(?=\S)", "", query)
    found = re.findall(r"\w[\w'.,-]*\w|\w", asked)
    key = [word for word in found if word.lower() not in STOP_WORDS]
    return asked, " ".join(key), " ".join(names(asked))


def reword_with(model: Model, count: int = 3) -> Reword:
    """Other wordings from a language model: the first `count` lines of what it says, unlike the query.

    >>> MultiQuery(Dense(store), reword_with(load_model("Qwen/Qwen3-0.6B")))
    """

    def reword(queries: Sequence[str]) -> list[list[str]]:
        ask = f"Write {count} other wordings of this question, one on each line, nothing else.\n\nQuestion: "
        made = model.generate([[{"role": "user", "content": ask + query}] for query in queries], max_new_tokens=128)
        lines = [[re.sub(r"^\W*(?:\d+[.)])?\s*", "", line).strip() for line in g.text.splitlines()] for g in made]
        return [[line for line in said if line and line != q][:count] for q, said in zip(queries, lines, strict=True)]

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
        began = self.first.search_batch(queries, depth)
        pairs = zip(queries, began, strict=True)
        seeded = [[seed(query, hit.chunk.text) for hit in hits[: self.seeds]] for query, hits in pairs]
        found = iter(self.first.search_batch(list(chain(*seeded)), depth))
        for hits, group in zip(began, seeded, strict=True):
            yield self._merge(hits, [next(found) for _ in group])

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
    told = dict.fromkeys(name for line in lines if len(own & set(line)) == most for name in line if name not in own)
    return " ".join([query, *told])


def names(text: str) -> list[str]:
    """Words that begin with a capital, and numbers; no stop words. What names things in a passage.

    >>> names("The Delta 4 of Rome.")
    ['Delta', '4', 'Rome']
    """
    found = re.findall(r"\w[\w.,:'-]*\w|\w", text)
    return [word for word in found if (word[0].isupper() or word[0].isdigit()) and word.lower() not in STOP_WORDS]
