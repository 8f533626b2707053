"""A small untrained model with the pocket model's tokenizer and template, and rows to train it on."""

import random

import pytest

from data.make import stream
from data.make.pocket import make_tokenizer
from labkit.tune.prepare import Example, dataset


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer(samples=300)


@pytest.fixture(scope="session")
def base(tokenizer, tmp_path_factory):
    """The folder of a two-layer Qwen3 with random weights."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, head_dim=32, max_position_embeddings=512,
        tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "tiny"
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def examples():
    rng = random.Random(1)
    return [Example(stream.conversation(rng, stream.LEVELS[0])[:3]) for _ in range(48)]


@pytest.fixture(scope="session")
def rows(examples, tokenizer):
    return dataset(examples, tokenizer, limit=256).rows
