"""From a conversation to the text and tokens that a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labkit.errors import LabError
from labkit.rag.augment import Message

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], prompt: bool = False) -> str:
    """A conversation as text in the model's chat template; `prompt` opens the answer.

    A model without a template gets "system\\n\\nuser\\n", each answer closed by its end token. Models
    that can think aloud are told not to. Raises LabError for messages that the template refuses.

    >>> render(tokenizer, [{"role": "user", "content": "Why?"}], prompt=True)
    '<|im_start|>user\\nWhy?<|im_end|>\\n<|im_start|>assistant\\n'
    """
    if not messages:
        raise LabError("a conversation is empty: give it a message")
    if not tokenizer.chat_template:
        return _plain(tokenizer, messages)
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=prompt, enable_thinking=False
        )
    except (TemplateError, KeyError, TypeError) as error:
        roles = [message.get("role") for message in messages]
        raise LabError(f"the chat template refuses the roles {roles} ({error}): reorder them") from error


def _plain(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    close = {"system": "\n\n", "user": "\n", "assistant": f"{tokenizer.eos_token or ''}\n"}
    text = "".join(message["content"] + close[message["role"]] for message in messages)
    return (tokenizer.bos_token or "") + text


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of rendered text: nothing is added, as the template holds every special token."""
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def ends(tokenizer: PreTrainedTokenizerBase, settings: GenerationConfig | None = None) -> frozenset[int]:
    """The ids that end an answer: the tokenizer's end token and those of the generation settings."""
    listed = settings.eos_token_id if settings is not None else None
    several = listed if isinstance(listed, list) else [listed]
    return frozenset(i for i in [tokenizer.eos_token_id, *several] if i is not None)
