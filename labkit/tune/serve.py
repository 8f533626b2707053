"""Serve a model behind the OpenAI API on this machine, and leave nothing running. Introduced in 10_deploy."""

from __future__ import annotations

import atexit
import errno
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labkit.errors import LabError
from labkit.profile import resolve
from labkit.store import MANIFEST
from labkit.tune.deploy import answer_format, verify

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


def serve(model: Path | str, host: str = "127.0.0.1", port: int = 0, wait: float = 120.0) -> Server:
    """Serve a model's folder or a profile's model with `transformers serve`; returns once it answers.

    Port 0 takes a free one; `wait` bounds the seconds until it is ready. Raises LabError for a model that is missing,
    damaged or cannot chat, a port in use, and a server that does not start.

    >>> with serve("data/models/pocket") as server:
    ...     server.name
    'pocket'
    """
    missing = [package for package in ("fastapi", "uvicorn", "openai") if not find_spec(package)]
    if missing:
        raise LabError(f"serving needs {missing[0]}: pip install -c constraints.txt {' '.join(missing)}")
    folder, name = servable(str(model))
    server = Server(folder, name, host, free_port(host, port))
    try:
        server.wait_ready(wait)
    except BaseException:
        server.stop()
        raise
    return server


def serve_until_stopped(model: str, host: str, port: int, wait: float) -> None:
    """Serve, say so, show each request, and stop with Ctrl-C or SIGTERM; LabError as `serve`, and if the server ends.

    A stopped one leaves no process and no port behind.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not _loopback(host):
        print(f"note: {host} is open to the network, and the server asks nobody for a password", file=sys.stderr)
    with serve(model, host, port, wait) as server:
        server.echo = True
        print(f"Serving {server.name} at {server.url} (Ctrl-C stops)", flush=True)
        server.process.wait()
    raise LabError("the server ended by itself: what it said last stands above")


class Server:
    """A running server: `url` for clients, `name` to ask for as model. Made by `serve`; stops at the end of a `with`."""

    def __init__(self, folder: Path, name: str, host: str, port: int) -> None:
        self.name, self.host, self.port, self.echo = name, host, port, False
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
        self._lines: deque[str] = deque(maxlen=20)
        self._room = Path(tempfile.mkdtemp(prefix="labkit-serve-"))
        lay_out(folder, self._room, name)
        words = [name, "--host", host, "--port", str(port), "--reasoning", "off"]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", CHILD, *words],
            cwd=self._room,
            env={**os.environ, **ALONE, "HF_HUB_CACHE": str(self._room)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches only us, and we stop it
        )
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        atexit.register(self.stop)

    def _listen(self) -> None:
        for line in self.process.stdout:
            self._lines.append(line.strip())
            if self.echo:
                print(line, end="", file=sys.stderr)

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self.process.poll() is None

    def wait_ready(self, seconds: float) -> None:
        """Wait until this very process listens; LabError with its last words if it ends, or once `seconds` are over."""
        end = time.monotonic() + seconds
        while not self._listens():
            if not self.running:
                self._reader.join(GRACE)
                last = next((line for line in reversed(self._lines) if line), "no message")
                raise LabError(f"the server ended before it was ready ({last[:200]}): see whether the model loads")
            if time.monotonic() > end:
                raise LabError(
                    f"the server was not ready in {seconds:g} s and is stopped: wait longer, or use less model"
                )
            time.sleep(0.1)

    def _listens(self) -> bool:
        import psutil

        try:
            open_now = psutil.Process(self.process.pid).net_connections("tcp")
        except psutil.Error:
            return False
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == self.port for c in open_now)

    def stop(self) -> None:
        """End the process, at the latest by force, and wait until it is gone; stopping twice does no harm."""
        try:
            if self.running:
                self.process.terminate()
                self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(GRACE)
            self.process.stdin.close()
            self.process.stdout.close()
            shutil.rmtree(self._room, ignore_errors=True)
            atexit.unregister(self.stop)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port(host: str, port: int) -> int:
    """The port itself if nobody listens there, or for 0 any such; LabError if it is taken or cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            return probe.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if getattr(error, "errno", None) in errno.errorcode else str(error)
        raise LabError(
            f"cannot listen on {host}, port {port} ({reason}): stop what uses it, or choose another"
        ) from error


def servable(model: str) -> tuple[Path, str]:
    """The folder to serve and the name that clients ask for; LabError for one that is not a whole chat model."""
    from labkit.model import find

    if (Path(model) / "adapter_config.json").is_file():
        raise LabError(f"{model} holds an adapter only: make a model of it with labkit merge, then serve that")
    chosen = resolve(model)
    folder = find(chosen.model_path, None)
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
    place = room / f"models--{name}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("local")
    files = place / "snapshots" / "local"
    files.mkdir(parents=True)
    for path in folder.iterdir():
        (files / path.name).symlink_to(path.resolve())
    settings = _settings(folder)
    if "response_template" not in settings:
        from transformers import AutoTokenizer

        template = answer_format(AutoTokenizer.from_pretrained(folder, local_files_only=True))
        if template:
            (files / "tokenizer_config.json").unlink()  # the link, not what it points to
            (files / "tokenizer_config.json").write_text(
                json.dumps({**settings, "response_template": template}), "utf-8"
            )
