"""Measure a retriever on an outside test collection in BEIR's layout."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from labkit.errors import LabError
from labkit.metrics import mrr, ndcg_at_k, ranked, recall_at_k
from labkit.profile import resolve, runs_folder
from labkit.rag.chunk import Chunk
from labkit.rag.embed import Embedder, load_embedder
from labkit.rag.index import FaissStore
from labkit.rag.retrieve import Retriever, retriever
from labkit.stats import bootstrap_mean

T = TypeVar("T")
DEPTH = 100


@dataclass(frozen=True)
class Collection:
    """Passages and queries as {id: text}, and how relevant which passages are, as {query id: {passage id: grade}}."""

    passages: Mapping[str, str]
    queries: Mapping[str, str]
    judged: Mapping[str, Mapping[str, int]]


def read_collection(folder: str | Path) -> Collection:
    """What lies in a folder as corpus.jsonl, queries.jsonl and qrels/test.tsv (Thakur et al., NeurIPS 2021).

    A passage's text is its title, if it has one, then its text, as BEIR's own code has it. Only queries with a
    relevant passage are kept: the others have no score. Raises `LabError` naming a file that is missing or the
    line of it that is wrong.

    >>> len(read_collection("scifact").queries)
    300
    """
    folder = Path(folder)
    judged: dict[str, dict[str, int]] = {}
    for _, (query, passage, grade) in _lines(folder / "qrels" / "test.tsv", _judgement):
        judged.setdefault(query, {})[passage] = grade
    judged = {query: grades for query, grades in judged.items() if max(grades.values()) > 0}
    queries = _texts(folder / "queries.jsonl")
    if not judged or (unknown := next((query for query in judged if query not in queries), None)) is not None:
        lacks = f"names query {unknown!r}, which queries.jsonl lacks" if judged else "names no relevant passage"
        raise LabError(f"{folder / 'qrels' / 'test.tsv'} {lacks}: the three files must belong together")
    passages = _texts(folder / "corpus.jsonl")
    if not passages:
        raise LabError(f"{folder / 'corpus.jsonl'} holds no passage: give the whole collection")
    return Collection(passages, {query: queries[query] for query in judged}, judged)


def _texts(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, (name, text) in _lines(path, _text):
        if name in texts:
            raise LabError(f"{path}, line {number} repeats the _id {name!r}: give each its own")
        texts[name] = text
    return texts


def _text(line: str) -> tuple[str, str]:
    row = json.loads(line)
    title, text = row.get("title") or "", row["text"]
    if not isinstance(title, str) or not isinstance(text, str):
        raise TypeError("title and text must be texts")
    return str(row["_id"]), f"{title} {text}".strip()


def _judgement(line: str) -> tuple[str, str, int] | None:
    query, passage, grade = line.split("\t")
    if grade.strip() == "score":  # the heading
        return None
    return query, passage, int(grade)


def _lines(path: Path, parse: Callable[[str], T | None]) -> Iterator[tuple[int, T]]:
    try:
        with path.open("rb") as lines:
            for number, raw in enumerate(lines, start=1):
                if raw.strip():
                    value = _parsed(raw, parse, f"{path}, line {number}")
                    if value is not None:
                        yield number, value
    except OSError as error:
        raise LabError(
            f"cannot read {path} ({error.strerror}): a BEIR folder holds corpus.jsonl, queries.jsonl, qrels/test.tsv"
        ) from error


def _parsed(raw: bytes, parse: Callable[[str], T | None], place: str) -> T | None:
    try:
        return parse(raw.decode("utf-8-sig").rstrip("\r\n"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        shape = "query-id, corpus-id and score between tabs" if parse is _judgement else '{"_id": ..., "text": ...}'
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:80]
        raise LabError(f"{place} is not {shape} ({reason}): mend or remove it") from error


def evaluate(
    collection: Collection, embedder: Embedder, make: Callable[[Any], Retriever], progress: bool = True
) -> dict[str, Any]:
    """Index the passages, ask every query, and score the rankings: {"nDCG@10": ..., "per_query": {...}, ...}.

    `make` builds the retriever over the store. A passage that is the query itself, same id and text, is no hit,
    as in BEIR's evaluation. Ties are broken as in trec_eval.

    >>> evaluate(read_collection("scifact"), load_embedder("bundled"), Dense)["nDCG@10"]
    0.645
    """
    began, computed = time.perf_counter(), embedder.computed
    search = make(_indexed(collection.passages, embedder, progress))
    indexed, embedded = time.perf_counter(), embedder.computed - computed
    rows = [_scores(ranking, collection.judged[name]) for name, ranking in _rankings(collection, search, progress)]
    ended = time.perf_counter()
    per_query = {metric: [row[metric] for row in rows] for metric in rows[0]}
    return {
        **{metric: sum(values) / len(values) for metric, values in per_query.items()},
        "passages": len(collection.passages),
        "queries": len(collection.queries),
        "embedded": embedded,
        "seconds": ended - began,
        "index_seconds": indexed - began,
        "search_seconds": ended - indexed,
        "per_query": per_query,
    }


def _indexed(passages: Mapping[str, str], embedder: Embedder, progress: bool) -> Any:
    """Embedded in groups, so that progress shows and, with a cache, a kill loses little."""
    store, chunks = FaissStore(embedder), [Chunk(name, name, "", text, 0, len(text)) for name, text in passages.items()]
    with tqdm(total=len(chunks), desc="indexing", unit="passage", disable=not progress) as bar:
        for start in range(0, len(chunks), 256):
            store.add_chunks(chunks[start : start + 256])
            bar.update(len(chunks[start : start + 256]))
    return store


def _rankings(collection: Collection, search: Retriever, progress: bool) -> Iterator[tuple[str, list[str]]]:
    queries = list(collection.queries.items())
    with tqdm(total=len(queries), desc="searching", unit="query", disable=not progress) as bar:
        for start in range(0, len(queries), 64):
            group = queries[start : start + 64]
            batch = search.search_batch([text for _, text in group], DEPTH + 1)
            for (name, text), hits in zip(group, batch, strict=True):
                scores = {hit.chunk.id: hit.score for hit in hits if (hit.chunk.id, hit.chunk.text) != (name, text)}
                yield name, ranked(scores)[:DEPTH]
            bar.update(len(group))


def _scores(ranking: list[str], grades: Mapping[str, int]) -> dict[str, float]:
    gains = {name: float(grade) for name, grade in grades.items() if grade > 0}
    return {
        "nDCG@10": ndcg_at_k(ranking, gains, 10),
        "recall@100": recall_at_k(ranking, gains, DEPTH),
        "MRR@10": mrr(ranking[:10], gains),
    }


def evaluate_profile(folder: str | Path, method: str, profile: str, progress: bool = True) -> dict[str, Any]:
    """`evaluate` one way of searching with the embedder of a profile, in float32, so that plain runs agree.

    Vectors are kept under `runs/vectors`: a run that was stopped goes on from there. Raises `LabError` as
    `read_collection` and `retriever` do.
    """
    settings = resolve(profile)
    collection = read_collection(folder)
    embedder = load_embedder(settings.embedder, "float32", cache_dir=runs_folder() / "vectors")
    result = evaluate(collection, embedder, lambda store: retriever(method, store, settings.reranker), progress)
    return {"method": method, "embedder": settings.embedder, **result}


def summary(result: Mapping[str, Any]) -> list[str]:
    """The result of `evaluate_profile` in lines: means with 95 % intervals over queries, seconds, and last JSON."""
    lines = [f"{result['method']}: {result['queries']} queries over {result['passages']} passages"]
    for metric, values in result["per_query"].items():
        share = bootstrap_mean(values)
        lines.append(f"{metric:11} {share.mean:.4f} ({share.low:.4f} to {share.high:.4f})")
    seconds = f"{result['index_seconds']:.1f} indexing, {result['search_seconds']:.1f} searching"
    lines.append(f"{'seconds':11} {result['seconds']:.1f} ({seconds}; {result['embedded']} texts embedded now)")
    return [*lines, json.dumps({key: value for key, value in result.items() if key != "per_query"})]
