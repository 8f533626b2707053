"""A cross-encoder of any weights orders the hits by its own scores; what is none is told in one line."""

import pytest
import torch

from labkit import LabError
from labkit.rag.rerank import Rerank, load_reranker
from labkit.rag.retrieve import BM25, Dense, Fusion, retriever

QUESTION = "How heavy is the KX-200?"


def build(folder, labels=1, head=True):
    """A real BERT with random weights."""
    from tokenizers.implementations import BertWordPieceTokenizer
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    trainer = BertWordPieceTokenizer()
    trainer.train_from_iterator(
        ["how heavy is the pump it weighs twelve kilograms a desk 0 1 2 3"] * 20, vocab_size=120
    )
    tokenizer = BertTokenizerFast(tokenizer_object=trainer._tokenizer, model_max_length=64)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, num_labels=labels, initializer_range=0.5,
    )  # fmt: skip
    network = BertForSequenceClassification(config) if head else BertModel(config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("models") / "cross-encoder")


@pytest.mark.reference
def test_scores_are_the_sigmoid_of_the_plain_models_logits(store, folder):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, plain = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    hits = Rerank(Dense(store), load_reranker(folder), depth=6).search(QUESTION, top_k=6)
    texts = [hit.chunk.embedding_text for hit in hits]
    with torch.no_grad():
        batch = tokenizer([QUESTION] * len(texts), texts, padding=True, truncation=True, return_tensors="pt")
        logits = plain(**batch).logits[:, 0]
    assert [hit.score for hit in hits] == pytest.approx(torch.sigmoid(logits).tolist(), abs=1e-5)
    assert logits.tolist() == sorted(logits.tolist(), reverse=True) and logits.std() > 1e-3


def test_reranking_only_reorders_what_was_found(store, folder):
    first, model = Dense(store), load_reranker(folder)
    found = {hit.chunk.id for hit in first.search(QUESTION, top_k=4)}
    assert {hit.chunk.id for hit in Rerank(first, model, depth=4).search(QUESTION, top_k=4)} == found
    assert {hit.chunk.id for hit in Rerank(first, model, depth=4).search(QUESTION, top_k=2)} < found
    assert len(Rerank(first, model, depth=1).search(QUESTION, top_k=3)) == 3


def test_batches_equal_single_searches_and_nothing_found_stays_nothing(store, folder):
    ranker = Rerank(BM25(store), load_reranker(folder))
    batch = ranker.search_batch([QUESTION, "zebra", "fish"])
    assert batch[1] == [] and ranker.search_batch([]) == []
    for query, hits in zip([QUESTION, "fish"], batch[::2], strict=True):
        alone = ranker.search(query)
        assert [hit.chunk for hit in alone] == [hit.chunk for hit in hits]
        assert [hit.score for hit in alone] == pytest.approx([hit.score for hit in hits], abs=1e-5)


def test_the_profiles_reranker_is_used_by_its_name(store, folder):
    made = retriever("rerank", store, str(folder), top_k=2)
    assert isinstance(made.first, Fusion) and len(made.search(QUESTION)) == 2
    assert len(made.invoke(QUESTION)) == 2


@pytest.mark.parametrize("wrong", [{"labels": 3}, {"head": False}], ids=["three labels", "no head"])
def test_a_model_that_gives_no_single_score_is_refused(tmp_path, wrong):
    with pytest.raises(LabError, match="does not score pairs of texts: give the folder or hub id of a cross-encoder"):
        load_reranker(build(tmp_path / "model", **wrong))


def test_what_is_not_there_is_told_in_one_line(tmp_path):
    with pytest.raises(LabError, match="no reranker '.*missing'") as told:
        load_reranker(tmp_path / "missing")
    assert "\n" not in str(told.value)
