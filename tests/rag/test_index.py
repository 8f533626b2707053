"""The store finds what raw FAISS finds, keeps LangChain's contract, and trusts only what it saved whole."""

import asyncio
import json

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

import labkit.rag.index
import labkit.store
from labkit import LabError
from labkit.rag.chunk import Chunk
from labkit.rag.embed import Embedder
from labkit.rag.index import FaissStore

QUERIES = ["How heavy is the KX-200?", "When is fish served?", "lost badge", "holiday", "brass"]


def ids(found):
    return [document.id for document in found]


@pytest.mark.reference
def test_search_equals_raw_faiss_on_real_embeddings(store, chunks, embedder):
    raw = faiss.IndexFlatIP(384)
    raw.add(embedder.encode([chunk.embedding_text for chunk in chunks]))
    queries = embedder.encode(QUERIES, query=True)
    wanted_scores, wanted = raw.search(queries, 4)
    scores, found = store.search_vectors(queries, 4)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(scores, wanted_scores, atol=1e-5)
    hits = store.similarity_search_with_score(QUERIES[0], k=4)
    assert [document.id for document, _ in hits] == [chunks[i].id for i in wanted[0]]
    np.testing.assert_allclose([score for _, score in hits], wanted_scores[0], atol=1e-3)


def test_the_right_chunk_comes_first_and_survives_exactly(store, chunks):
    assert store.similarity_search(QUERIES[0], k=1)[0].metadata["document_id"] == "pump.txt"
    assert store.chunks == list(chunks) and store.chunk_at(2) == chunks[2]


def test_fewer_chunks_than_k_and_an_empty_store(store, embedder):
    assert len(store.similarity_search("x", k=1000)) == len(store)
    empty = FaissStore(embedder)
    assert empty.similarity_search("x") == [] and empty.chunks == [] and len(empty) == 0
    assert empty.add_documents([]) == [] and empty.delete() is True


def test_langchain_contract(embedder):
    store = FaissStore.from_texts(["soup", "bolt"], embedder, [{"a": 1}, {"b": [2]}], ids=["s", "b"])
    assert store.embeddings is embedder
    assert store.get_by_ids(["b", "nobody", "s"]) == [
        Document(id="b", page_content="bolt", metadata={"b": [2]}),
        Document(id="s", page_content="soup", metadata={"a": 1}),
    ]
    mine = Document(page_content="nut", metadata={"c": 3})
    (name,) = store.add_documents([mine])
    mine.metadata["c"] = 4
    assert store.get_by_ids([name])[0].metadata == {"c": 3} and mine.id is None
    assert store.add_texts(["a screw"], ids=["s"]) == ["s"]
    assert len(store) == 3 and store.get_by_ids(["s"])[0].page_content == "a screw"
    assert ids(store.as_retriever(search_kwargs={"k": 1}).invoke("screw")) == ["s"]
    assert store.delete(["s", "nobody"]) is True and store.get_by_ids(["s"]) == []
    assert store.delete() is True and len(store) == 0
    assert ids(FaissStore.from_documents([Document(page_content="x", id="1")], embedder).similarity_search("x"))


def test_the_last_of_two_with_one_id_stays(embedder):
    store = FaissStore.from_texts(["first", "second"], embedder, ids=["a", "a"])
    assert [document.page_content for document in store.get_by_ids(["a"])] == ["second"] and len(store) == 1


class Known(Embedder):
    """Vectors by lookup: the property test is about the store, not about the model."""

    def __init__(self):
        self.fingerprint = "known:float32"

    def encode(self, texts, query=False, progress=False):
        rows = [np.random.default_rng(abs(hash(text)) % 2**32).normal(size=8) for text in texts]
        vectors = np.array(rows, "float32")
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


steps = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 12), max_size=5)), max_size=8)


@settings(max_examples=60)
@given(steps=steps)
def test_any_order_of_adding_and_deleting_equals_a_fresh_index(steps):
    store, texts, embedder = FaissStore(Known()), {}, Known()
    for turn, (adding, numbers) in enumerate(steps):
        names = [str(number) for number in numbers]
        if adding:
            fresh = {name: Chunk(name, "d", "", f"{name} in turn {turn}", 0, 1) for name in names}
            store.add_chunks(list(fresh.values()))
            texts |= {name: chunk.text for name, chunk in fresh.items()}
        else:
            store.delete(names)
            texts = {name: text for name, text in texts.items() if name not in names}
    assert {chunk.id: chunk.text for chunk in store.chunks} == texts
    if texts:
        scores, found = store.search_vectors(embedder.encode(["q"]), 3)
        wanted = sorted(float(v) for v in embedder.encode(list(texts.values())) @ embedder.encode(["q"])[0])
        np.testing.assert_allclose(scores[0], wanted[::-1][:3], atol=1e-5)
        again = embedder.encode([store.chunk_at(i).text for i in found[0]]) @ embedder.encode(["q"])[0]
        np.testing.assert_allclose(again, scores[0], atol=1e-5)


def test_save_and_load_give_the_same_answers(store, embedder, tmp_path):
    store.save(tmp_path / "s")
    loaded = FaissStore.load(tmp_path / "s", embedder)
    assert loaded.chunks == store.chunks
    queries = embedder.encode(QUERIES)
    for mine, theirs in zip(loaded.search_vectors(queries, 5), store.search_vectors(queries, 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    loaded.delete([loaded.chunks[0].id])
    loaded.save(tmp_path / "s")
    assert len(FaissStore.load(tmp_path / "s", embedder)) == len(store) - 1
    assert len(list((tmp_path / "s").iterdir())) == 3, "the files of the first save are gone"


def test_a_kill_between_two_files_leaves_the_old_store(store, embedder, tmp_path, monkeypatch):
    store.save(tmp_path / "s")
    wanted = store.chunks
    store.delete([wanted[0].id])
    write, calls = labkit.store.write_bytes, []
    for survives in range(3):

        def dies(path, data, survives=survives):
            calls.append(path)
            if len(calls) > survives:
                raise KeyboardInterrupt
            write(path, data)

        calls.clear()
        for module in (labkit.store, labkit.rag.index):
            monkeypatch.setattr(module, "write_bytes", dies)
        with pytest.raises(KeyboardInterrupt):
            store.save(tmp_path / "s")
        assert FaissStore.load(tmp_path / "s", embedder).chunks == wanted


@pytest.mark.parametrize("name", ["manifest.json", "index.faiss", "chunks.json"])
@pytest.mark.parametrize("damage", ["altered", "cut", "gone"])
def test_a_damaged_store_is_refused_before_faiss_reads(store, embedder, tmp_path, monkeypatch, name, damage):
    store.save(tmp_path)
    (path,) = tmp_path.glob(f"*{name}")
    data = bytearray(path.read_bytes())
    if damage == "altered":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    if damage == "gone":
        path.unlink()
    monkeypatch.setattr(faiss, "deserialize_index", lambda *_: pytest.fail("FAISS read unchecked bytes"))
    with pytest.raises(LabError, match="build"):
        FaissStore.load(tmp_path, embedder)


def test_a_manifest_cannot_point_elsewhere(store, embedder, tmp_path):
    store.save(tmp_path / "s")
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    manifest["files"]["chunks.json"] = "../" + "0" * 61
    (tmp_path / "s" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LabError, match="altered"):
        FaissStore.load(tmp_path / "s", embedder)


def test_another_embedder_or_nothing_there_is_an_error(store, embedder, tmp_path):
    store.save(tmp_path)
    other = Embedder(embedder.model, "other weights")
    with pytest.raises(LabError, match="another embedder"):
        FaissStore.load(tmp_path, other)
    half = Embedder(embedder.model, embedder.fingerprint.partition(":")[0], dtype="float32")
    assert len(FaissStore.load(tmp_path, half)) == len(store), "the precision may differ"
    with pytest.raises(LabError, match="nothing was saved"):
        FaissStore.load(tmp_path / "nowhere", embedder)
    with pytest.raises(LabError, match="empty"):
        FaissStore(embedder).save(tmp_path / "e")


@pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF2,Flat"])
def test_a_document_is_updated_and_deleted_whole(chunks, embedder, tmp_path, kind):
    store = FaissStore.from_chunks(chunks, embedder, factory=kind)
    before = {chunk.id for chunk in chunks}
    store.add_chunks([Chunk("pump.txt#9", "pump.txt", "Pump", "It is painted blue.", 99, 118)])
    assert store.update_chunks([Chunk("pump.txt#0", "pump.txt", "Pump", "It weighs 13 kilograms.", 0, 23)])
    assert {chunk.id for chunk in store.chunks} == before
    assert "13 kilograms" in store.similarity_search("How heavy is the KX-200?", k=1)[0].page_content
    store.delete_document("pump.txt")
    assert {chunk.id for chunk in store.chunks} == before - {"pump.txt#0"}
    store.save(tmp_path)
    assert b"13 kilograms" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert FaissStore.load(tmp_path, embedder).chunks == store.chunks


@pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF2,Flat"])
def test_a_filter_finds_all_that_pass_and_nothing_else(chunks, embedder, kind):
    store = FaissStore.from_chunks(chunks, embedder, factory=kind)
    two = {"leave.txt", "valve.txt"}
    for names, wanted in (
        ({"leave.txt"}, {"document_id": "leave.txt"}),
        (two, {"document_id": two, "page": None}),
        (two, lambda document: document.metadata["document_id"] in two),
    ):
        found = store.similarity_search("soup on Tuesdays", k=99, filter=wanted)
        assert sorted(d.id for d in found) == sorted(chunk.id for chunk in chunks if chunk.document_id in names)
    assert store.similarity_search("soup", filter={"document_id": "nobody"}) == []
    assert store.as_retriever(search_kwargs={"k": 1, "filter": {"document_id": "valve.txt"}}).invoke("soup")
    with pytest.raises(TypeError, match="filters"):
        store.similarity_search("soup", filters={"document_id": "leave.txt"})


def test_rebuilding_changes_the_kind_and_nothing_else(chunks, embedder):
    store = FaissStore.from_chunks(chunks, embedder)
    before, version = store.similarity_search_with_score("lost badge", k=3), store.version
    store.rebuild("HNSW8")
    store.index.tune("efSearch=99")
    assert store.version > version and store.index.factory == "HNSW8" and store.chunks == list(chunks)
    after = store.similarity_search_with_score("lost badge", k=3)
    assert [document for document, _ in after] == [document for document, _ in before]
    np.testing.assert_allclose([score for _, score in after], [score for _, score in before], atol=1e-6)


def test_what_is_found_is_a_copy(store):
    found = store.similarity_search("brass", k=1)[0]
    found.metadata["title"] = "changed"
    assert store.similarity_search("brass", k=1)[0].metadata["title"] == "Valve"


def test_metadata_that_json_cannot_hold_is_one_line(embedder, tmp_path):
    store = FaissStore.from_texts(["a"], embedder, [{"when": {1, 2}}])
    with pytest.raises(LabError, match="set is not JSON serializable.*keep text and numbers in metadata"):
        store.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_langchain_indexing_keeps_the_store_in_step(embedder):
    """LangChain's own way to add, update and delete by document."""
    store, record = FaissStore(embedder), InMemoryRecordManager("test")
    record.create_schema()

    def sync(texts):
        documents = [Document(page_content=text, metadata={"source": name}) for name, text in texts.items()]
        done = index(documents, record, store, cleanup="full", source_id_key="source", key_encoder="sha256")
        return done["num_added"], done["num_skipped"], done["num_deleted"]

    assert sync({"a": "Soup.", "b": "Bolt."}) == (2, 0, 0)
    assert sync({"a": "Soup.", "b": "Nut.", "c": "Fish."}) == (2, 1, 1)
    assert sorted(chunk.text for chunk in store.chunks) == ["Fish.", "Nut.", "Soup."]


def test_searching_while_changing_gives_whole_answers(store, chunks):
    async def churn():
        calls = []
        for n in range(30):
            part = Document(page_content=f"part {n}", id=f"n{n}")
            calls += [
                store.aadd_documents([part]),
                store.asimilarity_search("brass valve", k=1),
                store.adelete([f"n{n}"]),
            ]
        return await asyncio.gather(*calls)

    found = asyncio.run(churn())[1::3]
    assert [document.metadata["title"] for (document,) in found] == ["Valve"] * 30


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The test .* is marked with")
class TestFaissStore(VectorStoreIntegrationTests):
    @pytest.fixture(params=["Flat", "HNSW8"])
    def vectorstore(self, request):
        return FaissStore(self.get_embeddings(), request.param)


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_measures_every_kind_and_trusts_no_file(lesson):
    said = lesson("04_index")
    assert "of the ten nearest by hand, FAISS found 100.0%" in said
    assert "the new value is in the store: True" in said
    assert "index.faiss is missing or was altered" in said
    assert "printed by a data file while it was loaded" in said
    assert "error: No module named 'langchain_pinecone'" in said
    assert len([line for line in said.splitlines() if line.startswith("• ")]) == 8
