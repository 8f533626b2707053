"""A model in four bits is what bitsandbytes makes of its weights, and an adapter beside it learns and is served."""

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit

from labkit import LabError
from labkit.model import load_model
from labkit.tune.adapters import LoraSettings, add_lora, parameters, train_adapter
from labkit.tune.adapters_quantised import load_quantised

SETTINGS = LoraSettings(epochs=4, learning_rate=1e-2, batch_size=8, rank=4, alpha=8, quantised=True)
TALK = [[{"role": "user", "content": f"Question {n}?"}] for n in range(3)]


def quantised_layers(network):
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, Linear4bit)}


def restored(layer):
    return dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()


@pytest.fixture(scope="module")
def trained(base, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantised") / "adapter"
    return folder, train_adapter(base, rows, SETTINGS, folder, progress=False)


def test_every_linear_layer_but_the_head_is_in_four_bits(base):
    network = load_quantised(base).network
    assert len(quantised_layers(network)) == 2 * 7
    assert not isinstance(network.lm_head, Linear4bit)
    assert network.get_input_embeddings().weight.is_floating_point()


def test_it_computes_with_the_restored_weights(base, rows):
    small, same = load_quantised(base).network, load_model(base, dtype="float32").network
    for name, layer in quantised_layers(small).items():
        exact = same.get_submodule(name).weight.data
        assert 0 < (restored(layer) - exact).norm() / exact.norm() < 0.15
        exact.copy_(restored(layer))
    ids = torch.tensor([rows[0]["input_ids"]])
    with torch.inference_mode():
        got, wanted = small(ids).logits.float(), same(ids).logits
    assert torch.nn.functional.cosine_similarity(got.flatten(), wanted.flatten(), dim=0) > 0.999


def test_answering_does_not_change_what_training_and_merging_read(base, rows):
    model = load_quantised(base)
    layers, ids = quantised_layers(model.network), torch.tensor([rows[0]["input_ids"]])
    before = {name: restored(layer) for name, layer in layers.items()}
    with torch.no_grad():
        logits = model.network.train()(ids).logits
    model.network.eval()
    model.generate(TALK, 4)
    assert all(torch.equal(restored(layer), before[name]) for name, layer in layers.items())
    with torch.no_grad():
        assert torch.equal(model.network.train()(ids).logits, logits)


def test_an_adapter_learns_beside_four_bits(trained, base):
    _, report = trained
    assert sum(report.training.losses[-3:]) < sum(report.training.losses[:3])
    plain = add_lora(load_model(base, dtype="float32").network, SETTINGS)
    assert report.trainable == parameters(plain)[0]


def test_its_adapter_is_served_beside_four_bits_or_merged_into_the_true_weights(trained, base, rows):
    folder, _ = trained
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    ids = torch.tensor([rows[0]["input_ids"]])
    models = [load_quantised(base, adapter=folder), load_model(base, dtype="float32", adapter=folder)]
    with torch.inference_mode():
        beside, merged = (model.network(ids).logits.float().flatten() for model in models)
        untrained = load_model(base, dtype="float32").network(ids).logits.flatten()
    assert torch.nn.functional.cosine_similarity(beside, merged, dim=0) > 0.9
    assert (beside - merged).norm() < (untrained - merged).norm()
    assert models[1].size == load_model(base).size


def test_a_folder_without_a_model_is_refused_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LabError, match="in 4 bit"):
        load_quantised(tmp_path)
