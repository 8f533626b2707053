"""An adapter changes few weights, comes back from its folder, and names no machine."""

import json

import pytest
import torch
from safetensors.torch import load_file

from labkit import LabError
from labkit.hashing import hash_tree
from labkit.model import load_model
from labkit.tune.adapters import LoraSettings, add_lora, parameters, save_adapter, train_adapter

SETTINGS = LoraSettings(epochs=3, learning_rate=5e-3, batch_size=8, rank=4, alpha=8)


@pytest.fixture(scope="module")
def trained(base, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    return folder, train_adapter(base, rows, SETTINGS, folder, progress=False)


def logits(network, rows):
    with torch.inference_mode():
        return network(torch.tensor([rows[0]["input_ids"]])).logits


def test_loss_falls_with_few_trained_parameters(trained, base):
    _, report = trained
    assert sum(report.training.losses[-3:]) < sum(report.training.losses[:3])
    per_layer = 4 * (4 * (64 + 64) + 3 * (64 + 128))  # rank x (inputs + outputs) of seven linear layers
    assert report.trainable == 2 * per_layer
    assert report.total == report.trainable + load_model(base).size


def test_the_head_and_the_embeddings_are_not_adapted(trained, base):
    folder, _ = trained
    names = load_file(folder / "adapter_model.safetensors")
    assert not [name for name in names if "lm_head" in name or "embed" in name]
    with pytest.raises(LabError, match="lm_head"):
        add_lora(load_model(base).network, LoraSettings(target_modules=("q_proj", "lm_head")))
    with pytest.raises(LabError, match="no_such"):
        add_lora(load_model(base).network, LoraSettings(target_modules=("no_such",)))


def test_a_saved_adapter_comes_back_beside_and_inside_the_weights(base, rows, tmp_path):
    network = add_lora(load_model(base, dtype="float32").network, SETTINGS)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
            if "lora_" in name:
                weight.copy_(weight.bfloat16())  # as adapters are stored
    wanted = logits(network.eval(), rows)
    save_adapter(network, tmp_path, str(base))
    beside = load_model(base, dtype="float32", adapter=tmp_path, merge=False)
    merged = load_model(base, dtype="float32", adapter=tmp_path)
    torch.testing.assert_close(logits(beside.network, rows), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits(merged.network, rows), wanted, atol=1e-4, rtol=0)
    assert not torch.allclose(logits(load_model(base, dtype="float32").network, rows), wanted, atol=1e-2)
    assert merged.size == load_model(base).size < beside.size
    talk = [[{"role": "user", "content": f"Question {n}?"}] for n in range(3)]
    assert [g.text for g in beside.generate(talk, 8)] == [g.text for g in merged.generate(talk, 8)]


def test_the_folder_names_no_machine_and_is_the_same_every_time(trained, base, rows, tmp_path):
    folder, _ = trained
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    text = (folder / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == base.name and str(base.parent) not in text
    train_adapter(base, rows, SETTINGS, tmp_path / "again", progress=False, checkpoints=tmp_path / "work")
    assert hash_tree(tmp_path / "again") == hash_tree(folder)


def test_an_adapter_changes_the_fingerprint_and_must_fit(trained, base, tmp_path):
    folder, _ = trained
    tuned = load_model(base, adapter=folder)
    assert tuned.fingerprint != load_model(base).fingerprint == load_model(base, dtype="float32").fingerprint
    with pytest.raises(LabError, match="holds no adapter_config.json"):
        load_model(base, adapter=tmp_path)
    (tmp_path / "adapter_config.json").write_bytes((folder / "adapter_config.json").read_bytes())
    with pytest.raises(LabError, match="holds no adapter_model.safetensors"):
        load_model(base, adapter=tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(LabError, match="does not fit"):
        load_model(base, adapter=tmp_path)


def test_parameters_counts_shared_weights_once(base):
    network = load_model(base).network
    assert parameters(network) == (load_model(base).size,) * 2
