"""The pocket model before training: tokenizer, chat template and shape; and the batches of the stream that train it.

The same batches for the same seed, level and number. Each has one of a few shapes, about `TOKENS` tokens, so that the
training step is compiled once for each.
"""

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data.make import stream

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

# A space, not a line break, follows the role: so a word is the same token at the start of an answer as within a text.
PAD, START, END = "<pad>", "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}"
)
SHAPE = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "rope_theta": 10000.0,
}
VOCABULARY = 3072

Row = tuple[list[int], list[int]]  # token ids, and for each the number of the answer it belongs to (0: none)

WIDTHS = (64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 896, 1024, 2048)
TOKENS = 4096
POOL = 16  # batches that are drawn together and sorted by length


def make_tokenizer(seed: int = 0, samples: int = 12000) -> "PreTrainedTokenizerFast":
    """Byte-level BPE over the stream, every digit a token of its own, with a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(f"tokenizer:{seed}")
    turns = (m for _ in range(samples) for m in stream.conversation(rng, rng.choice(stream.LEVELS)))
    texts = (text for m in turns for text in (m["role"], " " + m["content"]))
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[PAD, START, END],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START],
        padding_side="left",
        model_max_length=SHAPE["max_position_embeddings"],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(
    tokenizer: "PreTrainedTokenizerFast", seed: int = 0, shape: Mapping[str, Any] = SHAPE
) -> "Qwen3ForCausalLM":
    """The untrained pocket model, or one of another shape: a Qwen3 architecture of plain linear layers."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        **shape,
    )
    return Qwen3ForCausalLM(config)


def encode(tokenizer: "PreTrainedTokenizerFast", messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    """Token ids of a conversation and, for each, the number of the answer it belongs to (0: no answer)."""
    ids: list[int] = []
    answers: list[int] = []
    turn = 0
    for message in messages:
        head = tokenizer.encode(f"{START}{message['role']}")
        body = tokenizer.encode(f" {message['content']}{END}")
        turn += message["role"] == "assistant"
        ids += head + body + tokenizer.encode("\n")
        answers += [0] * len(head) + [turn if message["role"] == "assistant" else 0] * len(body) + [0]
    return ids[:-1], answers[:-1]


def batches(tokenizer: "PreTrainedTokenizerFast", level: int, pool: int, seed: int) -> list[list[Row]]:
    """The batches of one pool: conversations of this level and, for a quarter, of lower ones, sorted by length."""
    rng = random.Random(f"stream:{seed}:{level}:{pool}")
    rows: list[Row] = []
    total = 0
    while total < POOL * TOKENS:
        lower = level > 0 and rng.random() < 0.25
        row = encode(tokenizer, stream.conversation(rng, stream.LEVELS[rng.randrange(level) if lower else level]))
        if len(row[0]) <= min(TOKENS, WIDTHS[-1]):
            rows.append(row)
            total += len(row[0])
    rows.sort(key=lambda row: -len(row[0]))
    made = []
    while rows:
        size = TOKENS // width_of(rows)
        made.append(rows[:size])
        rows = rows[size:]
    rng.shuffle(made)
    return made


def width_of(batch: list[Row]) -> int:
    """The smallest of the fixed widths that holds every row."""
    longest = max(len(ids) for ids, _ in batch)
    return next(width for width in WIDTHS if width >= longest)


def tensors(batch: list[Row]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Ids and answer numbers (-1: padding), each (rows, width), filled up to one of the fixed shapes."""
    import torch

    width = width_of(batch)
    shape = (TOKENS // width, width)
    x, a = torch.zeros(shape, dtype=torch.long), torch.full(shape, -1)
    for i, (ids, answers) in enumerate(batch):
        x[i, : len(ids)], a[i, : len(ids)] = torch.tensor(ids), torch.tensor(answers)
    return x, a
