"""What a chat server needs of a model's folder, and how the folder is laid before it. Introduced in 10_deploy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.chat import render
from labkit.errors import LabError
from labkit.hashing import hash_file
from labkit.profile import resolve
from labkit.store import MANIFEST

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QWEN_OPENS = "<|im_start|>assistant\n"


def servable(model: str) -> tuple[Path, str]:
    """The folder to serve and the name that clients ask for; LabError for one that is not a whole chat model."""
    from labkit.checkpoint import find

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

        found = answer_format(AutoTokenizer.from_pretrained(folder, local_files_only=True))
        if found:
            (files / "tokenizer_config.json").unlink()  # the link, not what it points to
            (files / "tokenizer_config.json").write_text(json.dumps({**settings, "response_template": found}), "utf-8")


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LabError(f"{folder} has no readable tokenizer_config.json: give the folder of a whole model") from error


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


def answer_format(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any] | None:
    """How an answer begins and ends in the tokenizer's own chat template, as transformers' `response_template`.

    None where the template opens answers as Qwen's does, or says how to read them: servers know those.

    >>> answer_format(load_model("data/models/pocket").tokenizer)["start_anchor"]
    '<|im_start|>assistant'
    """
    question = [{"role": "user", "content": "?"}]
    opened, closed = (render(tokenizer, question, prompt=prompt) for prompt in (True, False))
    begin = opened.removeprefix(closed)
    if getattr(tokenizer, "response_template", None) or QWEN_OPENS in opened or begin == opened:
        return None
    content = {"close": tokenizer.eos_token, "content": "text"}
    return {"defaults": {"role": "assistant"}, "start_anchor": begin, "fields": {"content": content}}
