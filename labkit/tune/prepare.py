"""Question and answer pairs as tokens with a loss mask; files of pairs; leaks. Introduced in 07_prepare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from labkit.chat import encode, ends, render
from labkit.errors import LabError
from labkit.rag.augment import Message
from labkit.tune.leaks import leaks as leaks
from labkit.tune.leaks import refuse_leaks as refuse_leaks
from labkit.tune.pairs import Example
from labkit.tune.pairs import read_examples as read_examples
from labkit.tune.pairs import write_examples as write_examples

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
Row = dict[str, list[int]]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Prepared:
    """Rows of `input_ids` and `labels`, and the numbers of the examples that were too long and left out."""

    rows: list[Row]
    dropped: list[int]


def examples(
    items: Iterable[Item],
    messages_of: Callable[[Item], list[Message]],
    answer_of: Callable[[Item], str],
    tags_of: Callable[[Item], dict[str, Any]] = lambda item: {},
) -> list[Example]:
    """Each item's prompt, closed by its answer, with its tags.

    >>> pairs = [("Why?", "Because.")]
    >>> ask = lambda pair: [{"role": "user", "content": pair[0]}]
    >>> examples(pairs, ask, lambda pair: pair[1])[0].messages[1]["content"]
    'Because.'
    """
    return [Example([*messages_of(i), {"role": "assistant", "content": answer_of(i)}], tags_of(i)) for i in items]


def tokenise(example: Example, tokenizer: PreTrainedTokenizerBase, limit: int) -> tuple[list[int], list[int]]:
    """Token ids, and labels that are -100 but on each answer up to and with its end token.

    Prompt and answer are tokenised apart, as they are when the model answers. Raises LabError for an example
    longer than `limit` tokens, without an answer, whose text holds a special token, or in a template that rewrites
    earlier turns.

    >>> ids, labels = tokenise(example, tokenizer, limit=512)
    >>> tokenizer.decode([i for i in labels if i != -100])
    'Because.<|im_end|>'
    """
    _refuse_marks(example, tokenizer)
    ids: list[int] = []
    labels: list[int] = []
    done = ""
    turns = [i for i, message in enumerate(example.messages) if message["role"] == "assistant"]
    for turn in turns:
        before = render(tokenizer, example.messages[:turn], prompt=True)
        after = render(tokenizer, example.messages[: turn + 1])
        if not before.startswith(done) or not after.startswith(before):
            raise LabError("the chat template rewrites earlier turns: keep one answer in each example")
        asked = encode(tokenizer, before[len(done) :])
        answer, rest = _closed(encode(tokenizer, after[len(before) :]), tokenizer)
        ids += asked + answer + rest
        labels += [IGNORED] * len(asked) + answer + [IGNORED] * len(rest)
        done = after
    if not turns:
        raise LabError("an example has no assistant message: add the answer to learn")
    size = len(ids) - len(rest)
    if size > limit:
        raise LabError(f"an example has {size} tokens, the limit is {limit}: shorten it or drop it")
    return ids[:size], labels[:size]


def _refuse_marks(example: Example, tokenizer: PreTrainedTokenizerBase) -> None:
    """LabError if a text spells a special token: it would become one, and a text could end a turn or begin another."""
    for n, message in enumerate(example.messages, start=1):
        typed = [mark for mark in tokenizer.all_special_tokens if mark in message["content"]]
        if typed:
            raise LabError(f"message {n} holds the special token {typed[0]}: take it out, or write it otherwise")


def _closed(answer: list[int], tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """An answer up to its last end token, which is added where the template has none, and what follows it."""
    known = ends(tokenizer)
    last = max((i for i, token in enumerate(answer) if token in known), default=None)
    if last is None:
        return [*answer, *([tokenizer.eos_token_id] if known else [])], []
    return answer[: last + 1], answer[last + 1 :]


def dataset(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, limit: int, too_long: str = "refuse"
) -> Prepared:
    """Every example as a row of `input_ids` and `labels`; too long ones are refused, or dropped and listed.

    Raises LabError naming the example, counted from 0, that cannot be tokenised.

    >>> dataset(examples, tokenizer, limit=512, too_long="drop").dropped
    [17]
    """
    if too_long not in ("refuse", "drop"):
        raise LabError(f"unknown too_long '{too_long}': choose refuse, drop")
    rows: list[Row] = []
    dropped: list[int] = []
    for n, example in enumerate(examples):
        try:
            ids, labels = tokenise(example, tokenizer, limit if too_long == "refuse" else 10**9)
        except LabError as error:
            raise LabError(f"example {n}: {error}") from error
        if len(ids) > limit:
            dropped.append(n)
        else:
            rows.append({"input_ids": ids, "labels": labels})
    return Prepared(rows, dropped)


@dataclass(frozen=True)
class Collator:
    """Rows to tensors (rows, longest rounded up to `multiple`), padded on the right; pads carry no loss.

    >>> Collator(pad=0)([{"input_ids": [5, 2], "labels": [-100, 2]}])["labels"].shape
    torch.Size([1, 8])
    """

    pad: int
    multiple: int = 8

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        import torch

        width = -(-max(len(row["input_ids"]) for row in rows) // self.multiple) * self.multiple
        gaps = [width - len(row["input_ids"]) for row in rows]
        return {
            "input_ids": torch.tensor([r["input_ids"] + [self.pad] * g for r, g in zip(rows, gaps, strict=True)]),
            "attention_mask": torch.tensor([[1] * (width - gap) + [0] * gap for gap in gaps]),
            "labels": torch.tensor([r["labels"] + [IGNORED] * g for r, g in zip(rows, gaps, strict=True)]),
        }
