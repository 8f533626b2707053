"""Nothing depends on the pocket model: another architecture, with a small context and no chat template, goes the whole way."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from labkit import LabError
from labkit.compare.lab import Lab, load
from labkit.data import load_pairs
from labkit.hub import lock_file, pinned, revisions
from labkit.profile import POCKET, resolve
from labkit.store import ROOT
from tools.execute import execute

LABKIT = [sys.executable, "-c", "from labkit.cli import app; app(prog_name='labkit')"]
CONTEXT = 512


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """A GPT-2 with random weights, a tokenizer of its own, 512 tokens of context and no chat template."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bare = ByteLevelBPETokenizer()
    texts = [text for item in load_pairs() for text in (item.question, item.answer)]
    bare.train_from_iterator(texts, vocab_size=1500, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare._tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    )
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    folder = tmp_path_factory.mktemp("models") / "foreign"
    GPT2LMHeadModel(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert not (folder / "chat_template.jinja").exists()
    return folder


@pytest.mark.notebook
@pytest.mark.slow
def test_the_whole_comparison_runs_on_another_architecture_with_a_small_context(foreign, tmp_path, with_vectors):
    known = {**os.environ, "COLUMNS": "100", "LABKIT_RUNS": str(with_vectors(tmp_path))}
    words = ["compare", "--model", str(foreign), "--size", "smoke"]
    done = subprocess.run([*LABKIT, *words], cwd=ROOT, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    latest = tmp_path / "compare" / "latest"
    result = json.loads((latest / "result.json").read_text())
    assert tuple(result["arms"]) == POCKET.arms
    assert {a["name"]: a["shipped"] for a in result["artifacts"]} == {"tuned, seed 0": False, "hybrid, seed 0": False}
    room, answers = result["settings"]["max_new_tokens"], pd.read_csv(latest / "answers.csv")
    reading = answers[answers.arm.isin(["rag", "hybrid"])]
    assert CONTEXT // 2 < reading.prompt_tokens.max() <= CONTEXT - room
    assert result["arms"]["rag"]["recall_at_k"]["mean"] > 0.2
    assert (latest / "report.html").is_file()


def test_a_prompt_holds_the_best_passages_that_fit_and_no_more(foreign):
    lab = Lab(resolve(str(foreign)), "smoke", progress=False)
    arm, questions = lab.arm("rag"), [item.question for item in lab.questions[:6]]
    fitted = [answer.hits for answer in arm.answer(questions)]
    for question, hits, whole in zip(questions, fitted, lab.retriever().search_batch(questions, 5), strict=True):
        assert list(hits) == whole[: len(hits)] and 0 < len(hits) < 5
        sizes = [lab.model.count(arm.messages(question, whole[:n])) for n in (len(hits), len(hits) + 1)]
        assert sizes[0] <= CONTEXT - arm.max_new_tokens < sizes[1]


def test_a_question_longer_than_the_context_is_told_of(foreign):
    arm = Lab(resolve(str(foreign)), "smoke", progress=False).arm("rag")
    with pytest.raises(
        LabError, match=f"the question alone has .* tokens, the budget is {CONTEXT - arm.max_new_tokens}"
    ):
        arm.answer(["why " * 600])


def test_a_model_with_a_large_context_reads_all_that_is_found():
    lab = Lab(resolve("pocket"), "smoke", progress=False)
    questions = [item.question for item in lab.questions[:4]]
    assert lab.arm("rag").retriever.search_batch(questions, 5) == lab.retriever().search_batch(questions, 5)


def test_a_folders_profile_takes_its_context_from_the_model(foreign):
    assert resolve(str(foreign)).context == CONTEXT


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub on loopback: `acme/tiny` and `acme/pickled` at one revision each, `acme/gated`, and nothing else."""

    files: dict[str, dict[str, bytes]] = {}
    newest = "1" * 40
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        parts = self.path.partition("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4]) if parts[0] == "api" else "/".join(parts[:2])
        if name not in self.files:
            gated = name == "acme/gated"
            return self._send(403 if gated else 404, b"{}", {"X-Error-Code": "GatedRepo" if gated else "RepoNotFound"})
        if parts[0] != "api":
            data = self.files[name]["/".join(parts[4:])]
            return self._send(200, data, {"ETag": f'"{len(data):040x}"', "X-Repo-Commit": parts[3]})
        listed = [
            {"type": "file", "path": path, "size": len(data), "oid": f"{len(data):040x}"}
            for path, data in self.files[name].items()
        ]
        about = {"id": name, "sha": self.newest, "siblings": [{"rfilename": path} for path in self.files[name]]}
        self._send(200, json.dumps(listed if parts[4:5] == ["tree"] else about).encode(), {})

    do_HEAD = do_GET

    def _send(self, status, data, headers):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def hub(foreign):
    Hub.files["acme/tiny"] = {path.name: path.read_bytes() for path in foreign.iterdir()}
    Hub.files["acme/tiny"] |= {"pytorch_model.bin": b"pickled", "modeling_tiny.py": b"raise SystemExit('ran')"}
    Hub.files["acme/pickled"] = {"config.json": b"{}", "pytorch_model.bin": b"pickled"}
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    listening.server_close()


def ask(model: str, folder: Path, endpoint: str, **more: str) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "hf")}
    known |= {"HF_HUB_DISABLE_XET": "1", "LABKIT_RUNS": str(folder / "runs"), **more}
    words = ["ask", "Why?", "--arm", "base", "--model", model]
    return subprocess.run([*LABKIT, *words], cwd=ROOT, env=known, capture_output=True, text=True)


@pytest.mark.slow
def test_a_hub_model_is_pinned_at_first_use_and_stays_where_it_was_pinned(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    first = ask("acme/tiny", tmp_path, hub)
    assert first.returncode == 0, first.stderr
    assert revisions() == {"acme/tiny": "1" * 40}
    kept = {path.name for path in (tmp_path / "hf").rglob("snapshots/*/*")}
    assert "model.safetensors" in kept and not kept & {"pytorch_model.bin", "modeling_tiny.py"}
    monkeypatch.setattr(Hub, "newest", "2" * 40)
    shutil.rmtree(tmp_path / "hf")
    Hub.asked.clear()
    again = ask("acme/tiny", tmp_path, hub)
    assert again.returncode == 0 and again.stdout.splitlines()[0] == first.stdout.splitlines()[0]
    assert revisions() == {"acme/tiny": "1" * 40} and not any("2" * 40 in path for path in Hub.asked)
    offline = ask("acme/tiny", tmp_path, hub, HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "model, said",
    [
        ("acme/gated", "acme/gated is gated: accept its terms on the hub's page of acme/gated, then run hf auth login"),
        ("acme/gone", "acme/gone is not on the hub: check the id; for a private one run hf auth login"),
        ("acme/pickled", "acme/pickled has no safetensors weights, and pickled ones are not read"),
    ],
)
def test_what_the_hub_refuses_is_one_line_with_the_remedy(hub, tmp_path, model, said):
    done = ask(model, tmp_path, hub)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {said}")


def test_without_a_network_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    with pytest.raises(LabError, match="acme/tiny is not on this machine, and the hub cannot be reached: connect once"):
        pinned("acme/tiny")
    assert not lock_file().exists()


def test_a_damaged_lock_file_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    lock_file().write_text("{")
    with pytest.raises(LabError, match="models.lock.json cannot be read .*: delete it to pin again"):
        pinned("acme/tiny")


def test_the_profile_gpu_needs_a_gpu():
    import torch

    if torch.cuda.is_available():
        assert resolve("gpu").hub
    else:
        with pytest.raises(LabError, match="the profile gpu needs a CUDA GPU, and there is none here"):
            load(resolve("gpu"))


@pytest.mark.notebook
def test_a_run_out_of_memory_is_one_line_with_the_remedy(tmp_path):
    source = tmp_path / "source" / "9_test" / "30_big.py"
    source.parent.mkdir(parents=True)
    source.write_text('# %% tags=["parameters"]\nPROFILE, SIZE = "pocket", "full"\n\n# %%\nheld = bytes(10**16)\n')
    with pytest.raises(LabError, match=r"cell \[2\]: memory is full \(MemoryError\): close what else uses it"):
        execute(source, tmp_path / "30_big.ipynb", progress=False)
