"""The model's work beside its rivals: training against Trainer, answering against a plain chain, and starting.

Training is as the article calls it: the same rows, steps, batch, rate and schedule.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tools.bench import Figure

if TYPE_CHECKING:
    from labkit.data import Item
    from labkit.lab import Lab
    from labkit.model import Model
    from labkit.tune.prepare import Row
    from labkit.tune.train import TrainSettings

TRAINER = "Trainer(model, TrainingArguments(num_train_epochs, learning_rate), rows padded to one length), float32"
CHAIN = "LangChain: FAISS retriever, prompt, HuggingFacePipeline, one question at a time"
ALONE = "the same model, one question a call"


def train(quick: bool = False) -> list[Figure]:
    """Tokens per second without padding (median of alternating rounds), and the loss on the rows after training.

    All weights of the pocket model on training pairs of the tuned arm, each round with another seed. The rival's rows
    are padded to the longest, the kindest fixed length.

    >>> [figure.ratio for figure in train(quick=True)]
    """
    import labkit
    from labkit.compare.training import closed_book
    from labkit.tune.prepare import Example, dataset
    from labkit.tune.train import TrainSettings

    lab = labkit.open("pocket", progress=False)
    pairs = [Example(messages) for messages in closed_book(lab.pairs[:: 20 if quick else 3])]
    rows = dataset(pairs, lab.model.tokenizer, lab.profile.context).rows
    speeds: dict[str, list[float]] = {"ours": [], "theirs": []}
    losses: dict[str, list[float]] = {"ours": [], "theirs": []}
    for seed in range(1 if quick else 3):
        settings = TrainSettings(epochs=1 if quick else 3, batch_size=8, schedule="linear", warmup=0, seed=seed)
        for name, way in {"ours": _our_training, "theirs": _their_training}.items():
            speed, loss = _trial(way, lab.profile.model_path, rows, settings)
            speeds[name].append(speed)
            losses[name].append(loss)
    speed = [float(np.median(speeds[name])) for name in ("ours", "theirs")]
    loss = [float(np.mean(losses[name])) for name in ("ours", "theirs")]
    steps = f"{-(-len(rows) // 8) * settings.epochs} steps of 8 rows"
    return [
        Figure(f"full fine-tuning, {steps}", TRAINER, *speed, "tokens/s without padding"),
        Figure(f"loss on the rows after {steps}", TRAINER, *loss, "cross-entropy", more_is_better=False),
    ]


def _trial(
    way: Callable[[Model, Sequence[Row], TrainSettings], None], path: str, rows: Sequence[Row], settings: TrainSettings
) -> tuple[float, float]:
    """Tokens per second of one training from the start, and the loss after it, both in float32 weights."""
    from labkit.model import load_model
    from labkit.tune.train import answer_loss

    model = load_model(path, dtype="float32")
    began = time.perf_counter()
    way(model, rows, settings)
    seconds = time.perf_counter() - began
    tokens = settings.epochs * sum(len(row["input_ids"]) for row in rows)
    return tokens / seconds, answer_loss(model.network.eval(), rows, pad=0)


def _our_training(model: Model, rows: Sequence[Row], settings: TrainSettings) -> None:
    from labkit.tune.train import train as fit

    with tempfile.TemporaryDirectory() as folder:
        fit(model.network, model.tokenizer, rows, settings, folder, progress=False)


def _their_training(model: Model, rows: Sequence[Row], settings: TrainSettings) -> None:
    """The article's call, mended only as far as it must be to run; what it prints is switched off."""
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from labkit.quiet import quiet

    with tempfile.TemporaryDirectory() as folder, quiet():
        arguments = TrainingArguments(
            output_dir=folder, num_train_epochs=settings.epochs, learning_rate=settings.learning_rate,
            seed=settings.seed, disable_tqdm=True, report_to="none",
        )  # fmt: skip
        trainer = Trainer(model=model.network, args=arguments, train_dataset=padded(rows))
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def padded(rows: Sequence[Row]) -> list[Row]:
    """Every row as long as the longest: id 0 and no attention behind its end, and no loss.

    >>> padded([{"input_ids": [5], "labels": [5]}, {"input_ids": [6, 7], "labels": [6, 7]}])[0]["labels"]
    [5, -100]
    """
    from labkit.tune.prepare import IGNORED

    longest = max(len(row["input_ids"]) for row in rows)
    gaps = [longest - len(row["input_ids"]) for row in rows]
    return [
        {
            "input_ids": row["input_ids"] + [0] * gap,
            "attention_mask": [1] * (longest - gap) + [0] * gap,
            "labels": row["labels"] + [IGNORED] * gap,
        }
        for row, gap in zip(rows, gaps, strict=True)
    ]


def rag(quick: bool = False) -> list[Figure]:
    """Questions a second, from question to score, and the share right, both ways; and batches against single calls.

    The rival retrieves as many chunks from the same embeddings and sees the same prompt.

    >>> [figure.ratio for figure in rag(quick=True)]
    """
    import labkit

    lab = labkit.open("pocket", progress=False)
    items = [item for item in lab.questions if item.gold][:: 60 if quick else 5]
    ways = {"ours": _batched(lab), "theirs": _chain(lab), "alone": _alone(lab)}
    for answer in ways.values():
        answer(items[:2])
    found = {name: _scored(answer, items) for name, answer in ways.items()}
    speed = {name: len(items) / seconds for name, (seconds, _) in found.items()}
    right = {name: share for name, (_, share) in found.items()}
    return [
        Figure(f"{len(items)} questions answered and scored", CHAIN, speed["ours"], speed["theirs"], "questions/s"),
        Figure(f"right of {len(items)} questions", CHAIN, right["ours"], right["theirs"], "share"),
        Figure("batches sorted by length", ALONE, speed["ours"], speed["alone"], "questions/s"),
    ]


def _scored(answer: Callable[[Sequence[Item]], list[str]], items: Sequence[Item]) -> tuple[float, float]:
    from labkit.compare.score import is_right

    began = time.perf_counter()
    right = [is_right(item, text) for item, text in zip(items, answer(items), strict=True)]
    return time.perf_counter() - began, float(np.mean(right))


def _batched(lab: Lab) -> Callable[[Sequence[Item]], list[str]]:
    arm = replace(lab.arm("rag"), cache=None)
    return lambda items: [answer.text for answer in arm.answer([item.question for item in items])]


def _alone(lab: Lab) -> Callable[[Sequence[Item]], list[str]]:
    arm = replace(lab.arm("rag"), cache=None)
    return lambda items: [arm.answer([item.question])[0].text for item in items]


def _chain(lab: Lab) -> Callable[[Sequence[Item]], list[str]]:
    """What tutorials print, with the model's own chat template and greedy decoding."""
    from langchain_community.llms import HuggingFacePipeline
    from langchain_community.vectorstores import FAISS
    from langchain_core.runnables import RunnableLambda, RunnablePassthrough
    from transformers import pipeline

    from labkit.model import load_model, render
    from labkit.quiet import quiet
    from labkit.rag.augment import build_messages

    model = load_model(lab.profile.model_path, dtype="float32")
    texts, about = [c.text for c in lab.vectors.chunks], [{"title": c.title} for c in lab.vectors.chunks]
    search = FAISS.from_texts(texts, lab.embedder, about).as_retriever(search_kwargs={"k": lab.profile.top_k})
    with quiet():
        made = pipeline("text-generation", model=model.network, tokenizer=model.tokenizer, return_full_text=False)
        llm = HuggingFacePipeline(
            pipeline=made, pipeline_kwargs={"max_new_tokens": lab.profile.max_new_tokens, "do_sample": False}
        )

    def prompt(given: dict) -> str:
        shown = [(found.metadata["title"], found.page_content) for found in given["context"]]
        return render(model.tokenizer, build_messages(given["question"], shown), prompt=True)

    chain = {"context": search, "question": RunnablePassthrough()} | RunnableLambda(prompt) | llm
    return lambda items: [chain.invoke(item.question) for item in items]


def start(quick: bool = False) -> list[Figure]:
    """Seconds of `import labkit` beside the imports that a tutorial begins with, and of a comparison cold and warm.

    Cold: an empty folder of runs, so that everything is embedded and answered; the shipped adapters are used. `quick`
    leaves the comparison out.

    >>> [figure.ratio for figure in start(quick=True)]
    """
    ours = min(_python("import labkit") for _ in range(3))
    theirs = _python("import transformers, sentence_transformers, langchain_community.vectorstores, peft")
    found = [Figure("import labkit", "import transformers, sentence_transformers, langchain_community, peft", ours, theirs, "s", False)]  # fmt: skip
    if quick:
        return found
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-c", "from labkit.cli import app; app()", "compare", "--profile", "pocket"]
        cold, warm = (_seconds(command, {"LABKIT_RUNS": runs}) for _ in "12")
    return [*found, Figure("labkit compare, warm", "labkit compare, cold", warm, cold, "s", False)]


def _python(code: str) -> float:
    return _seconds([sys.executable, "-c", code], {})


def _seconds(command: list[str], more: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **more})
    return time.perf_counter() - began
