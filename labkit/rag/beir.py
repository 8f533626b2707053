"""Measure a way of searching on an outside test collection in BEIR's layout: `labkit retrieve`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import LabError, one_line
from labkit.metrics import average_precision, mrr, ndcg_at_k, ranked, recall_at_k
from labkit.profile import resolve
from labkit.quiet import bar
from labkit.rag.chunk import Chunk
from labkit.rag.embed import Embedder, load_embedder
from labkit.rag.index import FaissStore
from labkit.rag.retrieve import Retriever, Texts, retriever
from labkit.stats import bootstrap_mean
from labkit.store import runs_folder

DEPTH = 100
"""Hits of a query that are scored on an outside collection."""


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
    """
    folder = Path(folder)
    judged: dict[str, dict[str, int]] = {}
    for _, (query, passage, grade) in _lines(folder / "qrels" / "test.tsv", _judgement):
        judged.setdefault(query, {})[passage] = grade
    judged = {query: grades for query, grades in judged.items() if max(grades.values()) > 0}
    queries, passages = _texts(folder / "queries.jsonl"), _texts(folder / "corpus.jsonl")
    if unknown := sorted(judged.keys() - queries.keys()):
        raise LabError(
            f"{folder}/qrels/test.tsv names query {unknown[0]!r}, which queries.jsonl lacks: correct the files"
        )
    if not judged or not passages:
        lack = "corpus.jsonl holds no passage" if judged else "qrels/test.tsv names no relevant passage"
        raise LabError(f"{folder}/{lack}: give the whole collection")
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


def _judgement(line: str) -> tuple[str, str, int]:
    query, passage, grade = line.split("\t")
    return query, passage, 0 if grade.strip() == "score" else int(grade)  # the heading, which then is no judgement


def _lines(path: Path, parse: Callable[[str], Any]) -> Iterator[tuple[int, Any]]:
    """Each line that is not blank, with its number from 1, as `parse` reads it."""
    try:
        with path.open("rb") as lines:
            for number, raw in enumerate(lines, start=1):
                if raw.strip():
                    yield number, parse(raw.decode("utf-8-sig").rstrip("\r\n"))
    except OSError as error:
        layout = "a BEIR folder holds corpus.jsonl, queries.jsonl, qrels/test.tsv"
        raise LabError(f"cannot read {path} ({error.strerror}): {layout}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        shape = "query-id, corpus-id and score between tabs" if parse is _judgement else '{"_id": ..., "text": ...}'
        reason = one_line(f"{type(error).__name__}: {error}", 80)
        raise LabError(f"{path}, line {number} is not {shape} ({reason}): correct or remove it") from error


def evaluate(
    collection: Collection, embedder: Embedder | None, make: Callable[[Any], Retriever], progress: bool = True
) -> dict[str, Any]:
    """Index the passages, ask every query, and score the rankings: {"nDCG@10": ..., "per_query": {...}, ...}.

    `make` builds the retriever over the store, which has no vectors without an embedder. A passage that is the query itself, same id and text, is no hit,
    as in BEIR's evaluation. Ties are broken as in trec_eval.
    """
    began = time.perf_counter()
    chunks = [Chunk(name, name, "", text, 0, len(text)) for name, text in collection.passages.items()]
    store, embedded = Texts(chunks), 0
    if embedder:
        before, store = embedder.computed, FaissStore(embedder)
        with bar(len(chunks), "indexing", progress) as steps:
            for start in range(0, len(chunks), 256):  # with a cache, a kill loses little
                steps.update(len(store.add_chunks(chunks[start : start + 256])))
        embedded = embedder.computed - before
    queries, rows, run, search = list(collection.queries.items()), [], {}, make(store)
    with bar(len(queries), "searching", progress) as steps:
        for start in range(0, len(queries), 64):
            group = queries[start : start + 64]
            rankings = search.search_batch([text for _, text in group], DEPTH + 1)
            for (name, text), hits in zip(group, rankings, strict=True):
                own = {h.chunk.id: h.score for h in hits if (h.chunk.id, h.chunk.text) != (name, text)}
                run[name] = {passage: own[passage] for passage in ranked(own)[:DEPTH]}
                rows.append(_scores(list(run[name]), collection.judged[name]))
            steps.update(len(group))
    per_query = {metric: [row[metric] for row in rows] for metric in rows[0]}
    means = {metric: sum(scores) / len(scores) for metric, scores in per_query.items()}
    sizes = {"passages": len(chunks), "queries": len(queries), "embedded": embedded}
    return {**means, **sizes, "seconds": time.perf_counter() - began, "per_query": per_query, "run": run}


def _scores(ranking: Sequence[str], grades: Mapping[str, int]) -> dict[str, float]:
    """The measures of one query's hits."""
    gains = {name: float(grade) for name, grade in grades.items() if grade > 0}
    measures = {"nDCG@10": ndcg_at_k(ranking, gains, 10), "recall@100": recall_at_k(ranking, gains, DEPTH)}
    return measures | {"MRR@10": mrr(ranking[:10], gains), f"MAP@{DEPTH}": average_precision(ranking, gains)}


def evaluate_profile(folder: str | Path, method: str, profile: str, progress: bool = True) -> dict[str, Any]:
    """`evaluate` one way of searching with the embedder of a profile, in float32, so that plain runs agree.

    Vectors are kept under `runs/vectors`: a run that was stopped goes on from there. Raises `LabError` as
    `read_collection` and `retriever` do.
    """
    settings, collection = resolve(profile), read_collection(folder)
    cache = runs_folder() / "vectors"
    embedder = None if method == "bm25" else load_embedder(settings.embedder, "float32", cache_dir=cache)
    result = evaluate(collection, embedder, lambda store: retriever(method, store, settings.reranker), progress)
    return {"method": method, "embedder": settings.embedder if embedder else None, **result}


def trec_run(result: Mapping[str, Any]) -> str:
    """The hits of `evaluate_profile` as TREC has them: query, Q0, passage, rank, score and method on each line."""
    return "".join(
        f"{query} Q0 {passage} {rank} {score!r} {result['method']}\n"
        for query, hits in result["run"].items()
        for rank, (passage, score) in enumerate(hits.items(), start=1)
    )


def summary(result: Mapping[str, Any]) -> list[str]:
    """The result of `evaluate_profile` in lines: means with 95 % intervals over queries, seconds, and last JSON."""
    lines = [f"{result['method']}: {result['queries']} queries over {result['passages']} passages"]
    for metric, scores in result["per_query"].items():
        share = bootstrap_mean(scores)
        lines.append(f"{metric:11} {share.mean:.4f} ({share.low:.4f} to {share.high:.4f})")
    lines.append(f"{'seconds':11} {result['seconds']:.1f} ({result['embedded']} texts embedded now)")
    return [*lines, json.dumps({key: value for key, value in result.items() if key not in ("per_query", "run")})]
