"""Training lowers the loss and repeats itself; killed at random moments, or out of room, it ends as a straight run, or in one line."""

import json
import os
import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from labkit import LabError
from labkit.model import load_model
from labkit.tune.prepare import IGNORED
from labkit.tune.train import Check, TrainSettings, batches, train

SETTINGS = TrainSettings(epochs=4, learning_rate=3e-3, batch_size=8)


@pytest.fixture
def model(base):
    return load_model(base, dtype="float32")


def run(base, rows, folder, settings=SETTINGS, **options):
    model = load_model(base, dtype="float32")
    report = train(model.network, model.tokenizer, rows, settings, folder, progress=False, **options)
    return report, model.network.state_dict()


def test_loss_falls_and_the_same_seed_gives_the_same_weights(base, rows, tmp_path, capfd):
    report, weights = run(base, rows, tmp_path)
    again, same = run(base, rows, tmp_path)
    assert report.steps == len(report.losses) == 24
    assert sum(report.losses[-4:]) < 0.9 * sum(report.losses[:4])
    assert report.tokens == 4 * sum(len(row["input_ids"]) for row in rows) and report.tokens_per_second > 0
    assert report.losses == again.losses and all(torch.equal(weights[name], same[name]) for name in weights)
    other, _ = run(base, rows, tmp_path, TrainSettings(epochs=1, batch_size=8, seed=1))
    assert other.losses[0] != report.losses[0]
    assert list(tmp_path.iterdir()) == [], "checkpoints go when the training is done"
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", ""), "a lesson shows no library's remarks"


@pytest.mark.reference
def test_the_loss_is_that_of_transformers_with_its_mask(base, rows, tmp_path):
    """The first step's loss, in float32, from the model's own loss over a padded and masked batch."""
    from labkit.tune.prepare import Collator
    from labkit.tune.train import _answer_logits, _attention

    network = load_model(base, dtype="float32").network
    batch = Collator(0)(rows[:8])
    with torch.no_grad():
        theirs = network(**batch).loss
    with torch.no_grad(), _attention(network):
        assert network.config._attn_implementation == ("in_blocks" if network.device.type == "cpu" else "sdpa")
        ours = torch.nn.functional.cross_entropy(*_answer_logits(network, batch, network.device), ignore_index=IGNORED)
    assert abs(ours - theirs) < 1e-5


@pytest.mark.reference
def test_what_a_check_asks_in_a_padded_batch_is_scored_without_the_padding(model):
    from labkit.decode import Reader
    from labkit.tune.train import _attention

    ids, mask = torch.tensor([[5, 6, 7, 8], [0, 0, 9, 7]]), torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    with torch.no_grad():
        alone = [
            Reader(model.network).read(row[seen > 0][None], seen[seen > 0][None])
            for row, seen in zip(ids, mask, strict=True)
        ]
        with _attention(model.network):
            together = Reader(model.network).repeat(2).read(ids, mask)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_the_precision_of_a_trainer_that_ran_before_in_the_process_does_not_stay(base, model, rows, tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    Accelerator(mixed_precision="bf16", cpu=not torch.cuda.is_available())  # leaves what transformers' trainer leaves
    try:
        train(model.network, model.tokenizer, rows[:8], TrainSettings(epochs=1), tmp_path, progress=False)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    fresh = load_model(base, dtype="float32").network
    fresh.load_state_dict(model.network.state_dict())
    ids = torch.tensor([rows[0]["input_ids"]], device=fresh.device)
    with torch.no_grad():
        torch.testing.assert_close(model.network(input_ids=ids).logits, fresh(input_ids=ids).logits)


def test_every_row_is_in_every_epoch_once_beside_rows_of_like_length():
    lengths = [n % 37 + 1 for n in range(1000)]
    steps = batches(lengths, TrainSettings(epochs=2, batch_size=32))
    half = len(steps) // 2
    for epoch in (steps[:half], steps[half:]):
        assert sorted(row for step in epoch for row in step) == list(range(1000))
    assert steps[:half] != steps[half:]
    spread = [max(lengths[i] for i in step) - min(lengths[i] for i in step) for step in steps]
    assert sum(spread) / len(spread) < 10


def test_what_cannot_be_trained_is_one_clear_line(base, rows, tmp_path, model):
    def refused(match, network=model.network, rows=rows, settings=SETTINGS, folder=tmp_path):
        with pytest.raises(LabError, match=match):
            train(network, model.tokenizer, rows, settings, folder, progress=False)

    refused("nothing to train on", rows=[])
    refused("dtype='float32'", network=load_model(base, dtype="bfloat16").network)
    refused("step 1 has nothing to learn", rows=[{"input_ids": [5, 6], "labels": [IGNORED] * 2}])
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    refused("cannot write in", folder=blocked)
    with pytest.raises(LabError, match="schedule 'cosin': choose"):
        TrainSettings(schedule="cosin")
    with pytest.raises(LabError, match="at least 1"):
        TrainSettings(epochs=0)
    with pytest.raises(LabError, match="learning rate nan: give a number above 0"):
        TrainSettings(learning_rate=float("nan"))


def test_the_model_is_left_ready_to_answer(model, rows, tmp_path):
    before = model.network.config._attn_implementation
    train(model.network, model.tokenizer, rows[:8], TrainSettings(epochs=1), tmp_path, progress=False)
    assert not model.network.training and model.network.config._attn_implementation == before
    assert model.network.forward.__self__ is model.network


SHORT = TrainSettings(epochs=3, learning_rate=3e-3, batch_size=8)

LOOP = """
import json, os, pickle, random, resource, signal, sys, threading, time, zipfile
from pathlib import Path
from labkit import LabError
from labkit.model import load_model
from labkit.tune.train import TrainSettings, train
from transformers import AutoModelForCausalLM, AutoTokenizer  # imported once, not in every process
assert threading.active_count() == 1  # what forks has no threads
base, rows, folder, kills, room = sys.argv[1:]
rows = json.loads(Path(rows).read_text())

def whole(work):
    settings = TrainSettings(epochs=3, learning_rate=3e-3, batch_size=8)
    model = load_model(base, dtype="float32")
    report = train(model.network, model.tokenizer, rows, settings, work, False, save_seconds=0)
    return model.network, report

def forked(work):
    child = os.fork()
    if child == 0:
        if int(room):
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
        try:
            network, report = whole(work)
            from safetensors.torch import save_file

            save_file({n: w.clone() for n, w in network.named_parameters()}, f"{work}.safetensors")
            Path(f"{work}.json").write_text(json.dumps(report.losses))
        except LabError as error:
            print(f"LabError: {error}", flush=True)
        os._exit(0)
    return child

class Plain(pickle.Unpickler):  # what stands in a checkpoint beside its tensors
    def persistent_load(self, name):
        return None

    def find_class(self, module, name):
        return super().find_class(module, name) if module == "collections" else lambda *parts: None

def steps(path):
    with zipfile.ZipFile(path) as parts, parts.open("archive/data.pkl") as data:
        return len(Plain(data).load()["losses"])

def seen():
    return [path.stat().st_mtime_ns for path in Path(folder, "work").glob("*/checkpoint.pt")]

os.waitpid(forked(f"{folder}/straight"), 0)
rng = random.Random(0)
for _ in range(int(kills)):
    before, child = seen(), forked(f"{folder}/work")
    while not (ended := os.waitpid(child, os.WNOHANG)[0]) and seen() == before:
        time.sleep(0.001)
    if ended:
        break
    time.sleep(rng.uniform(0, 0.1))  # while a checkpoint is being written, or after it
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("killed at", max(map(steps, Path(folder, "work").glob("*/checkpoint.pt")), default=0), flush=True)
os.waitpid(forked(f"{folder}/work"), 0)
"""


def loop(base, rows, folder, kills, room=0):
    (folder / "rows.json").write_text(json.dumps(rows))
    words = [sys.executable, "-c", LOOP, base, folder / "rows.json", folder, str(kills), str(room)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # a process that forks has no threads
    done = subprocess.run(words, env=alone, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def test_killed_again_and_again_a_training_goes_on_and_ends_as_a_straight_one(base, rows, tmp_path):
    told = loop(base, rows, tmp_path, kills=5)
    reached = [int(line.removeprefix("killed at ")) for line in told]
    assert len(reached) >= 3 and reached == sorted(reached), "a checkpoint that was complete is never lost"
    assert 0 < max(reached) < 18
    wanted, ended = (load_file(tmp_path / f"{name}.safetensors") for name in ("straight", "work"))
    assert all(torch.equal(wanted[name], ended[name]) for name in wanted)
    losses = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("straight", "work")]
    assert losses[0] == losses[1] and len(losses[0]) == 18
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("share", [0.5, 1.5], ids=["in the weights", "in the optimiser's state"])
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(base, rows, tmp_path, share):
    room = round(share * (base / "model.safetensors").stat().st_size)
    told = loop(base, rows, tmp_path, kills=0, room=room)
    assert len(told) == 2 and all(line.startswith("LabError: cannot write in ") for line in told)
    assert all("make room" in line for line in told)
    model = load_model(base, dtype="float32")
    assert train(model.network, model.tokenizer, rows, SHORT, tmp_path / "work", progress=False).steps == 18


def checked(base, rows, folder, measure, patience=2):
    model = load_model(base, dtype="float32")
    check = Check(lambda: measure(model.network), patience)
    settings = TrainSettings(epochs=6, learning_rate=3e-3, batch_size=8)
    options = {"progress": False, "save_seconds": 0, "check": check}
    report = train(model.network, model.tokenizer, rows, settings, folder, **options)
    return report, {name: weight.clone() for name, weight in model.network.named_parameters()}


def rising(after):
    """A loss that is lowest after the second epoch, the weights that it saw, and a stop in the middle if `after`."""
    losses, seen = iter([0.5, 0.2, 0.3, 0.4, 0.1, 0.1]), []

    def measure(network):
        seen.append({name: weight.detach().clone() for name, weight in network.named_parameters()})
        if len(seen) == after:
            raise KeyboardInterrupt
        return {"loss": next(losses), "evaluating": float(not network.training)}

    return measure, seen


def test_early_stopping_ends_by_patience_and_gives_the_best_weights(base, rows, tmp_path):
    measure, seen = rising(after=None)
    report, weights = checked(base, rows, tmp_path, measure)
    assert [epoch["loss"] for epoch in report.epochs] == [0.5, 0.2, 0.3, 0.4] and report.steps == 24
    assert all(epoch["evaluating"] for epoch in report.epochs)
    assert report.epochs[3]["train loss"] == pytest.approx(sum(report.losses[-6:]) / 6)
    assert report.tokens == 4 * sum(len(row["input_ids"]) for row in rows)
    assert all(torch.equal(weights[name], seen[1][name]) for name in weights)
    assert not all(torch.equal(weights[name], seen[3][name]) for name in weights)


def test_a_check_that_measures_no_number_stops_in_one_line(base, rows, tmp_path):
    with pytest.raises(LabError, match="'loss' is nan after epoch 1: lower the learning rate"):
        checked(base, rows, tmp_path, lambda network: {"loss": torch.tensor(float("nan"))})


def test_stopped_and_resumed_the_checks_and_the_best_weights_are_the_same(base, rows, tmp_path):
    straight, wanted = checked(base, rows, tmp_path, rising(after=None)[0])
    measure, seen = rising(after=4)
    with pytest.raises(KeyboardInterrupt):
        checked(base, rows, tmp_path, measure)
    report, weights = checked(base, rows, tmp_path, lambda network: {"loss": 0.4, "evaluating": 1.0})
    assert len(seen) == 4 and report.epochs == straight.epochs and report.losses == straight.losses
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_checkpoints_stay_until_the_weights_are_kept_and_one_cut_off_is_never_used(base, rows, tmp_path):
    def run(keep):
        model = load_model(base, dtype="float32")
        train(model.network, model.tokenizer, rows, SHORT, tmp_path, False, save_seconds=0, keep=keep)

    def full(report):
        raise OSError(28, "No space left on device")

    with pytest.raises(LabError, match="No space left on device.*make room"):
        run(full)
    (home,) = tmp_path.iterdir()
    assert [path.name for path in home.iterdir()] == ["checkpoint.pt"]
    (home / "checkpoint.pt.part").write_bytes(b"cut off")
    kept = []
    run(kept.append)
    assert kept[0].steps == 18 and list(tmp_path.iterdir()) == []


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_shows_errors_and_curves(lesson):
    outputs = lesson("08_train")
    for said in (
        "unexpected keyword argument 'epochs'",
        "name 'dataset' is not defined",
        "expected sequence of length",
        "TRL's row holds ours and then '\\n'",
        "on strangers, the loss",
        "stopped by new wordings",
        "by wordings of each fact in training",
        "by times that a fact is seen in training",
        "right, both - pairs:",
        "loss on all pairs: ours",
        "left out: line 4: no response",
        "has nothing to learn",
    ):
        assert said in outputs, said
    assert outputs.count("[image/png]") == 3
