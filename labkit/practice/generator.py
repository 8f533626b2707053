"""Models of any kind behind the arms: a server that answers for the untuned ones, passages that a small context holds."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labkit.errors import LabError, one_line
from labkit.model import Generation, Message
from labkit.store import Cache, address

if TYPE_CHECKING:
    from openai import OpenAI


LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Endpoint:
    """A model behind a URL, with what the arms ask of a `Model`: it answers, greedily, and counts prompts.

    What a model thinks aloud between <think> and </think> is cut from its answer.

    `name` is the model's, which may also stand behind the URL, as URL#model; without one, the first that the server lists.
    A key is read from the environment variable `key` and kept nowhere. Questions and passages go to that server. Its weights
    cannot be seen, so its `fingerprint` is its address. Raises LabError where it cannot be reached or refuses.
    """

    dtype = "unknown"
    context = 4096
    seconds = 120

    def __init__(self, url: str, name: str = "", key: str = "OPENAI_API_KEY") -> None:
        url, _, named = url.partition("#")
        self.url, self.host, self.key = url.rstrip("/"), urlsplit(url).hostname, key
        if urlsplit(url).scheme not in ("http", "https") or not self.host:
            raise LabError(f"'{url}' is no address of a server: give one as http://127.0.0.1:8000/v1")
        name = name or named
        models = [name] if name else [model.id for model in self._call(lambda client: client.models.list())]
        if not models:
            raise LabError(f"the server at {self.host} lists no model: name one behind the address, as {self.url}#name")
        self.name = models[0]

    def __str__(self) -> str:
        return f"{self.name} at {self.host}"

    @property
    def fingerprint(self) -> str:
        """Its address and its model's name, as a content address."""
        return address(url=self.url, name=self.name)

    def count(self, messages: Sequence[Message]) -> int:
        """About how many tokens a conversation has, on the safe side: a token for every three characters."""
        return sum(len(message["content"]) // 3 + 8 for message in messages)

    def generate(
        self,
        conversations: Sequence[Sequence[Message]],
        max_new_tokens: int = 64,
        batch_tokens: int = 0,
        progress: Callable[[int], object] | None = None,
        cache: Cache | None = None,
    ) -> list[Generation]:
        """Answers in the conversations' order, asked one by one; tokens as the server counts them, repeats from the `cache`."""
        answers = []
        for messages in conversations:
            key = bytes.fromhex(address(server=self.fingerprint, messages=list(messages), room=max_new_tokens))
            stored = cache.get([key]) if cache else {}
            answer = Generation(**json.loads(stored[key])) if stored else self._answer(list(messages), max_new_tokens)
            if cache and not stored:
                cache.put({key: json.dumps(asdict(answer)).encode()})
            answers.append(answer)
            if progress:
                progress(1)
        return answers

    def _answer(self, messages: list[Message], room: int) -> Generation:
        options = {"model": self.name, "messages": messages, "temperature": 0, "max_tokens": room}
        began = time.perf_counter()
        reply = self._call(lambda client: client.chat.completions.create(**options))
        choice, used = reply.choices[0] if reply.choices else None, reply.usage
        text = (choice.message.content or "") if choice else ""
        text = re.sub(r"^\s*<think>.*?(?:</think>|\Z)|^.*?</think>", "", text, count=1, flags=re.DOTALL).strip()
        sizes = (used.prompt_tokens, used.completion_tokens) if used else (self.count(messages), len(text) // 3)
        return Generation(text, *sizes, time.perf_counter() - began, bool(choice and choice.finish_reason == "length"))

    def _call(self, ask: Callable[[OpenAI], Any]) -> Any:
        """What the server answers; every way to fail as one line with its remedy."""
        import openai

        http = openai.DefaultHttpxClient(trust_env=self.host not in LOOPBACK)  # whose servers no proxy reaches
        key = os.environ.get(self.key) or "none"
        try:
            with openai.OpenAI(base_url=self.url, api_key=key, timeout=self.seconds, http_client=http) as client:
                return ask(client)
        except openai.APIError as error:
            refusals = (openai.AuthenticationError, openai.PermissionDeniedError)
            problems = {
                openai.APITimeoutError: f"{self.host} did not answer in {self.seconds} s: try again, or a smaller model",
                openai.APIConnectionError: f"nothing answers at {self.url}: start the server, or check the address",
                refusals: f"{self.host} refuses the key: put a valid one into {self.key}",
                openai.APIError: f"{self.host} refuses ({one_line(error, 160)}): check the model's name, {self.url}#name",
            }
            raise LabError(next(text for kind, text in problems.items() if isinstance(error, kind))) from error
