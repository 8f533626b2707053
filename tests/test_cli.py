"""The commands as a user meets them: answers, tables, one line for each mistake, the promised exit status."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from labkit import __version__
from labkit.cli import app
from labkit.profile import PROFILES
from labkit.store import ROOT

LABKIT = [sys.executable, "-c", "from labkit.cli import app; app(prog_name='labkit')"]


def labkit(*words: str, **environment: str) -> Result:
    return CliRunner(env={"COLUMNS": "100", **environment}).invoke(app, [*words], prog_name="labkit")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A real checkpoint with random weights: it answers, though nothing that makes sense."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    words = {char: i for i, char in enumerate(["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    bytes_only = Tokenizer(models.BPE(words, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token="<|end|>", pad_token="<|end|>")
    turn = "{{ message['role'] }}: {{ message['content'] }}<|end|>"
    tokenizer.chat_template = (
        "{% for message in messages %}" + turn + "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape |= {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 8192, "tie_word_embeddings": True}
    folder = tmp_path_factory.mktemp("models") / "tiny"
    network = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(words), eos_token_id=0, pad_token_id=0, **shape))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_version_is_told_and_no_command_is_help():
    assert labkit("--version").stdout == f"labkit {__version__}\n"
    assert "Usage: labkit" in labkit().stdout


@pytest.mark.parametrize(
    "words, said",
    [
        (
            ("compare", "--profile", "pockt"),
            "unknown profile 'pockt': choose smol, pocket, laptop, gpu (did you mean pocket?)",
        ),
        (("compare", "--profile", "./no-model"), "no model at ./no-model: give a folder"),
        (("compare", "--size", "medium"), "unknown size 'medium': choose smoke, full"),
        (("compare", "--sise", "full"), "No such option: --sise"),
        (("ask", "Why?", "--arm", "ragg"), "unknown arm 'ragg': choose base, rag, tuned, hybrid"),
        (("ask", "  "), "the question is empty: write it in quotes"),
        (("ask",), "Missing argument 'question'"),
        (("frob",), "No such command 'frob'"),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(words, said):
    done = labkit(*words)
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1


def test_a_failed_run_is_one_line_and_status_1(tmp_path, model):
    (tmp_path / "taken").write_text("a file")
    done = labkit("compare", "--profile", str(model), "--out", str(tmp_path / "taken"))
    assert done.exit_code == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: cannot write to ")


def test_the_command_line_starts_fast():
    began = time.perf_counter()
    code = "import sys; import labkit.cli; print(*{'torch', 'faiss', 'pandas', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [] and time.perf_counter() - began < 5


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["base", "rag"])
def test_ask_answers_with_sources_tokens_and_seconds(tmp_path, model, arm):
    done = labkit("ask", "How heavy is it?", "--arm", arm, "--profile", str(model), LABKIT_RUNS=str(tmp_path))
    assert done.exit_code == 0, done.stderr
    assert re.search(r"\d+ tokens read, \d+ written; \d+\.\d\d s searching, \d+\.\d\d s answering\n$", done.stdout)
    sources = re.findall(r"^\[(\d)\] (\S+\.(?:pdf|docx|html|md)): \S", done.stdout, re.M)
    assert bool(sources) == (arm == "rag")
    assert all((ROOT / "data" / "documents" / name).is_file() for _, name in sources)


def test_readme_describes_the_profiles_as_they_are():
    readme = (ROOT / "README.md").read_text("utf-8")
    for name, profile in PROFILES.items():
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}`"))
        assert profile.model in row and (profile.embedder in row or profile.embedder.partition("/")[2] in row)


@pytest.mark.slow
def test_readmes_python_example_runs(tmp_path, model):
    (tmp_path / "my" / "documents").mkdir(parents=True)
    (tmp_path / "my" / "documents" / "terms.md").write_text("# Terms\n\nThe guarantee lasts three years.\n")
    (tmp_path / "my" / "documents" / "empty.txt").write_text("")
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)[1]
    assert code.count("data/models/pocket") == 1
    code = code.replace("data/models/pocket", str(model))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "empty.txt" in done.stdout and "reason='empty'" in done.stdout


def test_seeds_are_trainings_of_each_arm_over_both_sets_of_documents(monkeypatch):
    asked = []
    monkeypatch.setattr("labkit.compare.run.compare_into", lambda lab, folder, run: asked.append((folder.name, lab)))
    assert labkit("compare", "--seeds", "2").exit_code == 0
    assert [(name, lab.profile.seeds) for name, lab in asked] == [("compare", (0, 1)), ("prose", (0, 1))]
    assert labkit("compare", "--profile", "pocket").exit_code == 0
    assert asked[-1][0] == "compare" and asked[-1][1].profile.seeds == PROFILES["pocket"].seeds


def test_most_takes_some_of_your_own_questions_only():
    refused = labkit("compare", "--most", "20")
    assert refused.exit_code == 1 and refused.stderr.startswith("error: --most takes some of your own questions")
