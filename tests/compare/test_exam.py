"""The exam counts what tuning cost and brought, and a model that fails it is not exported."""

import re

import pytest
import torch
from typer.testing import CliRunner

from labkit.cli import app
from labkit.compare.exam import exam_checks
from labkit.model import load_model
from labkit.store import ROOT
from labkit.tune.adapters import LoraSettings, add_lora, save_adapter
from labkit.tune.deploy import Limits

POCKET = ROOT / "data" / "models" / "pocket"


def row(correct, answerable=1, style=1, output_tokens=9):
    return {"correct": correct, "answerable": answerable, "style": style, "output_tokens": output_tokens}


def test_an_exam_counts_what_tuning_cost_and_what_it_brought():
    before = [row(1), row(1), row(0), row(1, answerable=0)]
    after = [row(1), row(0, style=0), row(1), row(0, answerable=0, output_tokens=64)]
    found = {check.name: check.value for check in exam_checks(after, before, room=64)}
    assert found == {"accuracy": 2 / 3, "style": 3 / 4, "reading kept": 1 / 2, "answers finished": 3 / 4}
    nothing = exam_checks([row(0)], [row(0)], room=64, limits=Limits(kept=1))
    assert nothing[2].passed  # the base read nothing: nothing could be lost


@pytest.mark.slow
def test_a_model_that_fails_the_exam_is_not_exported_and_the_checks_are_named(tmp_path, with_vectors):
    (tmp_path / "runs").mkdir()
    untrained = add_lora(load_model(POCKET, dtype="float32").network, LoraSettings())
    with torch.no_grad():  # an adapter that changes nothing at all is refused before the exam
        for name, weight in untrained.named_parameters():
            if "lora_B" in name:
                weight.add_(1e-4)
    save_adapter(untrained, tmp_path / "untrained", str(POCKET))
    words = ("merge", tmp_path / "untrained", "--exam", "--size", "smoke", "--out", tmp_path / "out")
    runner = CliRunner(env={"COLUMNS": "100", "LABKIT_RUNS": str(with_vectors(tmp_path / "runs"))})
    done = runner.invoke(app, [*map(str, words)], prog_name="labkit")
    assert done.exit_code == 1 and done.stdout == "" and not (tmp_path / "out").exists()
    assert re.match(r"error: not exported, \d of 7 checks failed: .*style 0 \(at least 0.9\)", done.stderr), done.stderr
    assert "reading kept" not in done.stderr and done.stderr.count("\n") == 1  # it reads as its base does
