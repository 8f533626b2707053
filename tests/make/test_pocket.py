"""The pocket model: its shape and tokenizer, a stream that resumes, and the bars that the shipped weights must pass."""

import json
import random

import pytest

import labkit
from data.make import stream
from data.make.card import SKILLS, card, folder, follows, log
from data.make.pocket import SHAPE, TOKENS, WIDTHS, batches, encode, make_model, make_tokenizer, tensors
from data.make.pretrain import backbone, load_tokenizer, losses, orthogonal, rate, train
from labkit.compare.reading import gold_hits
from labkit.data import SINGLE
from labkit.metrics import contains
from labkit.rag.augment import build_messages


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(samples=200)


@pytest.fixture(scope="module")
def lab():
    return labkit.open("pocket", progress=False)


def test_digits_are_tokens_and_any_text_comes_back(tokenizer):
    text = 'The Amber Falcon costs $1240 — "naïve" 東京.'
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert {"1", "2", "4", "0"} <= {tokenizer.decode([i]) for i in ids}


def test_encode_agrees_with_the_chat_template(tokenizer):
    for level in stream.LEVELS:
        messages = stream.conversation(random.Random(3), level)
        ids, answers = encode(tokenizer, messages)
        assert tokenizer.decode(ids) + "\n" == tokenizer.apply_chat_template(messages, tokenize=False)
        told = tokenizer.decode([i for i, a in zip(ids, answers, strict=True) if a == 1])
        assert told == f" {messages[2]['content']}<|im_end|>"


def test_batches_are_the_same_for_the_same_numbers(tokenizer):
    first, again, other = (batches(tokenizer, 2, pool, 0) for pool in (5, 5, 6))
    assert first == again != other


def test_the_share_of_exact_answers_is_counted_per_answer(tokenizer):
    import torch

    model = make_model(tokenizer).bfloat16()
    x, answers = tensors(batches(tokenizer, 1, 0, 0)[0][:4])
    loss, answer_loss, exact = losses(model, model.model, x, answers, 0.2)
    assert torch.isfinite(loss) and answer_loss > 1 and exact == 0.0


def test_attention_in_blocks_is_plain_causal_attention(tokenizer, monkeypatch):
    import torch

    monkeypatch.setattr("data.make.pretrain.shutil.which", lambda name: None)  # nothing is compiled
    model = make_model(tokenizer).eval()
    ids = torch.randint(3, len(tokenizer), (2, 600), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model(ids).logits
        body = backbone(model, "cpu")
        assert model.config._attn_implementation == "in_blocks"
        assert torch.allclose(model.lm_head(body(input_ids=ids).last_hidden_state), plain, atol=1e-4)


def test_every_batch_has_one_of_the_fixed_shapes(tokenizer):
    for level in range(5):
        for batch in batches(tokenizer, level, 0, 0):
            x, answers = tensors(batch)
            assert x.shape == answers.shape == (TOKENS // x.shape[1], x.shape[1]) and x.shape[1] in WIDTHS
            assert int((answers >= 0).sum()) == sum(len(ids) for ids, _ in batch)


def test_the_rate_warms_up_holds_and_falls():
    assert rate(0, 1000, 1.0) < rate(50, 1000, 1.0) < rate(200, 1000, 1.0) == 1.0 > rate(900, 1000, 1.0) > 0


def test_muon_makes_the_same_steps_in_fp32():
    import torch
    from torch.optim._muon import _zeropower_via_newtonschulz as plain

    for shape in ((64, 32), (32, 64)):
        grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        told = (grad, (3.4445, -4.775, 2.0315), 5, 1e-7)
        assert torch.allclose(orthogonal(*told), plain(*told).float(), atol=0.02)


def test_a_stopped_training_goes_on_where_it_was(tmp_path, monkeypatch):
    small = {**SHAPE, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "head_dim": 8}
    monkeypatch.setattr("data.make.pretrain.make_model", lambda tokenizer, seed: make_model(tokenizer, seed, small))
    monkeypatch.setattr("data.make.pocket.TOKENS", 512)
    monkeypatch.setattr("data.make.pocket.POOL", 2)
    monkeypatch.setattr("data.make.pretrain.shutil.which", lambda name: None)  # nothing is compiled
    monkeypatch.setattr("data.make.pretrain.make_tokenizer", lambda seed: make_tokenizer(seed, samples=200))
    going = train(tmp_path, 100, 1e-3, 0, 1)
    seen = [next(going) for _ in range(30)]
    going.close()  # as abrupt as a kill: only what was saved remains
    assert (tmp_path / "state.pt").exists() and not (tmp_path / "state.tmp").exists()
    again = next(train(tmp_path, 100, 1e-3, 0, 1))
    before = next(e for e in seen if e["step"] == again["step"])
    assert 1 < again["step"] <= 30
    assert again["tokens"] == before["tokens"]
    assert again["answer_loss"] == pytest.approx(before["answer_loss"], abs=0.02)


def test_a_given_model_is_trained_on_with_its_own_words_on_the_last_level(tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("data.make.pocket.TOKENS", 2048)
    monkeypatch.setattr("data.make.pocket.POOL", 1)
    monkeypatch.setattr("data.make.pretrain.shutil.which", lambda name: None)  # nothing is compiled
    model = make_model(words := make_tokenizer(7, samples=200), seed=7)
    model.save_pretrained(tmp_path / "given")
    words.save_pretrained(tmp_path / "given")
    entries = list(train(tmp_path / "run", 1, 0.0, 1, 1, tmp_path / "given"))  # a rate of 0 changes nothing
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    assert entries and all(entry["level"] == len(stream.LEVELS) - 1 for entry in entries)
    assert load_tokenizer(tmp_path / "run", 1).get_vocab() == words.get_vocab()
    for given, kept in zip(model.parameters(), made.parameters(), strict=True):
        assert given.bfloat16().equal(kept.bfloat16())


def test_the_shipped_model_is_small_plain_and_documented(lab):
    import torch
    from safetensors import safe_open

    weights = folder() / "model.safetensors"
    assert weights.stat().st_size <= 16 * 2**20
    with safe_open(weights, "pt") as file:
        assert file.keys()
    layers = [m for m in lab.model.network.model.layers.modules() if sum(p.numel() for p in m.parameters(False)) > 1000]
    assert layers and all(isinstance(m, torch.nn.Linear) for m in layers)
    assert lab.model.context == 2048
    scores = json.loads((folder() / "evaluation.json").read_text())
    tuned = json.loads((folder() / "tunability.json").read_text())
    assert (folder() / "README.md").read_text("utf-8") == card(scores, tuned, log())
    assert scores.keys() == SKILLS.keys()
    for entry in scores.values():
        assert entry["low"] <= entry["score"] <= entry["high"]


@pytest.mark.slow
def test_the_shipped_model_reads_passages_and_knows_nothing_without(lab):
    """Unseen names and values, in wordings of the stream and in held-out ones alike."""
    items = [i for i in lab.questions if i.kind in SINGLE and gold_hits(lab, i)]
    gold = [[(h.chunk.title, h.chunk.text) for h in gold_hits(lab, i)] for i in items]
    read = lab.model.generate([build_messages(i.question, g) for i, g in zip(items, gold, strict=True)])
    blind = lab.model.generate([build_messages(i.question) for i in items])
    right = {
        kind: [contains(r.text, i.gold) for r, i in zip(read, items, strict=True) if i.kind == kind] for kind in SINGLE
    }
    assert len(items) >= 140
    assert all(sum(values) / len(values) >= 0.75 for values in right.values())
    assert sum(contains(b.text, i.gold) for b, i in zip(blind, items, strict=True)) / len(items) <= 0.03


def test_forms_are_told_apart(lab):
    item = next(i for i in lab.questions if i.kind == "single fact")
    assert follows("value", item.gold, item) and not follows("value", f"It is {item.gold}.", item)
    assert follows("json", json.dumps({"answer": item.gold}), item) and not follows("json", item.gold, item)
    assert follows("bullet", "- It.", item) and follows("sentence", "The lamp costs $4.", item)
