"""Training lowers the loss, repeats itself, and tells what is wrong in one line."""

import pytest
import torch

from labkit import LabError
from labkit.model import load_model
from labkit.tune.prepare import IGNORED
from labkit.tune.train import TrainSettings, batches, train

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
    from labkit.tune.loop import AnswerTrainer
    from labkit.tune.prepare import Collator

    network = load_model(base, dtype="float32").network
    batch = Collator(0)(rows[:8])
    with torch.no_grad():
        theirs = network(**batch).loss
        trainer = object.__new__(AnswerTrainer)
        trainer.losses = []
        ours = trainer.compute_loss(network, batch)
    assert abs(ours - theirs) < (0.02 if torch.cpu._is_avx512_bf16_supported() else 1e-5)


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
