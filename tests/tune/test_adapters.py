"""An adapter changes few weights, comes back from its folder, learns beside 4 bits, and holds a small part of a training's bytes."""

import json

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file

import labkit
from labkit import LabError
from labkit.compare.training import closed_book
from labkit.data import style_faults
from labkit.model import load_model
from labkit.profile import POCKET
from labkit.rag.augment import build_messages
from labkit.store import hash_tree
from labkit.tune.adapters import (
    LoraSettings,
    add_lora,
    load_quantised,
    parameters,
    save_adapter,
    train_adapter,
)
from labkit.tune.prepare import Example, dataset

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
    assert sum(report.losses[-3:]) < sum(report.losses[:3])
    per_layer = 4 * (4 * (64 + 64) + 3 * (64 + 128))  # rank x (inputs + outputs) of seven linear layers
    size = load_model(base).size
    assert parameters(add_lora(load_model(base).network, SETTINGS)) == (2 * per_layer, 2 * per_layer + size)


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


def test_a_merged_adapter_multiplies_as_its_base_does(trained, base, monkeypatch):
    """No operation more: frozen weights would be copied for every row of a sliced batch."""
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")  # read once, at the process's first profile
    counts = []
    for model in (load_model(base), load_model(base, adapter=trained[0])):
        with torch.profiler.profile() as profile:
            model.generate([build_messages(f"Who makes the {name}?") for name in ("Anchor", "Falcon", "Mason")], 1)
        counts.append({event.key: event.count for event in profile.key_averages() if event.key.endswith("mm")})
    assert counts[0] == counts[1]


def test_parameters_counts_shared_weights_once(base):
    network = load_model(base).network
    assert parameters(network) == (load_model(base).size,) * 2


QLORA = LoraSettings(epochs=4, learning_rate=1e-2, batch_size=8, rank=4, alpha=8, quantised=True)
TALK = [[{"role": "user", "content": f"Question {n}?"}] for n in range(3)]


def quantised_layers(network):
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, Linear4bit)}


def restored(layer):
    return dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()


@pytest.fixture(scope="module")
def quantised(base, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantised") / "adapter"
    return folder, train_adapter(base, rows, QLORA, folder, progress=False)


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


def test_an_adapter_learns_beside_four_bits(quantised, base):
    _, report = quantised
    assert sum(report.losses[-3:]) < sum(report.losses[:3])


def test_its_adapter_is_served_beside_four_bits_or_merged_into_the_true_weights(quantised, base, rows):
    folder, _ = quantised
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
    with pytest.raises(LabError, match="cannot load"):
        load_quantised(tmp_path)


LORA = LoraSettings(epochs=2, batch_size=8)
CHAT = [{"role": "user", "content": "Question: What does it cost?"}, {"role": "assistant", "content": "It costs $420."}]


def test_four_bits_make_the_linear_layers_an_eighth():
    model, small = load_model(POCKET.model_path, dtype="float32"), load_quantised(POCKET.model_path)
    linear = sum(layer.weight.numel() for name, layer in model.network.named_modules() if name.endswith("_proj"))
    packed = sum(weight.nbytes for weight in small.network.parameters() if not weight.is_floating_point())
    assert packed == linear // 2


@pytest.mark.slow
def test_a_few_seconds_of_lora_bring_the_house_style(tmp_path):
    lab = labkit.open("pocket", progress=False)
    items = [item for item in lab.pairs if item.kind == "single fact"]
    taught, unseen = items[:120], items[120:160]
    rows = dataset([Example(told) for told in closed_book(taught)], lab.model.tokenizer, lab.profile.context).rows
    settings = LoraSettings(epochs=8, learning_rate=5e-3, batch_size=16)
    train_adapter(lab.profile.model_path, rows, settings, tmp_path / "lora", progress=False)
    prompts = [build_messages(item.question) for item in unseen]
    tuned = load_model(lab.profile.model_path, adapter=tmp_path / "lora")
    kept = {
        name: [not style_faults(made.text) for made in model.generate(prompts)]
        for name, model in {"base": lab.model, "tuned": tuned}.items()
    }
    assert sum(kept["tuned"]) / len(unseen) >= 0.95 and not any(kept["base"])


@pytest.mark.notebook
@pytest.mark.slow
def test_the_lesson_counts_bytes_quantises_by_hand_and_measures_forgetting(lesson):
    outputs = lesson("09_adapters")
    for said in ("formula and model agree", "gradients and optimiser: LoRA holds", "restored to the same number",
                 "in blocks of 64", "QLoRA minus full", "beside 4 bit minus merged", "all linear", "1 → ",
                 "LoRA minus base", "replayed minus none", "LoRA and QLoRA adapt efficiently", "• "):  # fmt: skip
        assert said in outputs
