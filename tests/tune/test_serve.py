"""The pocket model behind the OpenAI API: the same answers, one line for each mistake, nothing left behind."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import chdir, contextmanager

import psutil
import pytest
from openai import BadRequestError, DefaultHttpxClient, OpenAI
from typer.testing import CliRunner

from labkit import LabError
from labkit.cli import app
from labkit.data import load_questions
from labkit.model import load_model
from labkit.rag.augment import build_messages
from labkit.store import ROOT
from labkit.tune.deploy import free_port, servable, serve

COMMAND = [sys.executable, "-c", "from labkit.cli import app; app(prog_name='labkit')"]
POCKET = ROOT / "data" / "models" / "pocket"
ADAPTER = min((ROOT / "data" / "artifacts").glob("*/adapter_config.json")).parent
PASSAGE = "The {} is made in Oslo and costs $420."


def labkit(*words):
    with chdir(ROOT):
        return CliRunner(env={"COLUMNS": "100"}).invoke(app, [*map(str, words)], prog_name="labkit")


def talks():
    asked = load_questions()[:60:10]
    return [build_messages(q.question, [("Note", PASSAGE.format(q.question.split()[-1]))]) for q in asked]


def client_of(url):
    return OpenAI(base_url=url, api_key="none", http_client=DefaultHttpxClient(trust_env=False), max_retries=0)


def answer(client, name, messages, **more):
    wanted = {"temperature": 0, "max_tokens": 64, **more}
    return client.chat.completions.create(model=name, messages=messages, **wanted)


def is_free(port):
    return free_port("127.0.0.1", port) == port


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """The shipped adapter merged into the shipped model, by the command."""
    folder = tmp_path_factory.mktemp("exports") / "norvale"
    done = labkit("merge", ADAPTER, "--out", folder)
    assert done.exit_code == 0, done.stderr
    assert "passed: merging gap" in done.stdout and done.stdout.endswith(f"labkit serve {folder} serves it\n")
    return folder


@pytest.fixture(scope="module")
def server(merged):
    """The merged model, served for several tests; after them nothing of it may be left."""
    with serve(merged) as running:
        process = psutil.Process(running.process.pid)
        yield running
    assert not running.running and not process.is_running() and is_free(running.port)
    running.stop()  # once more does no harm


@pytest.mark.slow
def test_served_answers_are_those_in_process(server, merged):
    wanted = [made.text for made in load_model(merged, dtype="float32").generate(talks())]
    client = client_of(server.url)
    assert [answer(client, server.name, talk).choices[0].message.content.strip() for talk in talks()] == wanted
    parts = [part.choices[0].delta.content or "" for part in answer(client, server.name, talks()[0], stream=True)]
    assert "".join(parts).strip() == wanted[0] and len(parts) > 3


@pytest.mark.slow
def test_the_server_knows_its_model_by_name_and_no_other(server):
    client = client_of(server.url)
    assert [model.id for model in client.models.list()] == [server.name] == ["norvale"]
    with pytest.raises(BadRequestError):
        answer(client, "another", talks()[0])


@pytest.mark.slow
def test_a_server_listens_on_loopback_only_and_talks_to_nobody_else(server):
    open_here = psutil.Process(server.process.pid).net_connections()
    assert {c.raddr.ip for c in open_here if c.raddr} <= {"127.0.0.1"}
    listening = [(c.laddr.ip, c.laddr.port) for c in open_here if c.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", server.port)]


@pytest.mark.slow
def test_a_busy_port_is_reported_in_one_line(server, merged):
    busy = labkit("serve", merged, "--port", server.port)
    assert busy.exit_code == 1 and busy.stdout == ""
    assert busy.stderr.startswith(f"error: cannot listen on 127.0.0.1, port {server.port} (Address already in use)")
    assert busy.stderr.count("\n") == 1 and server.running


@pytest.mark.slow
def test_the_base_is_served_without_sending_the_prompt_back():
    with serve("pocket") as running:
        served = answer(client_of(running.url), "pocket", talks()[0]).choices[0].message.content
    wanted = load_model(POCKET, dtype="bfloat16").generate([talks()[0]])[0].text
    assert served.strip()[:10] == wanted[:10]


@contextmanager
def serving(folder, port):
    """`labkit serve` as a user starts it."""
    words = [*COMMAND, "serve", str(folder), "--port", str(port)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def gone(processes, seconds=30):
    return not psutil.wait_procs(processes, timeout=seconds)[1]


@pytest.mark.slow
@pytest.mark.parametrize("sign, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_stopped_by_any_signal_the_command_leaves_no_process_and_no_port(merged, sign, status):
    port = free_port("127.0.0.1", 0)
    with serving(merged, port) as process:
        said = process.stdout.readline()
        assert said == f"Serving norvale at http://127.0.0.1:{port}/v1 (Ctrl-C stops)\n"
        assert answer(client_of(f"http://127.0.0.1:{port}/v1"), "norvale", talks()[0]).choices[0].message.content
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(sign)
        assert process.wait(30) == status
        assert gone(children) and is_free(port)
        assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
def test_stopped_while_the_model_loads_nothing_is_left(merged):
    port = free_port("127.0.0.1", 0)
    with serving(merged, port) as process:
        parent, end = psutil.Process(process.pid), time.monotonic() + 60
        while not (children := parent.children()):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143 and gone(children) and is_free(port)


@pytest.mark.slow
def test_a_server_that_is_not_ready_in_time_is_stopped(merged):
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(LabError, match=r"not ready in 0.5 s and is stopped"):
        serve(merged, wait=0.5)
    assert {child.pid for child in psutil.Process().children()} == before


@pytest.mark.slow
def test_a_model_that_does_not_load_ends_in_one_line(merged, tmp_path):
    folder = tmp_path / "odd"
    shutil.copytree(merged, folder)
    (folder / "manifest.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "unheard-of"}))
    with pytest.raises(LabError, match="the server ended before it was ready|cannot read"):
        serve(folder)


@pytest.mark.parametrize(
    "words, status, said",
    [
        (["serve", "no-such-model"], 1, "unknown profile 'no-such-model': choose smol, pocket"),
        (["serve", "./no/such"], 1, "no model at ./no/such: give a folder that holds config.json"),
        (["serve", str(ADAPTER)], 1, ".* holds an adapter only: make a model of it with labkit merge"),
        (["serve", "pocket", "--port", "70000"], 2, ".*--port"),
        (["serve", "pocket", "--host", "192.0.2.1"], 1, r"cannot listen on 192.0.2.1, port 8000 \("),
        (["merge", "no/such", "--out", "{out}"], 1, "no/such holds no adapter_config.json"),
        (["merge", str(ADAPTER), "--out", "{out}", "--dtype", "int4"], 1, "unknown dtype 'int4': choose float32"),
        (["merge", str(ADAPTER), "--out", "data"], 1, "data is there already: choose another folder"),
    ],
)
def test_a_mistake_is_one_line(words, status, said, tmp_path):
    done = labkit(*[word.format(out=tmp_path / "out") for word in words])
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note:")]
    assert done.exit_code == status and len(lines) == 1 and re.match(f"error: {said}", lines[0]), done.stderr
    assert not (tmp_path / "out").exists()


def test_a_damaged_a_templateless_and_a_pickled_model_are_not_served(tmp_path):
    folder = shutil.copytree(POCKET, tmp_path / "copy")
    assert servable(str(folder)) == (folder, "copy")
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(LabError, match="has no whole manifest.json"):
        servable(str(folder))
    (folder / "manifest.json").unlink()
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(LabError, match="has no chat template"):
        servable(str(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(LabError, match="holds no safetensors weights"):
        servable(str(folder))


def test_a_taken_port_is_told_apart_from_a_free_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LabError, match=f"port {port} .Address already in use.: stop what uses it"):
            free_port("127.0.0.1", port)
    assert is_free(port) and free_port("127.0.0.1", 0) > 0
