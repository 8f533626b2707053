"""Any server that speaks the OpenAI API as the generator of the untuned arms. Introduced in 21_own_data."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from labkit.errors import LabError
from labkit.model import Generation
from labkit.store import address

if TYPE_CHECKING:
    from openai import OpenAI

    from labkit.cache import Cache
    from labkit.rag.augment import Message


class Endpoint:
    """A model behind a URL, with what the arms ask of a `Model`: it answers, greedily, and counts prompts.

    `name` is the model's; without one, the first that the server lists. A key is read from OPENAI_API_KEY and kept
    nowhere. Questions and passages go to that server. Its weights cannot be seen, so its `fingerprint` is its address.
    Raises LabError where it cannot be reached or refuses. Introduced in 21_own_data.

    >>> Endpoint("http://127.0.0.1:8000/v1").generate([[{"role": "user", "content": "Why?"}]])[0].text
    """

    dtype = "unknown"

    def __init__(self, url: str, name: str = "", context: int = 4096, seconds: float = 120.0) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise LabError(f"'{url}' is no address of a server: give one as http://127.0.0.1:8000/v1")
        self.url, self.context, self.seconds = url.rstrip("/"), context, seconds
        self.host = urlsplit(url).hostname
        self.name = name or self._first()

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
        """Answers in the order of the conversations, asked one after another; tokens as the server counts them.

        Nothing is batched here; with a `cache`, what this model was asked before is taken from there.
        """
        made = []
        for messages in conversations:
            key = bytes.fromhex(address(server=self.fingerprint, messages=list(messages), room=max_new_tokens))
            known = cache.get([key]) if cache else {}
            if not known:
                answer = self._answer(list(messages), max_new_tokens)
                known = {key: json.dumps(asdict(answer)).encode()}
                if cache:
                    cache.put(known)
            made.append(Generation(**json.loads(known[key])))
            if progress:
                progress(1)
        return made

    def _answer(self, messages: list[Message], room: int) -> Generation:
        began = time.perf_counter()
        reply = self._call(
            lambda client: client.chat.completions.create(
                model=self.name, messages=messages, temperature=0, max_tokens=room
            )
        )
        text = (reply.choices[0].message.content or "").strip() if reply.choices else ""
        used = reply.usage
        sizes = (used.prompt_tokens, used.completion_tokens) if used else (self.count(messages), len(text) // 3)
        return Generation(text, *sizes, time.perf_counter() - began)

    def _first(self) -> str:
        listed = [model.id for model in self._call(lambda client: client.models.list())]
        if not listed:
            raise LabError(f"the server at {self.host} lists no model: name one behind the address, as {self.url}#name")
        return listed[0]

    def _call(self, ask: Callable[[OpenAI], object]) -> object:
        """What the server answers; every way to fail as one line with its remedy."""
        import openai

        try:
            local = self.host in ("127.0.0.1", "::1", "localhost")
            http = openai.DefaultHttpxClient(trust_env=not local)
            key = os.environ.get("OPENAI_API_KEY") or "none"
            with openai.OpenAI(base_url=self.url, api_key=key, timeout=self.seconds, http_client=http) as client:
                return ask(client)
        except openai.APITimeoutError as error:
            raise LabError(
                f"{self.host} did not answer in {self.seconds:g} s: try again, or a smaller model"
            ) from error
        except openai.APIConnectionError as error:
            raise LabError(f"nothing answers at {self.url}: start the server, or check the address") from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise LabError(f"{self.host} refuses the key: put a valid one into OPENAI_API_KEY") from error
        except openai.APIError as error:
            said = " ".join(str(error).split())[:160]
            raise LabError(f"{self.host} refuses ({said}): check the model's name, {self.url}#name") from error


def endpoint(said: str) -> Endpoint | None:
    """The endpoint written as URL or URL#model; None for an empty text. LabError as `Endpoint`."""
    url, _, name = said.partition("#")
    return Endpoint(url, name) if url else None
