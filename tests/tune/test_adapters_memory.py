"""What a training holds in tensors is counted, not estimated; adapters hold a small part of it."""

import pytest

from labkit.model import load_model
from labkit.profile import POCKET
from labkit.tune.adapters import LoraSettings, add_lora, parameters
from labkit.tune.adapters_memory import footprint, weight_bytes
from labkit.tune.adapters_quantised import load_quantised
from labkit.tune.prepare import Example, dataset
from labkit.tune.train import TrainSettings

LORA = LoraSettings(epochs=2, batch_size=8)
CHAT = [{"role": "user", "content": "Question: What does it cost?"}, {"role": "assistant", "content": "It costs $420."}]


def count(model, settings):
    """Footprint of two steps, and the numbers of trained and of all parameters."""
    network = add_lora(model.network, settings) if isinstance(settings, LoraSettings) else model.network
    rows = dataset([Example(CHAT)] * 8, model.tokenizer, 256).rows
    return footprint(network, model.tokenizer, rows, settings), *parameters(network)


@pytest.fixture(scope="module")
def full():
    return count(load_model(POCKET.model_path, dtype="float32"), TrainSettings(epochs=2, batch_size=8))


@pytest.fixture(scope="module")
def lora():
    return count(load_model(POCKET.model_path, dtype="float32"), LORA)


def test_gradients_and_optimiser_of_lora_take_at_most_015_of_those_of_full_training(full, lora):
    (every, *_), (few, *_) = full, lora
    assert 0 < few.gradients + few.optimiser <= 0.15 * (every.gradients + every.optimiser)


@pytest.mark.parametrize("name", ["full", "lora"])
def test_every_trained_weight_has_a_gradient_and_two_means_in_32_bit(name, request):
    held, trained, total = request.getfixturevalue(name)
    assert held.gradients == 4 * trained and held.weights == 4 * total
    assert 8 * trained <= held.optimiser <= 1.01 * 8 * trained  # a step counter for each tensor


def test_the_peak_holds_weights_gradients_optimiser_and_activations(full, lora):
    for held, *_ in (full, lora):
        assert held.peak > held.weights + held.gradients + held.optimiser
    assert lora[0].peak < full[0].peak


def test_counting_twice_gives_the_same(lora):
    assert count(load_model(POCKET.model_path, dtype="float32"), LORA)[0] == lora[0]


def test_four_bits_make_the_linear_layers_an_eighth_and_a_scale_for_each_block():
    model, small = load_model(POCKET.model_path, dtype="float32"), load_quantised(POCKET.model_path)
    linear = sum(layer.weight.numel() for name, layer in model.network.named_modules() if name.endswith("_proj"))
    rest = sum(w.nbytes for w in small.network.parameters() if w.is_floating_point())
    tables = weight_bytes(small.network) - rest - linear // 2 - linear // 64 * 4
    assert weight_bytes(model.network) == 4 * model.size
    assert 0 <= tables <= 64 * small.network.config.num_hidden_layers * 7  # the sixteen levels, beside each layer


def test_counting_leaves_the_error_stream_as_it_was(lora, capfd):
    import sys

    count(load_model(POCKET.model_path, dtype="float32"), LORA)
    print("told", file=sys.stderr)
    assert capfd.readouterr().err == "told\n"
