"""Every benchmark does the same work several ways in turn, and its page says what was compared with what, where and how."""

import json
import time
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from labkit.data import load_questions
from labkit.rag.chunk import Chunk
from labkit.rag.embed import load_embedder
from labkit.rag.index import FaissStore
from labkit.rag.retrieve import Dense
from tools.bench import Contest, Size, __main__, better, growth, llama, measure, model, search, timed, training

POCKET = Size(quick=True, models=("pocket",))
TEXTS = ["The KX-200 pump weighs 12 kilograms.", "Fish is served on Fridays.", "Badges must be worn visibly."]


@pytest.fixture(scope="module")
def store():
    chunks = [Chunk(str(n), f"{n}.txt", "", text, 0, len(text)) for n, text in enumerate(TEXTS)]
    return FaissStore.from_chunks(chunks, load_embedder("bundled"))


def figures(contests, rounds=1):
    return [figure for contest in contests for figure in measure(contest, rounds)]


def answers(values):
    """A way that gives these values, one after another, each of its unit, and keeps on giving the last."""
    values = list(values)
    return lambda: values.pop(0) if len(values) > 1 else values[0]


def test_all_ways_take_turns_in_every_round():
    called = []

    def way(name):
        return lambda: called.append(name) or {"s": 1.0}

    contest = Contest("work", way("ours"), {"one": way("one"), "other": way("other")})
    assert len(measure(contest, 3)) == 2 and called == ["ours", "one", "other"] * 3
    called.clear()
    measure(Contest("work", way("ours"), {"one": way("one")}, rounds=2), 5)
    assert called == ["ours", "one"] * 2


def test_medians_are_compared_and_single_rounds_span_the_ratio():
    ours = answers({"s": seconds, "nDCG@10": 0.5} for seconds in (50, 2, 4))
    speed, quality = measure(Contest("work", ours, {"rival": lambda: {"s": 8.0, "nDCG@10": 0.4}}), 3)
    assert (speed.work, speed.rival, speed.unit) == ("work", "rival", "s")
    assert (speed.ours, speed.theirs, speed.ratio) == (4, 8, 2)
    assert (speed.lowest, speed.highest) == (8 / 50, 4)
    assert quality.ratio == pytest.approx(1.25) and quality.unit == "nDCG@10"


def test_a_ratio_above_one_means_that_we_did_better_in_every_unit():
    assert all(better(1, 2, unit) == 2 for unit in ("s", "ms a query", "MB to index", "loss on these rows"))
    assert better(1, 2, "bytes a vector") == 2
    assert all(better(1, 2, unit) == 0.5 for unit in ("tokens/s", "share right", "recall@10", "tokens/s, bfloat16"))
    assert better(0, 2, "share right") is None and better(2, 0, "s") is None


def test_a_way_gives_speed_or_time_and_what_is_checked_is_not_timed():
    def slow_check(result):
        time.sleep(0.5)
        return result

    speed = timed(lambda: time.sleep(0.1) or 7, "texts/s", 10, {"share": slow_check})()
    assert speed["share"] == 7 and 25 < speed["texts/s"] <= 100
    assert 0.01 <= timed(lambda: time.sleep(0.1), "s", 10)()["s"] < 0.04
    assert 10 <= timed(lambda: time.sleep(0.1), "ms a query", 10)()["ms a query"] < 40


def test_a_rival_that_is_not_installed_is_named_with_its_remedy_and_has_no_figure():
    there, absent = measure(Contest("w", lambda: {"s": 1.0}, {"a": lambda: {"s": 2.0}, "b": "pip install b"}), 1)
    assert there.ratio == 2 and absent.install == "pip install b"
    assert [absent.ours, absent.theirs, absent.ratio] == [None] * 3
    assert __main__.cells(vars(absent)) == ["w", "b", "not installed: pip install b", "", "", "", ""]


def test_work_without_a_rival_still_gives_its_values():
    (figure,) = measure(Contest("10 documents", lambda: {"s to read": 3.0}), 2)
    assert (figure.ours, figure.theirs, figure.rival) == (3, None, "")
    assert __main__.cells(vars(figure)) == ["10 documents", "–", "–", "–", "3", "–", "s to read"]


def test_topics_are_kept_beside_earlier_ones_and_the_page_shows_all(tmp_path):
    old, new = (measure(Contest("w", lambda n=n: {"s": n}, {"r": lambda: {"s": 6.0}}), 1) for n in (1.0, 2.0))
    __main__.keep(tmp_path, "train", old, "python -m tools.bench train")
    __main__.keep(tmp_path, "embed", old, "python -m tools.bench embed")
    __main__.keep(tmp_path, "embed", new, "python -m tools.bench embed --rounds 7")
    known = json.loads((tmp_path / "benchmarks.json").read_text())
    assert [known[topic]["figures"][0]["ratio"] for topic in ("train", "embed")] == [6, 3]
    assert known["embed"]["cpus"] > 0 and known["embed"]["threads"] > 0 and "torch" in known["embed"]["packages"]
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.index("## Training") < page.index("## Embedding") and "## Search" not in page
    assert "`python -m tools.bench embed --rounds 7`" in page and f"torch {known['embed']['packages']['torch']}" in page
    assert "| w | r | 3.00× | 3.00, 3.00 | 2 | 6 | s |" in page


def test_the_kept_page_is_what_the_kept_figures_give():
    known = json.loads((__main__.ROOT / "docs/benchmarks.json").read_text("utf-8"))
    assert __main__.page(known) == (__main__.ROOT / "docs/benchmarks.md").read_text("utf-8")


def test_growth_in_proportion_has_the_exponent_one():
    few, many = ({"s to read": n, "MB to read": 0.0, "s to index": n * n, "chunks": n} for n in (2.0, 20.0))
    assert growth.exponents(few, many) == pytest.approx({"exponent of s to read": 1, "exponent of s to index": 2})


def test_documents_that_grow_in_number_are_all_different(tmp_path):
    growth.write(tmp_path, 30)
    texts = [path.read_text() for path in tmp_path.iterdir()]
    assert len(set(texts)) == 30 and all(len(text.split()) == growth.WORDS + 2 for text in texts)


@pytest.mark.slow
def test_growth_is_measured_in_processes_and_gives_exponents():
    found = {(figure.work, figure.unit): figure for figure in figures(growth.growth(Size(quick=True)))}
    assert found["10 documents", "chunks"].ours == 10 and found["100 documents", "chunks"].ours == 100
    assert found["100 documents", "s to index"].ours > found["10 documents", "s to index"].ours > 0
    assert 0 < found["10 to 100 documents", "exponent of s to index"].ours < 2


@pytest.mark.slow
def test_embedding_is_measured_on_the_same_texts_and_the_ranking_stays():
    speed, quality = figures(search.embed(Size(quick=True)))
    assert (speed.unit, quality.unit) == ("texts/s", "nDCG@10") and min(speed.ours, speed.theirs) > 0
    assert speed.rival == quality.rival == "SentenceTransformer(...).encode(texts)"
    assert 0.3 < quality.theirs <= 1 and abs(quality.ours - quality.theirs) <= 0.002


def test_only_questions_that_some_chunk_proves_count():
    lab = SimpleNamespace(questions=load_questions()[:30])
    fact = lab.questions[0].evidence[0]
    chunks = [Chunk("a", fact.document, "", fact.passage, 0, 1), Chunk("b", "other", "", "nothing", 0, 1)]
    asked = np.tile([1.0, 0.0], (sum(bool(item.evidence) for item in lab.questions), 1))
    right, wrong = np.eye(2), np.eye(2)[::-1]
    assert search.ndcg(lab, chunks, right, asked) == 1
    assert search.ndcg(lab, chunks, wrong, asked) == pytest.approx(1 / np.log2(3))


def test_a_trial_of_the_exact_index_finds_everything_in_four_bytes_a_number():
    vectors = np.random.default_rng(0).normal(size=(800, 32)).astype("float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries, threads = vectors[-20:], faiss.omp_get_max_threads()
    wanted = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :5]
    row = search.trial("Flat", "", [vectors[:300], vectors[300:]], queries, wanted)()
    assert row["recall@10"] > 0.99 and row["bytes a vector"] == pytest.approx(4 * 32, 0.01)
    low, high = (search.trial("IVF8,Flat", f"nprobe={n}", [vectors], queries, wanted)() for n in (1, 8))
    assert low["recall@10"] < high["recall@10"] > 0.99 and min(low["ms a search"], high["ms a search"]) > 0
    assert faiss.omp_get_max_threads() == threads


@pytest.mark.reference
def test_the_nearest_in_batches_are_the_nearest_of_all(store, monkeypatch):
    monkeypatch.setattr(search, "BATCH", 70)
    real = store.embedder.encode([f"{where} {text}" for where in ("north", "south", "old", "new") for text in TEXTS])
    whole = np.concatenate(list(search.batches(real, 300)))
    assert whole.shape == (300, 384)
    queries = whole[::37]
    found = search.nearest(real, 300, queries, 6)
    assert all(len(set(row)) == 6 for row in found.tolist())
    scores = queries @ whole.T
    np.testing.assert_allclose(np.take_along_axis(scores, found, 1), -np.sort(-scores)[:, :6], atol=1e-5)


@pytest.mark.slow
def test_indexes_are_compared_by_size_time_and_recall_with_named_rivals():
    found = {(figure.work, figure.unit): figure for figure in figures(search.index(Size(quick=True)))}
    assert len(found) == 6 and all(figure.rival == search.EXHAUSTIVE for figure in found.values())
    small = next(figure for (work, unit), figure in found.items() if "PQ48" in work and unit == "bytes a vector")
    exact = next(figure for (work, unit), figure in found.items() if "SQ8" in work and unit == "recall@10")
    assert small.ratio > 3 and 0.8 < exact.ours <= exact.theirs <= 1


@pytest.mark.reference
def test_both_ways_of_search_find_the_same_chunks_with_the_same_cosines(store):
    exact = load_embedder("bundled", "float32")
    ours = search._store(store, exact)
    queries = ["How heavy is the KX-200?", "fish on Fridays"]
    scores, places = search._by_hand(store, exact)(queries, 3)
    for hits, row, line in zip(Dense(ours).search_batch(queries, 3), places, scores, strict=True):
        assert [hit.chunk for hit in hits] == [store.chunks[place] for place in row]
        np.testing.assert_allclose([hit.score for hit in hits], line, atol=1e-3)


@pytest.mark.slow
def test_search_gives_milliseconds_per_query_in_one_call_one_by_one_and_from_vectors():
    together, alone, vectors = figures(search.retrieve(Size(quick=True)))
    assert "one call" in together.work and "one query" in alone.work and "vector" in vectors.work
    for figure in (together, alone, vectors):
        assert figure.unit == "ms a query" and 0 < figure.ours < 10 * figure.theirs


def test_padded_rows_are_equally_long_and_pads_are_neither_read_nor_learned():
    rows = training.padded([{"input_ids": [5], "labels": [5]}, {"input_ids": [6, 7], "labels": [-100, 7]}])
    assert rows[0] == {"input_ids": [5, 0], "attention_mask": [1, 0], "labels": [5, -100]}
    assert rows[1] == {"input_ids": [6, 7], "attention_mask": [1, 1], "labels": [-100, 7]}


@pytest.mark.slow
def test_both_sides_train_as_many_steps_to_a_like_loss():
    full, loss, *lora = figures(training.train(POCKET))
    assert full.rival == loss.rival == training.TRAINER and full.unit == "tokens/s" and min(full.ours, full.theirs) > 0
    assert loss.ours == pytest.approx(loss.theirs, rel=0.1) and loss.unit == "loss on these rows"
    assert {figure.rival for figure in lora} == {training.SFT} and "LoRA of rank" in lora[0].work
    if training.missing("trl"):
        assert [figure.install for figure in lora] == ["pip install trl"]
    else:
        assert lora[1].ours == pytest.approx(lora[1].theirs, rel=0.1)


@pytest.mark.slow
def test_the_chain_of_the_tutorials_answers_the_same_questions_and_is_scored_alike():
    speed, right = figures(model.rag(POCKET))
    assert speed.unit == "questions/s" and speed.rival.startswith("LangChain: ") and min(speed.ours, speed.theirs) > 0
    assert right.unit == "share right" and max(right.ours, right.theirs) <= 1


@pytest.mark.slow
def test_prompts_are_answered_alike_in_a_batch_and_alone_and_by_plain_transformers():
    speed, right, one = figures(model.answer(POCKET))
    assert speed.rival == right.rival == model.ALONE and right.ours == right.theirs
    assert one.unit == "s" and "500 tokens read" in one.work and min(one.ours, one.theirs) > 0


@pytest.mark.slow
def test_a_busy_process_costs_speed_and_is_gone_afterwards():
    (share,) = figures(model.busy(POCKET))
    assert share.rival == "the same alone" and 0.05 < share.ratio < 1.5


def test_the_busy_process_ends_with_its_block():
    with model._busy_process() as process:
        assert process.poll() is None
    assert process.wait(5) != 0


@pytest.mark.slow
def test_labkit_starts_and_answers_from_the_shell():
    imported, asked = figures(model.start(POCKET))
    assert imported.ratio > 3 and imported.unit == "s"
    assert "labkit ask" in asked.work and min(asked.ours, asked.theirs) > 0


@pytest.mark.skipif(llama.absent(), reason=llama.INSTALL)
@pytest.mark.reference
def test_llama_cpp_answers_alike_one_by_one_and_all_at_once():
    import labkit

    lab = labkit.open("smol", progress=False)
    asked = [[{"role": "user", "content": f"Name {n} colours."}] for n in ("two", "three")]
    ids = [lab.model.encode(talk) for talk in asked]
    alone = llama.one_by_one(ids, 12)
    assert all(alone) and llama.together(ids, 12) == alone
    assert llama.written(ids[0], 5) == llama.written(ids[0], 5) and len(llama.written(ids[0], 5)) == 5


def test_without_llama_cpp_its_rows_say_what_to_install(monkeypatch):
    monkeypatch.setattr(llama, "absent", lambda: True)
    smol, pocket = (SimpleNamespace(profile=SimpleNamespace(name=name)) for name in ("smol", "pocket"))
    assert (
        model._llama(smol, {llama.ONE: dict}) == {llama.ONE: llama.INSTALL}
        and model._llama(pocket, {"any": dict}) == {}
    )
    assert llama.INSTALL.startswith("pip install llama-cpp-python")
