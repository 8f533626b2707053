"""A second, small company on which a model is trained in a minute, and what studies do with it.

`data/small` holds it. Every fact is asked for in two wordings: the one that a tuned model is trained on, and one that no
training uses.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from labkit.compare.arms import Arm, FineTuned, Hybrid, Rag
from labkit.compare.lab import Lab, load
from labkit.compare.score import is_right
from labkit.compare.training import closed_book, kept_adapter, tokenised, with_context
from labkit.data import Item, data_folder, load_documents, load_questions, style_faults
from labkit.errors import LabError
from labkit.model import Model
from labkit.rag.chunk import chunk_documents
from labkit.rag.embed import load_embedder
from labkit.rag.index import FaissStore
from labkit.rag.ingest import Document
from labkit.rag.retrieve import Retriever
from labkit.stats import Interval, paired_bootstrap
from labkit.store import hash_tree

if TYPE_CHECKING:
    from labkit.tune.adapters import LoraSettings

EPOCHS, BATCH = 16, 8  # over about 80 facts, one wording each: all of them are learned
FASTER = 2.5  # times the tuned arm's rate: so few facts are learned in fewer steps, as well as slowly
SEEDS = 2
"""A study trains with this many of the profile's seeds, the first ones."""
RECIPE = "study/2"
"""Raised by hand whenever a study gives other rows for the same source, models, data and settings."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Company:
    """The small company at one update: all documents before and after it, and a question for every fact after it.

    A question's words are the same at every update; its kind says whether the value changed in this one.
    """

    documents: list[Document]
    updates: list[Document]
    questions: list[Item]

    @property
    def changed(self) -> list[Item]:
        """The questions whose value changes."""
        return [item for item in self.questions if item.kind == "changed"]

    @property
    def wordings(self) -> dict[str, list[Item]]:
        """Its questions in the words of training, and in held-out ones."""
        return {"trained": self.questions, "held-out": self.reworded}

    @property
    def reworded(self) -> list[Item]:
        """The same questions in held-out words, which no training uses."""
        words = [item.question for item in items("reworded")]
        return [replace(item, question=text) for item, text in zip(self.questions, words, strict=True)]


def company(share: float = 0.0) -> Company:
    """The company and an update of a share of its facts; before it, it is always the same."""
    return _company(f"share-{round(100 * share):02}")


def step(number: int) -> Company:
    """One of the updates that follow each other, counted from 1."""
    return _company(f"step-{number:02}")


def _company(name: str) -> Company:
    parts = [load_documents(data_folder() / "small" / name / f"{part}.jsonl") for part in ("documents", "updates")]
    return Company(*parts, items(f"{name}/questions"))


def items(name: str) -> list[Item]:
    """The questions of one file below `data/small`, named without its ending."""
    return load_questions(data_folder() / "small" / f"{name}.jsonl")


def learn(
    lab: Lab, model: Model, pairs: Sequence[Item], seed: int, epochs: int = EPOCHS, read: Retriever | None = None
) -> tuple[Model, float]:
    """The model after training on these pairs, its adapter merged in; and the seconds of training.

    Without context, as the tuned arm is trained, or over the passages that `read` finds, as the hybrid is.
    """
    from labkit.tune.adapters import add_lora
    from labkit.tune.train import train

    # Rows with passages are long: they go in the hybrid's batches, which take less memory.
    settings, pairs = _plan(lab, seed, epochs, lab.profile.hybrid_batch if read else BATCH), _few(lab, pairs)
    talks = with_context(pairs, read, lab.profile.top_k, seed) if read else closed_book(pairs)
    network = add_lora(deepcopy(model.network).float(), settings)
    with tempfile.TemporaryDirectory() as folder:
        report = train(network, model.tokenizer, tokenised(lab, talks), settings, folder, progress=False)
    return Model(network.merge_and_unload().to(model.network.dtype), model.tokenizer), report.seconds


def _plan(lab: Lab, seed: int, epochs: int = EPOCHS, batch: int = BATCH) -> LoraSettings:
    from labkit.tune.adapters import LoraSettings

    p, epochs = lab.profile, epochs if lab.size == "full" else 1
    return LoraSettings(epochs, FASTER * p.tuned_rate, batch, seed, rank=p.lora_rank)


def _few(lab: Lab, some: Sequence[Item]) -> Sequence[Item]:
    """All of them; at smoke size every eighth."""
    return some if lab.size == "full" else some[::8]


@cache
def first(lab: Lab, seed: int) -> Model:
    """The model that learned the first version; its adapter is kept, so that every lesson finds it trained."""
    talks = closed_book(_few(lab, company().questions))
    return load(lab.profile, kept_adapter(lab, _plan(lab, seed), talks, f"small company, seed {seed}"))


def reciter(lab: Lab, name: str, model: Model) -> Arm:
    """A model that answers from its weights, under a name of its own."""
    arm = type(name, (FineTuned,), {"name": name})
    return arm(model, None, lab.profile.top_k, lab.profile.max_new_tokens)


def reindex(lab: Lab, old: Sequence[Document], new: Sequence[Document]) -> tuple[FaissStore, float]:
    """The index over the new documents, and the seconds to make it when the old ones are embedded already."""
    p = lab.profile
    with tempfile.TemporaryDirectory() as cache:
        embedder = load_embedder(p.embedder, cache_dir=Path(cache))
        for documents in (old, new):
            began = time.perf_counter()
            chunks = chunk_documents(documents, embedder.tokenizer, size=p.chunk_size, overlap=p.chunk_overlap)
            store = FaissStore.from_chunks(chunks, embedder)
            seconds = time.perf_counter() - began
    return store, seconds


def rag(lab: Lab, store: FaissStore) -> Arm:
    """RAG over an index, with the profile's settings."""
    return Rag(lab.model, *_reading(lab, store))


def readers(lab: Lab, seed: int, store: FaissStore) -> list[Arm]:
    """The hybrid of one seed as lesson 12 has it over an index; before it, with the first seed, RAG, which has none."""
    hybrid = Hybrid(lab.tuned_model("hybrid", seed), *_reading(lab, store))
    return [rag(lab, store), hybrid] if seed == lab.profile.seeds[0] else [hybrid]


def _reading(lab: Lab, store: FaissStore) -> tuple[Retriever, int, int]:
    return lab.searching(store), lab.profile.top_k, lab.profile.max_new_tokens


def ask(lab: Lab, arm: Arm, questions: Sequence[Item], **about: Any) -> list[Row]:
    """A row for each question, at smoke size for every eighth: was the arm right, in style, both."""
    questions, rows = _few(lab, questions), []
    for item, answer in zip(questions, arm.answer([q.question for q in questions]), strict=True):
        right, style = is_right(item, answer.text), not style_faults(answer.text)
        scores = {"correct": int(right), "style": int(style), "joint": int(right and style)}
        rows.append({**about, "arm": arm.name, "id": item.id, "changed": item.kind == "changed", **scores})
    return rows


def study(
    what: str, *settings: Any, seeds: bool = False, arms: Sequence[str] = ()
) -> Callable[..., Callable[[Lab], pd.DataFrame]]:
    """Turn a function of a lab that measures rows into one that gives them as a table, and keeps them.

    The rows are found by the address of all that decides them, or measured now: the function's source, `what`, data,
    models, profile, and the `settings` that it takes from outside, for functions their source too. With `seeds` the function also takes a seed, each
    of the first SEEDS in turn. `arms`: the tuned ones of lesson 12 that take part.
    """

    def decorate(measure: Callable[..., list[Row]]) -> Callable[[Lab], pd.DataFrame]:
        """The function that gives the table of what `measure` gives."""

        @wraps(measure)
        def table(lab: Lab) -> pd.DataFrame:
            about = {"profile": asdict(lab.profile), "hashes": lab.hashes, "size": lab.size, "recipe": RECIPE}
            about |= {"what": what, "small": hash_tree(data_folder() / "small"), "source": inspect.getsource(measure)}
            about["settings"] = [inspect.getsource(value) if callable(value) else value for value in settings]
            rows = []
            for run in [{"seed": seed} for seed in lab.profile.seeds[:SEEDS]] if seeds else [{}]:
                adapters = [lab.adapter(name, **run).name for name in arms]
                rows += lab.artifacts.value(lambda run=run: measure(lab, **run), **about, **run, adapters=adapters)
            return pd.DataFrame(rows)

        return table

    return decorate


def alone(words: Sequence[str], what: str) -> str:
    """The last line that Python prints in a process of its own; LabError with its last complaint where it fails."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"{what}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.splitlines()[-1]


def by_question(rows: pd.DataFrame, arm: str, column: str = "correct") -> np.ndarray:
    """One value for each question of an arm, the mean over seeds, in the order of the questions' ids."""
    return rows[rows.arm == arm].groupby("id", sort=True)[column].mean().to_numpy(float)


def gap(rows: pd.DataFrame, a: str, b: str, column: str = "correct") -> Interval:
    """How far arm `a` is above arm `b` on the same questions."""
    return paired_bootstrap(by_question(rows, a, column), by_question(rows, b, column)).interval
