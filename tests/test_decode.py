"""What reads prompts fast on a processor scores as transformers does, for every kind of network that it takes."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, MistralConfig, PhiConfig, Qwen2Config, Qwen3Config
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

import labkit
from labkit.decode import BLOCK, PORTION, ROOM, PackedReader, Reader, attend, greedy, read_prefix
from labkit.model import load_model
from labkit.profile import POCKET
from labkit.rag.augment import build_messages
from labkit.tune.adapters import LoraSettings, add_lora

SMALL = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 4096,
}  # fmt: skip
KINDS = {
    "llama, two heads a key": LlamaConfig(**SMALL, num_key_value_heads=2),
    "llama, tied": LlamaConfig(**SMALL, tie_word_embeddings=True, mlp_bias=True, attention_bias=True),
    "mistral": MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=None),
    "qwen2": Qwen2Config(**SMALL, num_key_value_heads=2),
    "qwen3": Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=16),
}


def network(kind, dtype=torch.float32):
    torch.manual_seed(1)
    made = AutoModelForCausalLM.from_config(KINDS[kind]).eval()
    for name, weight in made.named_parameters():  # biases and norms begin at zero and one, and would hide a fault
        if weight.dim() == 1:
            torch.nn.init.normal_(weight, mean=float("norm" in name), std=0.3)
        else:
            weight.data *= 4
    return made.to(dtype)


@pytest.mark.reference
@pytest.mark.parametrize("heads, key_heads", [(4, 4), (4, 2)])
@pytest.mark.parametrize(
    "new, tokens, padding",
    [(1, 9, 0), (1, 9, 3), (BLOCK + 40, BLOCK + 40, 0), (BLOCK + 40, BLOCK + 40, 50), (7, 30, 4)],
)
def test_blocks_attend_as_pytorch_does(heads, key_heads, new, tokens, padding):
    torch.manual_seed(new + tokens)
    query = torch.randn(2, heads, new, 16)
    keys, values = torch.randn(2, 2, key_heads, tokens, 16).unbind(0)
    hidden = torch.zeros(2, tokens, dtype=torch.bool)
    hidden[0, :padding] = True
    ours = attend(query, keys, values, 0.25, hidden if padding else None)
    seen = (torch.arange(tokens) <= torch.arange(tokens - new, tokens)[:, None]) & ~hidden[:, None, None]
    theirs = scaled_dot_product_attention(query, keys, values, seen, scale=0.25, enable_gqa=True)
    rest = padding if new == tokens else 0  # padding sees nothing, and nobody looks at what it gets
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours[0, :, rest:], theirs[0, :, rest:], atol=1e-5, rtol=1e-5)
    assert ours.isfinite().all()


def scores(reader, lengths, prefix):
    """Scores after a prefix, padded prompts, more single ids than there is room for, and with some rows gone."""
    torch.manual_seed(2)
    ids, shared = torch.randint(97, (len(lengths), max(lengths))), torch.randint(97, (1, prefix))
    mask = (torch.arange(max(lengths)) >= max(lengths) - torch.tensor(lengths)[:, None]).long()
    made = []
    with torch.inference_mode():
        if prefix:
            reader.read(shared, torch.ones_like(shared))
        batch = reader.repeat(len(lengths))
        made.append(batch.read(ids, mask))
        for step in range(ROOM + 3):
            if step == 5:
                batch.keep(torch.tensor([0, 2]))
            one = torch.randint(97, (len(batch.mask), 1))
            made.append(batch.read(one, torch.ones_like(one)))
    return torch.cat(made)


@pytest.mark.reference
@pytest.mark.parametrize(
    "lengths, prefix", [([9, 9, 9], 0), ([40, 7, 1], 0), ([40, 7, 1], 70), ([PORTION // 2 + 9, 900, 2], 5)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_packed_weights_score_as_transformers_does(kind, lengths, prefix):
    made = network(kind)
    assert PackedReader.fits(made)
    ours, theirs = scores(PackedReader(made), lengths, prefix), scores(Reader(made), lengths, prefix)
    assert theirs.std() > 0.2
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=2e-4)


def test_in_bfloat16_rounding_is_all_that_differs():
    made = network("qwen3", torch.bfloat16)
    if not PackedReader.fits(made):
        pytest.skip("this processor has no kernels for bfloat16")
    exact = scores(Reader(made.float()), [40, 7, 1], 9)
    made.bfloat16()
    ours, theirs = (scores(kind(made), [40, 7, 1], 9).float() - exact for kind in (PackedReader, Reader))
    assert ours.square().mean() < 1.5 * theirs.square().mean()


def test_a_network_that_computes_anything_else_is_left_to_transformers():
    windowed = AutoModelForCausalLM.from_config(MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=8))
    other = AutoModelForCausalLM.from_config(PhiConfig(**SMALL))
    for made in (windowed, other, network("qwen3", torch.float16), add_lora(network("qwen3"), LoraSettings(rank=2))):
        assert not PackedReader.fits(made)
        assert type(read_prefix(made)) is Reader
    prompts = [[5, 6, 7], [8]]
    alone = [greedy(windowed, [prompt], (), 12)[0] for prompt in prompts]
    assert greedy(windowed, prompts, (), 12) == alone


def test_pocket_answers_as_with_transformers_alone(monkeypatch):
    lab = labkit.open("pocket", progress=False)
    items = lab.questions[:40]
    found = lab.retriever().search_batch([i.question for i in items], 5)
    prompts = [
        build_messages(i.question, [(h.chunk.title, h.chunk.text) for h in hits])
        for i, hits in zip(items, found, strict=True)
    ]
    model = load_model(POCKET.model_path, "float32")
    ours = [answer.text for answer in model.generate(prompts, 40)]
    monkeypatch.setattr(PackedReader, "fits", lambda network: False)
    assert [answer.text for answer in model.generate(prompts, 40)] == ours
    assert len(set(ours)) > 20
