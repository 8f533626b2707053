"""Two processes of torchrun train one adapter: what one process trains, written once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from labkit.tune.adapters import LoraSettings
from labkit.tune.pairs import write_examples
from labkit.tune.train_file import tune_file

SETTINGS = ["--epochs", "2", "--batch", "8", "--rank", "4"]


@pytest.fixture(scope="module")
def runs(base, examples, tmp_path_factory):
    """The adapter of two processes and of one, and what the command said."""
    folder = tmp_path_factory.mktemp("torchrun")
    write_examples(folder / "pairs.jsonl", examples[:24])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    command = [*launch, str(Path(sys.executable).with_name("labkit")), "tune", "pairs.jsonl", "--out", "two", *SETTINGS]
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
