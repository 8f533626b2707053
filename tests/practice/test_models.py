"""Nothing depends on the pocket model: another architecture, with a small context and no chat template, goes the whole way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from labkit import LabError
from labkit.lab import Lab
from labkit.profile import ROOT, resolve
from labkit.rag.augment import build_messages
from labkit.world.data import load_pairs

LABKIT = [sys.executable, "-c", "from labkit.cli import app; app(prog_name='labkit')"]
CONTEXT = 512


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """A GPT-2 with random weights, a tokenizer of its own, 512 tokens of context and no chat template."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bare = ByteLevelBPETokenizer()
    texts = [text for item in load_pairs() for text in (item.question, item.answer)]
    bare.train_from_iterator(texts, vocab_size=1500, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare._tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    )
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    folder = tmp_path_factory.mktemp("models") / "foreign"
    GPT2LMHeadModel(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert not (folder / "chat_template.jinja").exists()
    return folder


@pytest.mark.notebook
@pytest.mark.slow
def test_the_whole_comparison_runs_on_another_architecture_with_a_small_context(foreign, tmp_path):
    known = {**os.environ, "COLUMNS": "100", "LABKIT_RUNS": str(tmp_path)}
    words = ["compare", "--model", str(foreign), "--size", "smoke"]
    done = subprocess.run([*LABKIT, *words], cwd=ROOT, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    latest = tmp_path / "compare" / "latest"
    result = json.loads((latest / "result.json").read_text())
    assert list(result["arms"]) == ["base", "rag", "tuned", "hybrid"]
    assert {a["name"]: a["shipped"] for a in result["artifacts"]} == {"tuned, seed 0": False, "hybrid, seed 0": False}
    room, answers = result["settings"]["max_new_tokens"], pd.read_csv(latest / "answers.csv")
    reading = answers[answers.arm.isin(["rag", "hybrid"])]
    assert CONTEXT // 2 < reading.prompt_tokens.max() <= CONTEXT - room
    assert result["arms"]["rag"]["recall_at_k"]["mean"] > 0.2
    assert (latest / "report.html").is_file()


def test_a_prompt_holds_the_best_passages_that_fit_and_no_more(foreign):
    lab = Lab(resolve(str(foreign)), "smoke", progress=False)
    arm, questions = lab.arm("rag"), [item.question for item in lab.questions[:6]]
    fitted = arm.retriever.search_batch(questions, 5)
    for question, hits, whole in zip(questions, fitted, lab.retriever().search_batch(questions, 5), strict=True):
        assert hits == whole[: len(hits)] and 0 < len(hits) < 5
        shown = [(hit.chunk.title, hit.chunk.text) for hit in whole]
        sizes = [lab.model.count(build_messages(question, shown[:n])) for n in (len(hits), len(hits) + 1)]
        assert sizes[0] <= CONTEXT - arm.max_new_tokens < sizes[1]


def test_a_question_longer_than_the_context_is_told_of(foreign):
    arm = Lab(resolve(str(foreign)), "smoke", progress=False).arm("rag")
    with pytest.raises(LabError, match="the question alone has .* tokens, the budget is 448"):
        arm.answer(["why " * 600])


def test_a_model_with_a_large_context_reads_all_that_is_found():
    lab = Lab(resolve("pocket"), "smoke", progress=False)
    questions = [item.question for item in lab.questions[:4]]
    assert lab.arm("rag").retriever.search_batch(questions, 5) == lab.retriever().search_batch(questions, 5)


def test_a_folders_profile_takes_its_context_from_the_model(foreign):
    assert resolve(str(foreign)).context == CONTEXT
