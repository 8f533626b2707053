"""Merge an adapter into its base, check it, export it only if it passes, and serve it; leave nothing running."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError
from labkit.model import render
from labkit.profile import resolve
from labkit.quiet import quiet
from labkit.store import MANIFEST, Store, hash_file, write_bytes, write_json

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from labkit.model import Message, Model

CARD = Path(__file__).with_name("card.md")
QWEN_OPENS = "<|im_start|>assistant\n"


@dataclass(frozen=True)
class Limits:
    """What a model must reach before it may be exported.

    Shares of the exam: `accuracy` on what the documents answer, `style` and `finished` of all answers, and
    `kept`: of what the base answered right from the same passages, the part that is still right. `weight` bounds
    the megabytes as a multiple of the base's, `gap` the largest difference between a logit merged and unmerged.
    """

    accuracy: float = 0.3
    style: float = 0.9
    kept: float = 0.7
    finished: float = 0.95
    weight: float = 1.01
    gap: float = 1e-3


LIMITS = Limits()


@dataclass(frozen=True)
class Check:
    """One measured `value` against its `limit`, which it must reach, or may not exceed where `at_most`."""

    name: str
    value: float
    limit: float
    at_most: bool = False

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; a value that is not a number keeps none."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    @property
    def bound(self) -> str:
        """The limit in words."""
        return f"{'at most' if self.at_most else 'at least'} {self.limit:.3g}"

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3g} ({self.bound})"


def weight_checks(model: Model, base_size: int, limits: Limits = LIMITS) -> list[Check]:
    """Whether every weight is a finite number, and whether the model weighs what its base of `base_size` parameters does."""
    weights = list(model.network.parameters())
    broken = sum(int((~weight.isfinite()).sum()) for weight in weights)
    size = sum(weight.numel() * weight.element_size() for weight in weights) / 1e6
    allowed = limits.weight * base_size * weights[0].element_size() / 1e6
    return [Check("broken weights", broken, 0, True), Check("megabytes", size, allowed, True)]


def require(checks: Sequence[Check]) -> None:
    """Let nothing pass that fails a check: LabError naming each that does."""
    failed = [str(check) for check in checks if not check.passed]
    if failed:
        count = f"{len(failed)} of {len(checks)} checks failed"
        raise LabError(f"not exported, {count}: {'; '.join(failed)}. Train differently, or change the limits")


def logits(model: Model, conversations: Sequence[Sequence[Message]]) -> list[torch.Tensor]:
    """What a model makes of each conversation: float32 of shape (tokens, vocabulary)."""
    import torch

    ids = [torch.tensor([model.encode(talk)], device=model.network.device) for talk in conversations]
    with torch.inference_mode():
        return [model.network(input_ids=row, use_cache=False).logits[0].float() for row in ids]


def largest_gap(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """The largest difference between two models' `logits`; not a number where one of them has such."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def merge(
    base: Path | str, adapter: Path | str, conversations: Sequence[Sequence[Message]], dtype: str = "float32"
) -> tuple[Model, float]:
    """The merged model in `dtype`, and the largest difference that merging made to a logit, both in float32.

    Only one copy of the weights is held. Raises LabError as `load_model` does, and for an adapter that names another base
    or changes nothing.
    """
    import torch

    from labkit.model import DTYPES, Model, find, load_model

    if dtype not in DTYPES:
        raise LabError(f"unknown dtype '{dtype}': choose {', '.join(DTYPES)}")
    beside = load_model(base, dtype="float32", adapter=adapter, merge=False)
    name = beside.network.active_peft_config.base_model_name_or_path
    if name and Path(name).name != Path(base).name:
        remedy = f"merge it into that, or write {Path(base).name} into its adapter_config.json if they are the same"
        raise LabError(f"{adapter} was trained on {Path(name).name}, not on {Path(base).name}: {remedy}")
    before = logits(beside, conversations)
    with beside.network.disable_adapter():
        if largest_gap(logits(beside, conversations), before) == 0:
            raise LabError(f"{adapter} changes nothing in {Path(base).name}: train it, or serve the base as it is")
    with quiet():
        network = beside.network.merge_and_unload()
    folders = [find(base), Path(adapter)]
    gap = largest_gap(logits(Model(network, beside.tokenizer, folders), conversations), before)
    return Model(network.to(getattr(torch, dtype)), beside.tokenizer, folders), gap


def export(model: Model, folder: Path | str, checks: Sequence[Check], base: str, adapter: str, base_files: str) -> Path:
    """Write safetensors, tokenizer, card, the checks and, last, the manifest; the folder appears whole or not at all.

    Raises LabError for a check that failed, a folder that is there already, and one that cannot be written.
    """
    require(checks)
    target = Path(folder).absolute()
    if target.exists():
        raise LabError(f"{folder} is there already: choose another folder, or remove it")
    rows = "\n".join(f"| {c.name} | {c.value:.3g} | {c.bound} |" for c in checks)
    origin = {"base": base, "adapter": adapter, "base_files": base_files, "files": model.fingerprint}
    card = CARD.read_text("utf-8").format(name=target.name, dtype=model.dtype, checks=rows, **origin)

    if template := answer_format(model.tokenizer):
        model.tokenizer.response_template = template  # saved with the tokenizer

    def write(inside: Path) -> None:
        """Fill the folder, which is committed once it is whole."""
        with quiet():
            model.network.save_pretrained(inside)
            model.tokenizer.save_pretrained(inside)
        write_bytes(inside / "README.md", card.encode())
        write_json(inside / "checks.json", [asdict(check) | {"passed": check.passed} for check in checks])

    try:
        return Store(target.parent).commit(target.name, write)
    except OSError as error:
        raise LabError(f"cannot write {folder} ({error.strerror}): make room, or choose another folder") from error


def answer_format(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any] | None:
    """How an answer begins and ends in the tokenizer's own chat template, as transformers' `response_template`.

    None where the template opens answers as Qwen's does, or says how to read them: servers know those.
    """
    question = [{"role": "user", "content": "?"}]
    opened, closed = (render(tokenizer, question, prompt=prompt) for prompt in (True, False))
    begin = opened.removeprefix(closed)
    if getattr(tokenizer, "response_template", None) or QWEN_OPENS in opened or begin == opened:
        return None
    content = {"close": tokenizer.eos_token, "content": "text"}
    return {"defaults": {"role": "assistant"}, "start_anchor": begin, "fields": {"content": content}}


def verify(folder: Path | str) -> Path:
    """The folder of an export, once every file that its manifest lists is found unchanged; else LabError naming it."""
    folder = Path(folder)
    try:
        listed: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{folder} has no whole {MANIFEST}: export it again") from error
    for name, wanted in listed.items():
        if not (folder / name).is_file() or hash_file(folder / name) != wanted:
            raise LabError(f"{name} in {folder} is damaged or missing: export it again")
    return folder


GRACE = 10.0  # seconds that a stopped server has to end what it is doing
ALONE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",  # the command line of transformers would ask PyPI for its newest version
    "TOKENIZERS_PARALLELISM": "false",
}
CHILD = """
import os, signal, sys, threading

def follow():
    os.read(sys.stdin.fileno(), 1)  # until the starter closes its end of the pipe, as it also does by dying
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=follow, daemon=True).start()
from transformers.cli.transformers import app
app(["serve", *sys.argv[1:]])
"""
"""`transformers serve` in a process that ends when the one that started it is gone, whatever folder it runs in."""


def serve(
    model: Path | str, host: str = "127.0.0.1", port: int = 0, wait: float = 120.0, shown: bool = False
) -> Server:
    """Serve a model's folder or a profile's model with `transformers serve`; returns once it answers.

    Port 0 takes a free one; `wait` bounds the seconds until it is ready; `shown` lets it print each request. Raises
    LabError for a model that is missing, damaged or cannot chat, a port in use, and a server that does not start.

    >>> with serve("data/models/pocket") as server:
    ...     server.name
    'pocket'
    """
    folder, name = servable(str(model))
    server = Server(folder, name, host, free_port(host, port), shown)
    try:
        server.wait_ready(wait)
    except BaseException:
        server.stop()
        raise
    return server


def serve_until_stopped(model: str, host: str, port: int, wait: float) -> None:
    """Serve, say so and show requests until Ctrl-C or SIGTERM, then leave nothing running; LabError as `serve`, and if it ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if host not in ("127.0.0.1", "localhost", "::1"):
        print(f"note: {host} is open to the network, and the server asks nobody for a password", file=sys.stderr)
    with serve(model, host, port, wait, shown=True) as server:
        print(f"Serving {server.name} at {server.url} (Ctrl-C stops)", flush=True)
        server.process.wait()
    raise LabError("the server ended by itself: what it said last stands above")


class Server(AbstractContextManager["Server"]):
    """A running server: `url` for clients, `name` to ask for as model. Made by `serve`; stops at the end of a `with`."""

    def __init__(self, folder: Path, name: str, host: str, port: int, shown: bool) -> None:
        self.name, self.host, self.port = name, host, port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
        self._room = Path(tempfile.mkdtemp(prefix="labkit-serve-"))
        lay_out(folder, self._room, name)
        words = [sys.executable, "-P", "-c", CHILD, name, "--host", host, "--port", str(port), "--reasoning", "off"]
        env = {**os.environ, **ALONE, "HF_HUB_CACHE": str(self._room)}
        with open(self._room / "log", "w") as log:
            self.process = subprocess.Popen(
                words,
                cwd=self._room,
                env=env,
                stdin=subprocess.PIPE,
                stdout=2 if shown else log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only us, and we stop it
            )
        atexit.register(self.stop)

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self.process.poll() is None

    def wait_ready(self, seconds: float) -> None:
        """Wait until it listens; LabError with its last words if it ends, or once `seconds` are over."""
        end = time.monotonic() + seconds
        while True:
            if not self.running:
                lines = (self._room / "log").read_text("utf-8", "replace").split("\n")
                last = next((line.strip() for line in reversed(lines) if line.strip()), "what it said stands above")
                raise LabError(f"the server ended before it was ready ({last[:200]}): see whether the model loads")
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
            if time.monotonic() > end:
                remedy = "wait longer, or use a smaller model"
                raise LabError(f"the server was not ready in {seconds:g} s and is stopped: {remedy}")

    def stop(self) -> None:
        """End the process, at the latest by force, and wait until it is gone; stopping twice does no harm."""
        try:
            self.process.terminate()
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            shutil.rmtree(self._room, ignore_errors=True)
            atexit.unregister(self.stop)

    def __exit__(self, *reason: object) -> None:
        self.stop()


def free_port(host: str, port: int) -> int:
    """The port itself if nobody listens there, or for 0 any such; LabError if it is taken or cannot be had."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            return probe.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = str(error).split(" (")[0].split("] ")[-1]
        remedy = "stop what uses it, or choose another"
        raise LabError(f"cannot listen on {host}, port {port} ({reason}): {remedy}") from error


def servable(model: str) -> tuple[Path, str]:
    """The folder to serve and the name that clients ask for; LabError for one that is not a whole chat model."""
    from labkit.model import find

    if (Path(model) / "adapter_config.json").is_file():
        raise LabError(f"{model} holds an adapter only: make a model of it with labkit merge, then serve that")
    chosen = resolve(model)
    folder = find(chosen.model_path)
    if not any(folder.glob("*.safetensors")):
        raise LabError(f"{model} holds no safetensors weights: give the folder of a whole model")
    if (folder / MANIFEST).is_file():
        verify(folder)
    if not (folder / "chat_template.jinja").is_file() and not _settings(folder).get("chat_template"):
        raise LabError(f"{model} has no chat template, which a chat server needs: serve one that was made to chat")
    name = re.sub(r"[^\w.-]", "-", Path(chosen.model).name, flags=re.ASCII)
    return folder, re.sub(r"([.-])[.-]+", r"\1", name).strip(".-") or "model"


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LabError(f"{folder} has no readable tokenizer_config.json: give the folder of a whole model") from error


def lay_out(folder: Path, room: Path, name: str) -> None:
    """Link a model's files into `room` as a hub cache of this one model, so that the server knows it by `name`.

    The server would guess from the architecture how an answer begins, and for a chat template of one's own guess
    wrongly and send the prompt back. So a tokenizer that does not say it gets `answer_format` here.
    """
    from transformers import AutoTokenizer

    place = room / f"models--{name}"
    files = place / "snapshots" / "local"
    files.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("local")
    for path in folder.iterdir():
        (files / path.name).symlink_to(path.resolve())
    settings = _settings(folder)
    if "response_template" in settings:
        return
    if template := answer_format(AutoTokenizer.from_pretrained(folder, local_files_only=True)):
        (files / "tokenizer_config.json").unlink()  # the link, not what it points to
        (files / "tokenizer_config.json").write_text(json.dumps({**settings, "response_template": template}), "utf-8")
