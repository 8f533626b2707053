"""Train the pocket model from nothing on the stream of `labkit/world/stream.py`: resumable, on a CPU or a GPU.

    python -m labkit.world.pretrain --steps 6000        # about two hours on two cores; rerun after any kill to go on

The next level of the curriculum begins when the model answers enough of the present one exactly.
"""

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labkit.world import stream

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
VOCABULARY = 2048
ADVANCE = (0.60, 0.80, 0.80, 0.75)  # exact answers that end each level but the last
BATCH_TOKENS = (2048, 2048, 3072, 4096, 4096)  # by level
SHORT = 384  # tokens up to which plain attention is faster on a CPU than the fused one
POOL = 16  # batches that are drawn together and sorted by length


def make_tokenizer(seed: int = 0, samples: int = 12000) -> "PreTrainedTokenizerFast":
    """Byte-level BPE over the stream, every digit a token of its own, with a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(f"tokenizer:{seed}")
    texts = (" " + m["content"] for _ in range(samples) for m in stream.conversation(rng, rng.choice(stream.LEVELS)))
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


def make_model(tokenizer: "PreTrainedTokenizerFast", seed: int = 0) -> "Qwen3ForCausalLM":
    """The untrained pocket model: a Qwen3 architecture of plain linear layers."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        **SHAPE,
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


def batches(
    tokenizer: "PreTrainedTokenizerFast", level: int, pool: int, seed: int
) -> list[list[tuple[list[int], list[int]]]]:
    """The batches of one pool: conversations of this level and, for a quarter, of lower ones, sorted by length."""
    rng = random.Random(f"stream:{seed}:{level}:{pool}")
    rows, total = [], 0
    while total < POOL * BATCH_TOKENS[level]:
        lower = level > 0 and rng.random() < 0.25
        rows.append(
            encode(tokenizer, stream.conversation(rng, stream.LEVELS[rng.randrange(level) if lower else level]))
        )
        total += len(rows[-1][0])
    rows.sort(key=lambda row: len(row[0]))
    made: list[list[tuple[list[int], list[int]]]] = [[] for _ in range(POOL)]
    before = 0
    for row in rows:
        made[before * POOL // total].append(row)
        before += len(row[0])
    rng.shuffle(made)
    return made


def tensors(batch: list[tuple[list[int], list[int]]]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Ids and answer numbers, padded on the right to (rows, longest)."""
    import torch

    width = -(-max(len(ids) for ids, _ in batch) // 32) * 32
    x, a = torch.zeros(len(batch), width, dtype=torch.long), torch.full((len(batch), width), -1)
    for i, (ids, answers) in enumerate(batch):
        x[i, : len(ids)], a[i, : len(ids)] = torch.tensor(ids), torch.tensor(answers)
    return x, a


def losses(
    model: "Qwen3ForCausalLM", x: "torch.Tensor", a: "torch.Tensor", other: float
) -> "tuple[torch.Tensor, float, float]":
    """Weighted loss (answers 1, other text `other`), mean answer loss, and the share of answers right to the last token.

    Only a quarter of the other positions, with four times the weight, goes through the vocabulary: the same loss on average.
    """
    import torch

    turn = a[:, 1:]
    keep = (turn > 0) | ((turn == 0) & (torch.rand(turn.shape, device=x.device) < 0.25))
    logits = model.lm_head(model.model(input_ids=x, use_cache=False).last_hidden_state[:, :-1][keep])
    target, turns = x[:, 1:][keep], turn[keep]
    ce = torch.nn.functional.cross_entropy(logits.float(), target, reduction="none")
    weight = torch.where(turns > 0, 1.0, 4 * other)
    with torch.no_grad():
        key = (torch.arange(len(x), device=x.device)[:, None] * 64 + turn)[keep][turns > 0]
        wrong = (logits.argmax(-1) != target)[turns > 0]
        exact = 1 - len(key[wrong].unique()) / max(1, len(key.unique()))
    return (ce * weight).sum() / weight.sum(), ce[turns > 0].mean().item(), exact


def rate(step: int, steps: int, peak: float) -> float:
    """Warm up over 100 steps, hold, and fall to 2 % over the last 30 % of the steps."""
    return peak * min(1.0, (step + 1) / 100, max(0.02, (steps - step) / (0.3 * steps)))


def save_state(folder: Path, **state: object) -> None:
    """Write the training state so that a kill leaves either the old one or the new one."""
    import torch

    torch.save(state, folder / "state.tmp")
    os.replace(folder / "state.tmp", folder / "state.pt")


class Weights:
    """A bf16 model to compute with and fp32 weights to add small steps to: a third faster on a CPU than autocast."""

    def __init__(self, model: "Qwen3ForCausalLM", peak: float):
        import torch

        self.master = [p.detach().clone().float().requires_grad_() for p in model.parameters()]
        self.model = model.bfloat16().train()
        self.optimizer = torch.optim.AdamW(self.master, peak, betas=(0.9, 0.98), weight_decay=0.05, fused=True)

    def step(self, learning_rate: float) -> None:
        """One optimiser step from the gradients that stand in the model."""
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        for fp32, p in zip(self.master, self.model.parameters(), strict=True):
            fp32.grad, p.grad = p.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self.master, 1.0)
        self.optimizer.step()
        self.spread()

    def spread(self) -> None:
        """Copy the fp32 weights into the model."""
        import torch

        with torch.no_grad():
            for fp32, p in zip(self.master, self.model.parameters(), strict=True):
                p.copy_(fp32)


def train(folder: Path, steps: int, peak: float, seed: int, every: int) -> Iterator[dict]:
    """Train to `steps`, resuming what `folder` holds; yields one log entry per `every` steps."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = load_tokenizer(folder, seed)
    weights = Weights(make_model(tokenizer, seed).to(device), peak)
    step, level, pool, exact, seen = 0, 0, 0, 0.0, 0
    if (folder / "state.pt").exists():
        state = torch.load(folder / "state.pt", map_location=device, weights_only=True)
        with torch.no_grad():
            for fp32, saved in zip(weights.master, state["master"], strict=True):
                fp32.copy_(saved)
        weights.spread()
        weights.optimizer.load_state_dict(state["optimizer"])
        step, level, pool, exact, seen = state["at"]
    began, tokens = time.time(), 0
    while step < steps:
        for batch in batches(tokenizer, level, pool, seed):
            x, a = (t.to(device) for t in tensors(batch))
            weights.model.set_attn_implementation("eager" if device == "cpu" and x.shape[1] <= SHORT else "sdpa")
            loss, answer_loss, right = losses(weights.model, x, a, 0.2 if level < 3 else 0.05)
            loss.backward()
            weights.step(rate(step, steps, peak))
            exact, step, tokens = exact * 0.97 + right * 0.03, step + 1, tokens + int((a >= 0).sum())
            if step % every == 0:
                speed = tokens / (time.time() - began)
                left = (steps - step) * BATCH_TOKENS[level] / speed / 60
                yield {
                    "step": step,
                    "level": level,
                    "exact": round(exact, 4),
                    "answer_loss": round(answer_loss, 4),
                    "tokens": seen + tokens,
                    "tokens_per_second": round(speed),
                    "minutes_left": round(left, 1),
                }
        pool += 1
        if level < len(ADVANCE) and exact > ADVANCE[level]:
            level, exact = level + 1, 0.0
        if pool % 8 == 0 or step >= steps:
            save_state(
                folder,
                master=weights.master,
                optimizer=weights.optimizer.state_dict(),
                at=(step, level, pool, exact, seen + tokens),
            )
    weights.model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")


def load_tokenizer(folder: Path, seed: int) -> "PreTrainedTokenizerFast":
    """The tokenizer of a run: made once and kept beside the state."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer").exists():
        make_tokenizer(seed).save_pretrained(folder / "tokenizer.tmp")
        os.replace(folder / "tokenizer.tmp", folder / "tokenizer")
    return AutoTokenizer.from_pretrained(folder / "tokenizer")


def main(
    out: Annotated[Path, typer.Option(help="Folder of the run; an unfinished run there goes on.")] = Path(
        "runs/pretrain"
    ),
    steps: Annotated[int, typer.Option(help="Optimiser steps in all.")] = 6000,
    peak: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    seed: int = 0,
    every: Annotated[int, typer.Option(help="Steps between log lines.")] = 25,
) -> None:
    """Train the pocket model. Example: python -m labkit.world.pretrain --steps 6000"""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "log.jsonl", "a", encoding="utf-8") as log:
        for entry in train(out, steps, peak, seed, every):
            print(json.dumps(entry), flush=True)
            log.write(json.dumps(entry) + "\n")
            log.flush()


if __name__ == "__main__":
    typer.run(main)
