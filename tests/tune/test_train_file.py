"""labkit tune makes an adapter or new weights of a file, goes on after a kill, trains in two processes, and tells each mistake in one line."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from labkit import LabError
from labkit.cli import app
from labkit.model import load_model
from labkit.profile import POCKET
from labkit.store import ROOT, hash_file
from labkit.tune.adapters import LoraSettings, Tuned, tune_file
from labkit.tune.prepare import read_pairs, write_examples
from labkit.tune.train import TrainSettings

COMMAND = [sys.executable, "-c", "from labkit.cli import app; app(prog_name='labkit')"]
CSV = "prompt,response\nWho runs it?,Rita Irwin runs it.\nHow much is it?,It costs $420.\nWhy?,\n"
LORA = LoraSettings(epochs=1, batch_size=16, rank=4)


def labkit(*words):
    with chdir(ROOT):
        return CliRunner(env={"COLUMNS": "100"}).invoke(app, [*map(str, words)], prog_name="labkit")


@pytest.fixture
def pairs(tmp_path, examples):
    write_examples(tmp_path / "pairs.jsonl", examples)
    return tmp_path / "pairs.jsonl"


def test_help_shows_an_example_and_what_may_be_chosen():
    done = labkit("tune", "--help")
    assert done.exit_code == 0 and "Example: labkit tune pairs.csv" in done.stdout
    for option in ("--out", "--profile", "--model", "--full", "--epochs", "--rate", "--drop-long", "--save-seconds"):
        assert option in done.stdout


@pytest.mark.slow
def test_a_csv_becomes_an_adapter_of_the_pocket_model_that_answers(tmp_path):
    (tmp_path / "mine.csv").write_text(CSV)
    done = labkit("tune", tmp_path / "mine.csv", "--out", tmp_path / "mine", "--epochs", "2", "--batch", "1")
    assert done.exit_code == 0, done.output
    first, second, third = done.stdout.splitlines()
    assert first == "left out: line 4: no response"
    assert second.startswith("2 examples, 4 steps, ") and "tokens a second; loss" in second
    assert third == f"adapter: {tmp_path / 'mine'}"
    model = load_model(POCKET.model_path, adapter=tmp_path / "mine")
    assert model.generate([[{"role": "user", "content": "Who runs it?"}]], 8)[0].output_tokens > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.csv"], "nothing is left beside it"


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ends_with_the_same_adapter(base, pairs, tmp_path):
    words = ["tune", pairs, "--out", tmp_path / "killed", "--model", base, "--epochs", "1", "--rank", "4"]
    process = subprocess.Popen([*COMMAND, *map(str, words), "--save-seconds", "0"], cwd=ROOT)
    end = time.monotonic() + 300
    while process.poll() is None and not list(tmp_path.glob(".killed.training/*/checkpoint.pt")):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (tmp_path / "killed").exists()
    context = POCKET.context
    ends = [tune_file(pairs, tmp_path / name, base, LORA, context, progress=False) for name in ("killed", "straight")]
    assert [(tuned.steps, tuned.last_loss) for tuned in ends] == [(3, ends[0].last_loss)] * 2
    weights = [hash_file(tuned.folder / "adapter_model.safetensors") for tuned in ends]
    assert weights[0] == weights[1]


def test_done_already_is_told_and_not_done_again(base, pairs, tmp_path):
    first = tune_file(pairs, tmp_path / "out", base, LORA, 256, progress=False)
    began = (tmp_path / "out" / "adapter_model.safetensors").stat().st_mtime_ns
    assert tune_file(pairs, tmp_path / "out", base, LORA, 256, progress=False) == first
    assert (tmp_path / "out" / "adapter_model.safetensors").stat().st_mtime_ns == began
    with pytest.raises(LabError, match="out holds something else: choose another folder"):
        tune_file(pairs, tmp_path / "out", base, LoraSettings(epochs=2, rank=4), 256, progress=False)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(LabError, match="thesis holds something else"):
        tune_file(pairs, tmp_path / "thesis", base, LORA, 256, progress=False)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_all_weights_come_back_trained_with_their_tokenizer(base, pairs, tmp_path):
    settings = TrainSettings(epochs=2, learning_rate=3e-3, batch_size=16)
    tuned = tune_file(pairs, tmp_path / "new", base, settings, 256, progress=False)
    assert tuned.kind == "weights" and tuned.last_loss < tuned.first_loss
    before, after = load_model(base, dtype="float32"), load_model(tmp_path / "new", dtype="float32")
    changed = [
        not torch.equal(a, b) for a, b in zip(before.network.parameters(), after.network.parameters(), strict=True)
    ]
    assert all(changed) and after.tokenizer.get_vocab() == before.tokenizer.get_vocab()
    report = json.loads((tmp_path / "new" / "tuned.json").read_text())
    assert report["base"] == base.name and report["settings"]["epochs"] == 2 and str(tmp_path) not in json.dumps(report)


def test_long_examples_are_named_or_left_out_and_listed(base, pairs, tmp_path):
    with pytest.raises(LabError, match="example 0: .* the limit is 20: shorten it or drop it"):
        tune_file(pairs, tmp_path / "out", base, LORA, 20, progress=False)
    lengths = sorted(len(load_model(base).encode(e.messages)) for e in read_pairs(pairs)[0])
    limit = lengths[len(lengths) // 2]
    tuned = tune_file(pairs, tmp_path / "out", base, LORA, limit, drop_long=True, progress=False)
    assert isinstance(tuned, Tuned) and tuned.examples + len(tuned.left_out) == 48 and tuned.left_out
    assert all(f"more than {limit} tokens" in why for why in tuned.left_out)


def test_a_file_without_examples_is_one_clear_line(tmp_path):
    for name, text, said in [
        ("a.txt", "x", "neither .jsonl, .csv"),
        ("a.jsonl", "", "a.jsonl holds no example: give at least one"),
        ("a.csv", "prompt,response\nWhy?,\n", "holds no example; line 2: no response"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(LabError, match=said):
            read_pairs(tmp_path / name)
    with pytest.raises(LabError, match="cannot read"):
        read_pairs(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "words, status, said",
    [
        (["--model", "./none"], 2, "no model at ./none: give a folder"),
        (["--epochs", "0"], 1, "epochs 0, batch_size 16: give at least 1 of each"),
        (["--rate", "-1"], 1, "learning rate -1.0: give a number above 0"),
        (["--epoch", "2"], 2, "No such option: --epoch"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path, words, status, said):
    (tmp_path / "mine.csv").write_text(CSV)
    done = labkit("tune", tmp_path / "mine.csv", "--out", tmp_path / "out", *words)
    assert (done.exit_code, done.stdout) == (status, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {said}") and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_no_result(base, pairs, tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "  # of the whole process
    words = ["tune", pairs, "--out", tmp_path / "out", "--model", base, "--full", "--epochs", "1"]
    command = [*COMMAND[:2], limit + COMMAND[2], *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: cannot write in ") and "make room" in done.stderr
    assert not (tmp_path / "out").exists()


WORDS = ["--epochs", "2", "--batch", "8", "--rank", "4"]


@pytest.fixture(scope="module")
def runs(base, examples, tmp_path_factory):
    """The adapter of two processes and of one, and what the command said."""
    folder = tmp_path_factory.mktemp("torchrun")
    write_examples(folder / "pairs.jsonl", examples[:24])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    command = [*launch, str(Path(sys.executable).with_name("labkit")), "tune", "pairs.jsonl", "--out", "two", *WORDS]
    said = subprocess.run(
        [*command, "--profile", str(base)],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    settings = LoraSettings(epochs=2, batch_size=8, rank=4)
    tune_file(folder / "pairs.jsonl", folder / "one", base, settings, limit=512, progress=False)
    return folder, said.stdout


def test_one_adapter_is_written_and_told_once(runs):
    folder, said = runs
    assert sorted(path.name for path in folder.iterdir()) == ["one", "pairs.jsonl", "two"]
    assert said.count("adapter: ") == 1


def test_the_processes_share_every_batch_so_the_steps_are_those_of_one_process(runs):
    one, two = (json.loads((runs[0] / name / "tuned.json").read_text("utf-8")) for name in ("one", "two"))
    assert two["steps"] == one["steps"] == 6


def test_the_adapter_is_near_the_one_of_one_process(runs):
    one, two = (load_file(runs[0] / name / "adapter_model.safetensors") for name in ("one", "two"))
    moved = sum(float((weight.float() ** 2).sum()) for name, weight in one.items() if "lora_B" in name)
    apart = sum(float(((one[name] - two[name]).float() ** 2).sum()) for name in one if "lora_B" in name)
    assert apart < 0.5 * moved  # lora_B begins at zero, so `moved` is all that was learnt
