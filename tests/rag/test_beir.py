"""Our search on an outside collection equals sentence-transformers and faiss used plainly; mistakes are told."""

import json
import re
import subprocess
import sys

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, R, nDCG

from labkit import LabError
from labkit.rag.beir import evaluate, evaluate_profile, read_collection, summary, trec_run
from labkit.rag.embed import _bundled_path, load_embedder
from labkit.rag.retrieve import BM25, Dense, Fusion
from labkit.store import ROOT

LABKIT = [sys.executable, "-c", "from labkit.cli import app; app(prog_name='labkit')", "retrieve"]


def write(folder, passages, queries, judged):
    """A collection in BEIR's layout: passages as {id: (title, text)}, judged as [(query, passage, grade)]."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": name, "title": title, "text": text} for name, (title, text) in passages.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"_id": name, "text": text, "metadata": {}} for name, text in queries.items()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in judged)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(table) + "\n")
    return folder


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """The company's project reports, line by line, and the questions that they answer, graded 1 or 2."""
    questions = [json.loads(line) for line in (ROOT / "data" / "questions.jsonl").read_text("utf-8").splitlines()]
    passages = {}
    for path in sorted((ROOT / "data" / "documents" / "projects").glob("*.md")):
        for number, text in enumerate(re.findall(r"\S.*", path.read_text("utf-8"))):
            passages[f"{path.stem}-{number}"] = (path.stem.replace("-", " ") if number % 2 else "", text.strip())
    asked, judged = {}, []
    for question in questions:
        for evidence in question["evidence"]:
            for name, (_, text) in passages.items():
                if evidence["entity"] in text:
                    asked[question["id"]] = question["question"]
                    judged.append((question["id"], name, 1 + (evidence["value"] in text)))
    asked["unjudged"] = "A question that nobody judged"
    judged = list({row[:2]: row for row in judged}.values())
    assert len(passages) > 200 and len(asked) > 40
    return write(tmp_path_factory.mktemp("beir") / "company", passages, asked, judged)


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return load_embedder("bundled", "float32", cache_dir=tmp_path_factory.mktemp("vectors"))


def plain_run(folder):
    """Sentence-transformers and faiss, used as their own pages show it."""
    import faiss
    from sentence_transformers import SentenceTransformer

    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    model = SentenceTransformer(_bundled_path(), device="cpu")
    texts = [f"{row['title']} {row['text']}".strip() for row in rows]
    index = faiss.IndexFlatIP(384)
    index.add(model.encode(texts, normalize_embeddings=True))
    scores, found = index.search(model.encode([q["text"] for q in queries], normalize_embeddings=True), 100)
    return {
        query["_id"]: {rows[i]["_id"]: float(score) for i, score in zip(line, row, strict=True)}
        for query, line, row in zip(queries, found, scores, strict=True)
    }


def official(judged, run, measures=(nDCG @ 10, R @ 100, RR @ 10, AP @ 100)):
    found = ir_measures.calc_aggregate(measures, {q: dict(rows) for q, rows in judged.items()}, run)
    return [found[measure] for measure in measures]


@pytest.mark.reference
def test_dense_search_equals_a_plain_run_scored_by_ir_measures(company, exact):
    collection = read_collection(company)
    ours, run = evaluate(collection, exact, Dense, progress=False), plain_run(company)
    run = {query: run[query] for query in collection.judged}
    ndcg, recall, rr, ap = official(collection.judged, run)
    assert ours["nDCG@10"] == pytest.approx(ndcg, abs=0.002) and 0.2 < ndcg < 1
    assert ours["recall@100"] == pytest.approx(recall, abs=0.002)
    assert ours["MRR@10"] == pytest.approx(rr, abs=0.002) and ours["MAP@100"] == pytest.approx(ap, abs=0.002)
    assert ours["queries"] == len(collection.queries) and "unjudged" not in collection.queries


@pytest.mark.reference
@pytest.mark.parametrize("make", [BM25, lambda store: Fusion([Dense(store), BM25(store)])], ids=["bm25", "fusion"])
def test_scores_of_any_search_equal_ir_measures(company, exact, make):
    collection, kept = read_collection(company), {}

    def recording(store):
        kept["made"] = make(store)
        return kept["made"]

    ours = evaluate(collection, exact, recording, progress=False)
    found = kept["made"].search_batch(list(collection.queries.values()), 101)  # as many as are asked for
    run = {q: {h.chunk.id: h.score for h in hits} for q, hits in zip(collection.queries, found, strict=True)}
    wanted = [ours[name] for name in ("nDCG@10", "recall@100", "MRR@10", "MAP@100")]
    assert wanted == pytest.approx(official(collection.judged, run))
    assert np.mean(ours["per_query"]["nDCG@10"]) == pytest.approx(ours["nDCG@10"])


def test_a_passage_that_is_the_query_itself_is_no_hit_but_one_with_its_id_is(tmp_path, exact):
    passages = {"q1": ("", "Bees dance."), "a": ("", "Bees dance to tell the way."), "q2": ("Tea", "Tea is a drink.")}
    judged = [("q1", "a", 1), ("q2", "q2", 1)]
    folder = write(tmp_path / "own", passages, {"q1": "Bees dance.", "q2": "What is tea?"}, judged)
    assert evaluate(read_collection(folder), exact, Dense, progress=False)["MRR@10"] == 1.0


def test_grades_of_zero_and_queries_without_a_relevant_passage_do_not_count(tmp_path, exact):
    passages = {"a": ("", "Bees dance."), "b": ("", "Tea is a drink.")}
    folder = write(
        tmp_path / "graded", passages, {"q": "bees", "r": "tea"}, [("q", "a", 2), ("q", "b", 0), ("r", "b", 0)]
    )
    collection = read_collection(folder)
    assert list(collection.queries) == ["q"]
    assert evaluate(collection, exact, Dense, progress=False)["recall@100"] == 1.0


BAD = [
    ("corpus.jsonl", None, r"cannot read .*corpus\.jsonl \(No such file or directory\): a BEIR folder holds"),
    ("queries.jsonl", None, r"cannot read .*queries\.jsonl"),
    ("qrels/test.tsv", None, r"cannot read .*test\.tsv"),
    ("corpus.jsonl", '{"_id": "a", "text": "x"}\nnonsense\n', r"corpus\.jsonl, line 2 is not \{.*JSONDecodeError"),
    ("corpus.jsonl", '\n{"_id": "a"}\n', r"corpus\.jsonl, line 2 is not .*KeyError: 'text'"),
    ("corpus.jsonl", '["a", "x"]\n', r"corpus\.jsonl, line 1 is not"),
    ("corpus.jsonl", '{"_id": "a", "text": 7}\n', r"corpus\.jsonl, line 1 is not .*title and text must be texts"),
    ("corpus.jsonl", b'{"_id": "a", "text": "\xff"}\n', r"corpus\.jsonl, line 1 is not .*UnicodeDecodeError"),
    ("corpus.jsonl", '{"_id": 1, "text": "x"}\n\n{"_id": "1", "text": "y"}\n', r"line 3 repeats the _id '1'"),
    ("corpus.jsonl", "\n", r"holds no passage"),
    ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\ta\n", r"test\.tsv, line 2 is not query-id, corpus-id and score"),
    ("qrels/test.tsv", "q\ta\tgood\n", r"test\.tsv, line 1 is not .*'good'"),
    ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", r"names no relevant passage"),
    ("qrels/test.tsv", "z\ta\t1\n", r"names query 'z', which queries\.jsonl lacks"),
]


@pytest.mark.parametrize(("name", "content", "said"), BAD, ids=[f"{i}-{row[0]}" for i, row in enumerate(BAD)])
def test_a_missing_file_or_wrong_line_is_named(tmp_path, name, content, said):
    folder = write(tmp_path / "small", {"a": ("", "Bees dance.")}, {"q": "bees"}, [("q", "a", 1)])
    (folder / name).unlink() if content is None else (folder / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    with pytest.raises(LabError, match=said) as told:
        read_collection(folder)
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_the_command_prints_the_metrics_and_last_json(company, tmp_path, exact, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    done = subprocess.run([*LABKIT, "--beir", str(company)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, ndcg, recall, rr, ap, seconds, last = done.stdout.splitlines()
    found, ours = json.loads(last), evaluate(read_collection(company), exact, Dense, progress=False)
    for line, metric in ((ndcg, "nDCG@10"), (recall, "recall@100"), (rr, "MRR@10"), (ap, "MAP@100")):
        assert found[metric] == pytest.approx(ours[metric], abs=1e-6)
        assert re.fullmatch(rf"{metric} +{found[metric]:.4f} \(0\.\d{{4}} to [01]\.\d{{4}}\)", line)
    assert seconds.startswith(f"seconds     {found['seconds']:.1f} (") and found["method"] == "dense"
    assert found["embedded"] >= found["passages"] * 0.9 and "indexing" in done.stderr and "\r" not in done.stderr
    again = subprocess.run([*LABKIT, "--beir", str(company), "--method", "fusion"], capture_output=True, text=True)
    assert json.loads(again.stdout.splitlines()[-1])["embedded"] == 0


def test_bm25_asks_no_embedder_and_its_run_file_scores_as_it_says(company, tmp_path, monkeypatch):
    monkeypatch.setattr("labkit.rag.beir.load_embedder", lambda *_, **__: pytest.fail("embedded"))
    result = evaluate_profile(company, "bm25", "pocket", progress=False)
    (tmp_path / "run.txt").write_text(trec_run(result))
    run = ir_measures.read_trec_run(str(tmp_path / "run.txt"))
    found = ir_measures.calc_aggregate([nDCG @ 10, AP @ 100], read_collection(company).judged, run)
    assert [found[nDCG @ 10], found[AP @ 100]] == pytest.approx([result["nDCG@10"], result["MAP@100"]])
    assert result["embedded"] == 0 and "run" not in json.loads(summary(result)[-1])


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--beir", "nowhere"], 1, "error: cannot read nowhere/qrels/test.tsv (No such file or directory): a BEIR"),
        (["--beir", "nowhere", "--method", "magic"], 2, "error: no retriever 'magic': choose one of dense, bm25,"),
        (["--beir", "nowhere", "--method", "rerank"], 2, "error: 'rerank' needs a cross-encoder, and this profile"),
        ([], 2, "error: Missing option '--beir'"),
    ],
)
def test_a_wrong_call_is_one_line(words, status, said):
    done = subprocess.run([*LABKIT, *words], capture_output=True, text=True)
    assert done.returncode == status and done.stdout == ""
    assert done.stderr.startswith(said) and done.stderr.count("\n") == 1
