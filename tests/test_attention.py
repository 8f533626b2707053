"""Attention in blocks gives what transformers' own attention gives, and is used where it is faster."""

import types

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

import labkit
from labkit.model import BLOCK, IN_BLOCKS, in_blocks, load_model
from labkit.profile import POCKET
from labkit.rag.augment import build_messages


def both(heads, key_heads, new, tokens, padding):
    torch.manual_seed(new + tokens)
    query = torch.randn(2, heads, new, 16)
    key, value = torch.randn(2, 2, key_heads, tokens, 16).unbind(0)
    mask = None
    if padding is not None:
        mask = (torch.arange(tokens)[None, :] <= torch.arange(tokens - new, tokens)[:, None]).repeat(2, 1, 1, 1)
        mask[0, ..., :padding] = False
    module = types.SimpleNamespace(num_key_value_groups=heads // key_heads, is_causal=True)
    args = (module, query, key, value, mask)
    return in_blocks(*args, scaling=0.25)[0], sdpa_attention_forward(*args, scaling=0.25)[0]


@pytest.mark.reference
@pytest.mark.parametrize("heads, key_heads", [(4, 4), (4, 2)])
@pytest.mark.parametrize(
    "new, tokens, padding", [(1, 9, None), (1, 9, 3), (BLOCK + 40, BLOCK + 40, None), (BLOCK + 40, BLOCK + 40, 50), (7, 30, 4)]
)  # fmt: skip
def test_blocks_attend_as_transformers_does(heads, key_heads, new, tokens, padding):
    ours, theirs = both(heads, key_heads, new, tokens, padding)
    padded = padding if padding and new == tokens else 0  # padding sees nothing, and nobody looks at what it gets
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours[0, padded:], theirs[0, padded:], atol=1e-5, rtol=1e-5)
    assert ours.isfinite().all()


def test_only_bfloat16_on_a_processor_attends_in_blocks():
    kinds = {
        dtype: load_model(POCKET.model_path, dtype).network.config._attn_implementation
        for dtype in ("float32", "bfloat16")
    }
    assert kinds["float32"] == "sdpa"
    assert kinds["bfloat16"] == (IN_BLOCKS if not torch.cuda.is_available() else "sdpa")


@pytest.mark.skipif(torch.cuda.is_available(), reason="blocks are for processors")
def test_the_answers_are_those_of_plain_attention_but_for_near_ties():
    lab = labkit.open("pocket", progress=False)
    items = lab.questions[:40]
    found = lab.retriever().search_batch([i.question for i in items], 5)
    prompts = [
        build_messages(i.question, [(h.chunk.title, h.chunk.text) for h in hits])
        for i, hits in zip(items, found, strict=True)
    ]
    model, told = load_model(POCKET.model_path, "bfloat16"), {}
    for name in (IN_BLOCKS, "sdpa"):
        model.network.set_attn_implementation(name)
        told[name] = [made.text for made in model.generate(prompts, 40)]
    same = [a == b for a, b in zip(told[IN_BLOCKS], told["sdpa"], strict=True)]
    assert len(set(told[IN_BLOCKS])) > 20 and sum(same) >= 0.85 * len(same)
