"""The gate refuses by name, merging changes nothing, and an export is whole or not there."""

import json
import math
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from labkit import LabError
from labkit.model import load_model
from labkit.store import MANIFEST
from labkit.tune.adapters import LoraSettings, add_lora, save_adapter
from labkit.tune.deploy import (
    Check,
    answer_format,
    export,
    largest_gap,
    logits,
    merge,
    require,
    verify,
    weight_checks,
)

TALKS = [[{"role": "user", "content": f"Question {n}: where?"}] for n in range(3)]
PASSED = [Check("style", 1.0, 0.9)]


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    """An adapter that changes what the model says."""
    folder = tmp_path_factory.mktemp("adapter")
    network = add_lora(load_model(base, dtype="float32").network, LoraSettings(rank=4, alpha=8))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    save_adapter(network, folder, str(base))
    return folder


@pytest.fixture(scope="module")
def merged(base, adapter):
    return merge(base, adapter, TALKS)


@pytest.fixture(scope="module")
def exported(merged, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "norvale"
    return export(merged[0], folder, PASSED, "tiny", "mine", "ab" * 32)


def test_a_failing_gate_names_each_failed_check_and_its_limit():
    require(PASSED)
    with pytest.raises(LabError) as refused:
        require([*PASSED, Check("accuracy", 0.214, 0.3), Check("merging gap", math.nan, 1e-3, at_most=True)])
    said = str(refused.value)
    assert "2 of 3 checks failed: accuracy 0.214 (at least 0.3); merging gap nan (at most 0.001)" in said
    assert "\n" not in said and "style" not in said


def test_a_value_that_is_not_a_number_passes_no_check():
    assert not Check("x", math.nan, 0).passed and not Check("x", math.nan, 0, at_most=True).passed
    assert Check("x", 0.3, 0.3).passed and Check("x", 0.3, 0.3, at_most=True).passed


def test_broken_weights_are_counted_and_an_unmerged_adapter_is_extra_weight(base, adapter):
    model = load_model(base, dtype="float32")
    assert all(check.passed for check in weight_checks(model, model.size))
    beside = load_model(base, dtype="float32", adapter=adapter, merge=False)
    assert [check.passed for check in weight_checks(beside, model.size)] == [True, False]
    with torch.no_grad():
        weight = next(model.network.parameters())
        weight[0, 0], weight[1, 1] = math.nan, math.inf
    assert weight_checks(model, model.size)[0] == Check("broken weights", 2, 0, at_most=True)


def test_merged_equals_unmerged_and_is_what_loading_with_the_adapter_gives(base, adapter, merged):
    model, gap = merged
    beside = load_model(base, dtype="float32", adapter=adapter, merge=False)
    loaded = load_model(base, dtype="float32", adapter=adapter)
    assert 0 < gap < 1e-4
    assert largest_gap(logits(model, TALKS), logits(beside, TALKS)) == pytest.approx(gap, rel=0.01)
    assert largest_gap(logits(model, TALKS), logits(load_model(base, dtype="float32"), TALKS)) > 0.01
    assert [g.text for g in model.generate(TALKS, 8)] == [g.text for g in beside.generate(TALKS, 8)]
    assert model.fingerprint == loaded.fingerprint and model.size == loaded.size


def test_merging_takes_the_wanted_precision_and_refuses_another(base, adapter):
    model, gap = merge(base, adapter, TALKS, dtype="bfloat16")
    assert model.dtype == "bfloat16" and gap < 1e-4
    with pytest.raises(LabError, match="unknown dtype 'int4': choose float32"):
        merge(base, adapter, TALKS, dtype="int4")
    with pytest.raises(LabError, match="holds no adapter_config.json"):
        merge(base, base, TALKS)


def test_an_adapter_that_changes_nothing_lacks_weights_or_names_another_base_is_not_merged(base, adapter, tmp_path):
    untrained = add_lora(load_model(base, dtype="float32").network, LoraSettings(rank=4))
    save_adapter(untrained, tmp_path / "untrained", str(base))
    with pytest.raises(LabError, match="untrained changes nothing in tiny: train it"):
        merge(base, tmp_path / "untrained", TALKS)
    save_adapter(untrained, tmp_path / "other", "someone/other-model")
    with pytest.raises(LabError, match="other was trained on other-model, not on tiny: merge it into that"):
        merge(base, tmp_path / "other", TALKS)
    shutil.copytree(adapter, tmp_path / "part")
    weights = load_file(adapter / "adapter_model.safetensors")
    weights.popitem()
    save_file(weights, tmp_path / "part" / "adapter_model.safetensors")
    with pytest.raises(LabError, match="part does not fit this model .*missing adapter keys"):
        load_model(base, adapter=tmp_path / "part")


def test_merging_into_four_bits_changes_more_than_merging_in_full_precision(base, adapter, merged):
    from labkit.model import Model
    from labkit.tune.adapters import load_quantised

    beside, into = load_quantised(base, adapter), load_quantised(base, adapter)
    into = Model(into.network.merge_and_unload(), into.tokenizer)
    assert largest_gap(logits(into, TALKS), logits(beside, TALKS)) > 100 * merged[1]


def test_an_export_holds_safetensors_a_card_and_its_checks_and_names_no_machine(merged, exported, base):
    names = {path.name for path in exported.iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json", "README.md", "checks.json", MANIFEST}
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl", ".py"))]
    card = (exported / "README.md").read_text()
    assert "# norvale" in card and "| style | 1 | at least 0.9 |" in card and merged[0].fingerprint in card
    assert json.loads((exported / "checks.json").read_text())[0]["passed"] is True
    texts = [path.read_text() for path in exported.iterdir() if path.suffix in (".json", ".md", ".jinja")]
    assert not [text for text in texts if str(base.parent) in text or str(exported.parent) in text]
    assert [path.name for path in exported.parent.iterdir() if not path.name.startswith(".")] == ["norvale"]
    again = load_model(exported, dtype="float32")
    assert largest_gap(logits(again, TALKS), logits(merged[0], TALKS)) == 0


def test_a_failed_check_an_existing_folder_and_a_full_disk_leave_nothing_new(merged, exported, tmp_path):
    failed = [Check("style", 0.1, 0.9)]
    with pytest.raises(LabError, match="not exported, 1 of 1 checks failed: style"):
        export(merged[0], tmp_path / "out", failed, "tiny", "mine", "ab")
    assert not list(tmp_path.iterdir())
    with pytest.raises(LabError, match="norvale is there already"):
        export(merged[0], exported, PASSED, "tiny", "mine", "ab")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LabError, match="cannot write"):
        export(merged[0], tmp_path / "file" / "out", PASSED, "tiny", "mine", "ab")


def test_a_damaged_or_half_copied_export_is_not_trusted(exported, tmp_path):
    assert verify(exported) == exported
    copy = shutil.copytree(exported, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes((exported / "model.safetensors").read_bytes()[:-1])
    with pytest.raises(LabError, match="model.safetensors in .*copy is damaged or missing"):
        verify(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(LabError, match="model.safetensors in .*copy is damaged or missing"):
        verify(copy)
    (copy / MANIFEST).unlink()
    with pytest.raises(LabError, match="has no whole manifest.json"):
        verify(copy)


EXPORTING = """
import os, signal, sys, time
from labkit.tune.deploy import Check, export, merge
base, adapter, target = sys.argv[1:]
model, _ = merge(base, adapter, [[{"role": "user", "content": "?"}]])
for delay in map(float, iter(sys.stdin.readline, "")):  # each when the test has seen what the last one left
    begun, begin = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begin, b"ready")
        export(model, target, [Check("style", 1, 0.9)], "tiny", "mine", "ab")
        os._exit(0)
    os.close(begin)
    assert os.read(begun, 5) == b"ready"
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("killed", flush=True)
"""


def test_killed_at_any_moment_an_export_is_whole_or_absent(base, adapter, tmp_path):
    target, seen = tmp_path / "norvale", set()
    words = [sys.executable, "-c", EXPORTING, base, adapter, target]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # a process that forks has no threads
    with subprocess.Popen(words, env=alone, text=True, **pipes) as process:
        for delay in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2):
            print(delay, file=process.stdin, flush=True)
            assert process.stdout.readline() == "killed\n"
            seen.add(target.exists())
            if target.exists():
                verify(target)
                shutil.rmtree(target)
    model, _ = merge(base, adapter, TALKS)
    export(model, target, PASSED, "tiny", "mine", "ab")
    assert verify(target) == target and False in seen
    left = [path.name for path in tmp_path.iterdir() if path.name not in ("norvale", ".locks")]
    assert not left  # what the killed ones left is cleared away


def test_a_chat_template_of_ones_own_tells_how_answers_begin_and_end(exported, tokenizer):
    settings = json.loads((exported / "tokenizer_config.json").read_text())
    told = settings["response_template"]
    assert told["start_anchor"] == "<|im_start|>assistant"
    assert told["fields"]["content"]["close"] == tokenizer.eos_token
    parsed = load_model(exported).tokenizer.parse_response(
        " It is red.<|im_end|>", prefix="<|im_start|>user Why?<|im_end|>\n<|im_start|>assistant"
    )
    assert parsed["content"].strip() == "It is red."
    assert answer_format(load_model(exported).tokenizer) is None  # said already


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_refuses_merges_exports_serves_and_stops(lesson):
    outputs = lesson("10_deploy")
    for said in ("checks failed: broken weights 1 (at most 0)", "3 of 3 answers are the same, word for word",
                 "Linear4bit", "times as much as merging in full precision", "## What it passed",
                 "model.safetensors in copy is damaged or missing", "model 'norvale' listens on 127.0.0.1",
                 "3 of 3 answers are the same", "first piece after", "Address already in use",
                 "unknown profile 'no-such-model'", "stopped; the port is free"):  # fmt: skip
        assert said in outputs
    assert "labkit-serve" not in outputs
