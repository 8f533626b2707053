"""LoRA brings the house style within a minute, and lesson 09 runs headlessly at smoke size and shows what it promises."""

import pytest

import labkit
from labkit.compare.training import closed_book
from labkit.data import style_faults
from labkit.model import load_model
from labkit.rag.augment import build_messages
from labkit.tune.adapters import LoraSettings, train_adapter
from labkit.tune.prepare import Example, dataset


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
                 "in blocks of 64", "QLoRA less full", "beside 4 bit less merged", "all linear", "1 → ",
                 "LoRA less base", "replayed less none", "• "):  # fmt: skip
        assert said in outputs
