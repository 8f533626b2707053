"""Each kind of index finds, forgets, filters, trains and maps as it says, on vectors like real ones."""

import asyncio

import faiss
import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index

import labkit.rag.index_vectors
from labkit import LabError
from labkit.rag.chunk import Chunk
from labkit.rag.index import FaissStore
from labkit.rag.index_vectors import VectorIndex

KINDS = ["Flat", "SQ8", "IVF4,Flat", "IVF4,SQ8", "HNSW16", "HNSW16,SQ8", "PQ16x4", "IVF4,PQ16x4", "RR32,IVF4,SQ8"]
LOSSLESS = ["Flat", "SQ8", "IVF4,Flat", "IVF4,SQ8", "HNSW16", "HNSW16,SQ8"]
pytestmark = pytest.mark.filterwarnings("ignore:an index trained on")


def units(count, dimensions=32, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, dimensions))
    vectors = centres[rng.integers(20, size=count)] + 0.4 * rng.normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("float32")


def best(vectors, queries, k):
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]


def shared(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), wanted.tolist(), strict=True)])


def filled(kind, vectors):
    made = VectorIndex(kind)
    made.add(vectors)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_finds_most_of_the_nearest(kind):
    vectors, queries = units(1000), units(50, seed=1)
    scores, found = filled(kind, vectors).search(queries, 10)
    assert shared(found, best(vectors, queries, 10)) > (0.9 if kind in LOSSLESS else 0.4)
    assert (np.diff(scores, axis=1) <= 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_deleted_are_never_found_and_the_rest_as_before(kind):
    vectors, queries, rng = units(600), units(30, seed=1), np.random.default_rng(3)
    made, names = filled(kind, vectors), np.arange(600)
    for share in (0.2, 0.5, 0.9):  # of those that are left
        gone = rng.choice(np.flatnonzero(names >= 0), int(share * len(made)), replace=False)
        kept = made.delete(gone)
        names[gone] = -1
        names = names if kept is None else names[kept]
        found = made.search(queries, 5)[1]
        assert len(made) == (names >= 0).sum() and (found >= 0).mean() > 0.95
        assert (names[found[found >= 0]] >= 0).all()
        left = np.flatnonzero(names >= 0)
        nearest = left[best(made.vectors_at(left), queries, 5)]
        assert shared(found, nearest) > 0.9, "as near as the codes can tell"
    made.compact()
    assert len(made.search(queries, 1000)[1][0]) == len(made) == faiss.read_index(_reader(made)).ntotal


def _reader(made):
    reader = faiss.VectorIOReader()
    faiss.copy_array_to_vector(np.frombuffer(made.to_bytes(), "uint8"), reader.data)
    return reader


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_among_some_misses_none_of_them(kind, monkeypatch):
    monkeypatch.setattr(labkit.rag.index_vectors, "BLOCK", 7)
    vectors, queries = units(500), units(20, seed=1)
    made, among = filled(kind, vectors), np.arange(3, 500, 25)
    scores, found = made.search(queries, 50, among)
    assert found.shape == (20, len(among)) and all(set(row) == set(among) for row in found.tolist())
    decoded = made.vectors_at(among)
    np.testing.assert_array_equal(found[:, 0], among[best(decoded, queries, 1)[:, 0]])
    np.testing.assert_allclose(scores, -np.sort(-(queries @ decoded.T)), atol=1e-5)
    assert made.search(queries, 5, np.array([], "int64"))[1].shape == (20, 0)


def test_an_index_waits_for_vectors_enough_to_train():
    vectors, made = units(400), VectorIndex("IVF4,PQ16x4", "nprobe=4")
    with pytest.warns(UserWarning, match="trained on 17 vectors, where FAISS advises 624 or more: add a larger first"):
        for start, end, waiting in ((0, 3, True), (3, 10, True), (10, 17, False), (17, 400, False)):
            made.add(vectors[start:end])
            assert made.waiting is waiting and len(made) == end
            if waiting:
                assert made.search(vectors[:end], 1)[1][:, 0].tolist() == list(range(end)), "exactly"
    found = made.search(vectors, 10)[1]
    assert np.mean([number in row for number, row in enumerate(found)]) > 0.6


def test_more_effort_finds_more():
    vectors, queries = units(2000), units(50, seed=1)
    made, wanted = filled("IVF32,Flat", vectors), best(vectors, queries, 10)
    recalls = []
    for effort in ("nprobe=1", "nprobe=4", "nprobe=32"):
        made.tune(effort)
        recalls.append(shared(made.search(queries, 10)[1], wanted))
    assert recalls == sorted(recalls) and recalls[0] < 0.95 and recalls[-1] == 1


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_give_the_same_answers_again(kind, mapped):
    vectors, queries = units(600), units(20, seed=1)
    made = filled(kind, vectors)
    again = VectorIndex.from_bytes(made.to_bytes(), kind, "", False, mapped)
    for mine, theirs in zip(again.search(queries, 5), made.search(queries, 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(again.vectors_at(np.arange(9)), made.vectors_at(np.arange(9)))


def test_codes_are_smaller_than_numbers():
    sizes = {kind: filled(kind, units(2000, 64)).nbytes / 2000 for kind in ("Flat", "SQ8", "PQ16x4np", "HNSW16")}
    assert sizes["PQ16x4np"] < sizes["SQ8"] < sizes["Flat"] < sizes["HNSW16"] and sizes["Flat"] == pytest.approx(
        256, 0.01
    )


@pytest.mark.parametrize("kind", ["Nonsense", "PQ7"])
def test_a_kind_that_is_none_is_one_line(kind):
    with pytest.raises(LabError) as caught:
        VectorIndex(kind).add(units(50))
    assert "\n" not in str(caught.value)


def test_an_effort_that_is_none_is_one_line():
    with pytest.raises(LabError, match="a 'Flat' index has no 'nprobe=3': "):
        filled("Flat", units(50)).tune("nprobe=3")


def test_bytes_that_are_no_index_are_one_line():
    with pytest.raises(LabError, match="FAISS cannot read this index"):
        VectorIndex.from_bytes(b"not an index at all", "Flat", "", False)


@pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF2,Flat"])
def test_a_mapped_store_answers_alike_and_refuses_changes(chunks, embedder, tmp_path, kind):
    store = FaissStore.from_chunks(chunks, embedder, factory=kind)
    store.delete_document("pump.txt")
    store.save(tmp_path)
    mapped = FaissStore.load(tmp_path, embedder, mapped=True)
    assert mapped.chunks == store.chunks and len(mapped) == len(mapped.chunks)
    for question in ("brass", "holiday"):
        assert mapped.similarity_search(question) == store.similarity_search(question)
    for change in (mapped.delete, lambda: mapped.add_chunks(chunks), lambda: mapped.delete_document("leave.txt")):
        with pytest.raises(LabError, match="memory-mapped index cannot change"):
            change()
    assert mapped.chunks == store.chunks


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
    store.rebuild("HNSW8", "efSearch=99")
    assert store.version > version and store.index.factory == "HNSW8" and store.chunks == list(chunks)
    after = store.similarity_search_with_score("lost badge", k=3)
    assert [document for document, _ in after] == [document for document, _ in before]
    np.testing.assert_allclose([score for _, score in after], [score for _, score in before], atol=1e-6)


def test_diverse_hits_are_chosen_from_the_nearest(store):
    near = store.similarity_search("front desk", k=4)
    assert store.max_marginal_relevance_search("front desk", k=4, fetch_k=4, lambda_mult=1.0) == near
    mixed = store.as_retriever(search_type="mmr", search_kwargs={"k": 3, "lambda_mult": 0.1}).invoke("front desk")
    assert mixed[0] == near[0] and len(mixed) == 3
    assert FaissStore(store.embedder).max_marginal_relevance_search("x") == []


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


@pytest.mark.parametrize("kind", KINDS)
def test_an_emptied_index_fills_again(kind):
    vectors = units(300)
    made = filled(kind, vectors)
    made.delete(np.arange(300))
    assert len(made) == 0 and made.search(vectors[:2], 5)[1].shape == (2, 0)
    made.add(vectors[:100])
    assert len(made) == 100 and made.search(vectors[:2], 5)[1].shape == (2, 5)
