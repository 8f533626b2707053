"""What was trained or answered is found by the data that crosses a boundary: no code, no file name, no docstring decides."""

import json
from dataclasses import replace

import pytest
import torch

from labkit.compare import training
from labkit.compare.experiment import ask_arms
from labkit.compare.lab import Lab
from labkit.compare.training import RECIPE, conversations, lora_settings, tokenised
from labkit.model import load_model
from labkit.profile import POCKET
from labkit.rag.augment import build_messages
from labkit.store import ROOT, Artifacts, Cache, address, file_hashes
from labkit.tune.adapters import LoraSettings, add_lora
from labkit.tune.train import train


@pytest.fixture(scope="module")
def lab():
    """The full pocket lab, whose adapters are shipped."""
    return Lab(POCKET, progress=False)


def smoke(folder) -> Lab:
    lab = Lab(POCKET, "smoke", progress=False)
    lab.runs, lab.artifacts, lab.answered = (
        folder,
        Artifacts(folder / "artifacts", folder / "none"),
        Cache(folder / "a.sqlite"),
    )
    return lab


@pytest.mark.parametrize("name", ["tuned", "hybrid"])
def test_every_shipped_adapter_is_found_whatever_its_code_is_called(lab, name):
    for seed in POCKET.seeds:
        folder = lab.adapter(name, seed)
        assert folder.parent == ROOT / "data" / "artifacts"
        rows = tokenised(lab, conversations(lab, name, seed))
        parts = {
            "base": lab.model.fingerprint,
            "settings": lora_settings(POCKET, name, seed),
            "rows": address(rows=rows),
        }
        assert folder.name == address(recipe=RECIPE, **parts)  # nothing else decides


def test_the_passages_of_the_shipped_hybrids_are_shipped_too(lab, monkeypatch):
    """Near ties of a search differ between processors: without a search the rows are the same everywhere."""
    monkeypatch.setattr(Lab, "index", lambda *_: pytest.fail("searched"))
    assert Lab(POCKET, progress=False).adapter("hybrid", 0).parent == ROOT / "data" / "artifacts"


def test_other_rows_another_base_or_other_settings_are_another_adapter(lab):
    talks = conversations(lab, "tuned", 0)[:4]
    settings, keys = lora_settings(POCKET, "tuned", 0), set()

    def noted(build, name, **parts):
        keys.add(address(**parts))

    other = smoke_like(lab, noted)
    training.kept_adapter(other, settings, talks, "x")
    training.kept_adapter(other, settings, talks, "another name")
    assert len(keys) == 1
    training.kept_adapter(other, settings, talks[:3], "x")
    training.kept_adapter(other, replace(settings, seed=9), talks, "x")
    assert len(keys) == 3


def smoke_like(lab, noted) -> Lab:
    other = Lab(POCKET, "smoke", progress=False)
    other.model = lab.model
    other.artifacts.folder = noted
    return other


def test_a_broken_measure_changes_the_next_run_though_no_model_is_asked_again(tmp_path, monkeypatch, with_vectors):
    first = ask_arms(smoke(with_vectors(tmp_path)), ["rag"])
    monkeypatch.setattr("labkit.compare.score.contains", lambda text, gold: False)
    monkeypatch.setattr("labkit.model.greedy", lambda *_: pytest.fail("asked again"))
    second = ask_arms(smoke(tmp_path), ["rag"])
    assert first.text.tolist() == second.text.tolist()
    plain = first[~first.kind.isin(["numeric comparison", "not in the documents"])].index
    assert first.correct[plain].any() and not second.correct[plain].any()


def test_answers_are_kept_by_weights_precision_prompt_and_room(tmp_path):
    cache, asked = Cache(tmp_path / "a.sqlite"), [build_messages("Who are you?"), build_messages("Who are you?")]
    model = load_model(ROOT / POCKET.model, dtype="float32")
    steps = []
    first = model.generate(asked, 8, progress=steps.append, cache=cache)
    assert first[0] == first[1] and sum(steps) == 2
    model.network = None  # whoever asks again fails
    assert model.generate(asked, 8, cache=cache) == first
    with pytest.raises((TypeError, AttributeError)):
        model.generate(asked, 7, cache=cache)


def test_a_model_without_files_is_never_looked_up(tmp_path):
    from labkit.model import Model

    loaded = load_model(ROOT / POCKET.model, dtype="float32")
    bare, cache = Model(loaded.network, loaded.tokenizer), Cache(tmp_path / "a.sqlite")
    bare.generate([build_messages("Who are you?")], 4, cache=cache)
    assert not (tmp_path / "a.sqlite").exists()


GOLDEN = ROOT / "tests" / "compare" / "golden.json"
"""Made by `python tests/compare/test_keys.py` when a recipe number is raised."""


def golden() -> dict:
    """Hashes of the tokenised rows of each shipped adapter, a loss trace, and ten answers, all in float32."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    lab = Lab(POCKET, progress=False)
    rows = {name: tokenised(lab, conversations(lab, name, 0)) for name in ("tuned", "hybrid")}
    some = [item for item in lab.questions if len(item.evidence) == 1][:10]
    prompts = [build_messages(item.question, [(e.entity, e.passage) for e in item.evidence]) for item in some]
    answers = load_model(ROOT / POCKET.model, dtype="float32").generate(prompts, 32)
    return {
        "rows": {name: address(rows=some) for name, some in rows.items()},
        "losses": trace(lab, rows["tuned"][:80]),
        "answers": [answer.text for answer in answers],
    }


def trace(lab, rows) -> list[float]:
    """The losses of twenty steps in float32."""
    from tempfile import TemporaryDirectory

    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr("labkit.tune.train.precision", lambda device: "float32")
        network = add_lora(load_model(ROOT / POCKET.model, dtype="float32").network, LoraSettings())
        settings = LoraSettings(epochs=1, batch_size=4)
        report = train(network, lab.model.tokenizer, rows, settings, folder, progress=False)
    return [round(loss, 7) for loss in report.losses]


def test_rows_losses_and_answers_are_those_of_the_recipe():
    """Where this fails, the recipe changed: raise RECIPE in training.py or model.py, and make the golden file again."""
    known, now = json.loads(GOLDEN.read_text("utf-8")), golden()
    assert now["rows"] == known["rows"] and now["answers"] == known["answers"]
    assert now["losses"] == pytest.approx(known["losses"], abs=1e-5)


def test_every_shipped_artifact_is_whole():
    for folder in (ROOT / "data" / "artifacts").iterdir():
        files = file_hashes(folder)
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        del files["manifest.json"]
        assert manifest == {"address": folder.name, "files": files}


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n")
