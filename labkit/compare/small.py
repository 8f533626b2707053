"""A second, small company on which a model is trained in a minute, and what studies do with it.

`data/small` holds it. Every fact is asked for in one wording, the one that a tuned model was trained on: tuning's best
case.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cache, partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.compare.arms import Arm, FineTuned, Hybrid, Rag
from labkit.compare.score import is_right
from labkit.compare.training import closed_book, with_context
from labkit.data import Item, data_folder, load_documents, load_questions, style_faults
from labkit.errors import LabError
from labkit.rag.ingest import Document
from labkit.stats import Interval, paired_bootstrap
from labkit.store import hash_tree

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab
    from labkit.model import Model
    from labkit.rag.index import FaissStore
    from labkit.rag.retrieve import Retriever

EPOCHS = 40  # over about 80 facts, one wording each: all of them are learned
RECIPE = "study/1"
"""Raised by hand whenever a study gives other rows for the same models, data and settings."""
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
    lab: Lab,
    model: Model,
    pairs: Sequence[Item],
    seed: int,
    epochs: int = EPOCHS,
    read: Retriever | None = None,
    full: bool = False,
) -> tuple[Model, float]:
    """The model after training on these pairs, its adapter merged in; and the seconds of training.

    Without context, as the tuned arm is trained, or over the passages that `read` finds, as the hybrid is. `full`
    trains all weights instead of an adapter, at half the tuned arm's rate.
    """
    from labkit.model import Model
    from labkit.tune.adapters import LoraSettings, add_lora
    from labkit.tune.prepare import Example, dataset
    from labkit.tune.train import TrainSettings, train

    p = lab.profile
    # Rows with passages are long: they go in the hybrid's small batches, which take less memory.
    plan = {"epochs": epochs if lab.size == "full" else 1, "batch_size": p.hybrid_batch if read else 16, "seed": seed}
    settings = TrainSettings(**plan, learning_rate=p.tuned_rate / 2) if full else LoraSettings(**plan, rank=p.lora_rank)
    talks = with_context(pairs, read, p.top_k, seed) if read else closed_book(pairs)
    rows = dataset([Example(messages) for messages in talks], model.tokenizer, p.context).rows
    network = deepcopy(model.network).float()
    network = network if full else add_lora(network, settings)
    with tempfile.TemporaryDirectory() as folder:
        report = train(network, model.tokenizer, rows, settings, folder, progress=False)
    network = network if full else network.merge_and_unload()
    return Model(network.to(model.network.dtype), model.tokenizer), report.seconds


@cache
def first(lab: Lab, seed: int) -> Model:
    """The model that learned the first version."""
    return learn(lab, lab.model, company().questions, seed)[0]


def reciter(lab: Lab, name: str, model: Model) -> Arm:
    """A model that answers from its weights, under a name of its own."""
    arm = type(name, (FineTuned,), {"name": name})
    return arm(model, None, lab.profile.top_k, lab.profile.max_new_tokens)


def reindex(lab: Lab, old: Sequence[Document], new: Sequence[Document]) -> tuple[FaissStore, float]:
    """The index over the new documents, and the seconds to make it when the old ones are embedded already."""
    from labkit.rag.chunk import chunk_documents
    from labkit.rag.embed import load_embedder
    from labkit.rag.index import FaissStore

    p = lab.profile
    with tempfile.TemporaryDirectory() as cache:
        embedder = load_embedder(p.embedder, cache_dir=Path(cache))
        for documents in (old, new):
            began = time.perf_counter()
            chunks = chunk_documents(documents, embedder.tokenizer, size=p.chunk_size, overlap=p.chunk_overlap)
            store = FaissStore.from_chunks(chunks, embedder)
            seconds = time.perf_counter() - began
    return store, seconds


def readers(lab: Lab, seed: int, store: FaissStore) -> list[Arm]:
    """The hybrid of one seed as lesson 12 has it over an index; before it, with the first seed, RAG, which has none."""
    from labkit.rag.retrieve import retriever

    p = lab.profile
    search = retriever(p.method, store, p.reranker)
    models = {Rag: lab.model} if seed == p.seeds[0] else {}
    models[Hybrid] = lab.tuned_model("hybrid", seed)
    return [arm(model, search, p.top_k, p.max_new_tokens) for arm, model in models.items()]


def ask(lab: Lab, arm: Arm, questions: Sequence[Item], **about: Any) -> list[Row]:
    """A row for each question, at smoke size for every eighth: was the arm right, in style, both."""
    questions, rows = questions[:: 1 if lab.size == "full" else 8], []
    for item, answer in zip(questions, arm.answer([q.question for q in questions]), strict=True):
        right, style = is_right(item, answer.text), not style_faults(answer.text)
        scores = {"correct": int(right), "style": int(style), "joint": int(right and style)}
        rows.append({**about, "arm": arm.name, "id": item.id, "changed": item.kind == "changed", **scores})
    return rows


def study(what: str, seeds: bool = False, reads: bool = False) -> Callable[..., Callable[[Lab], pd.DataFrame]]:
    """Turn a function of a lab that measures rows into one that gives them as a table.

    The rows are found by the address of the data and settings that decide them, `what` among them, or made now. With
    `seeds` the function also takes a seed, each of the profile's in turn. `reads`: arms of lesson 12 take part, the
    hybrid of each seed, or without `seeds` both tuned arms.
    """

    def decorate(measure: Callable[..., list[Row]]) -> Callable[[Lab], pd.DataFrame]:
        @wraps(measure)
        def table(lab: Lab) -> pd.DataFrame:
            import pandas as pd

            about = {"profile": asdict(lab.profile), "hashes": lab.hashes, "size": lab.size, "recipe": RECIPE}
            about |= {"what": what, "small": hash_tree(data_folder() / "small")}
            if not seeds:
                adapters = {"adapters": [lab.adapter(name).name for name in ("tuned", "hybrid")]} if reads else {}
                return pd.DataFrame(lab.artifacts.value(lambda: measure(lab), **about, **adapters))
            rows = []
            for seed in lab.profile.seeds:
                adapter = lab.adapter("hybrid", seed).name if reads else None
                rows += lab.artifacts.value(partial(measure, lab, seed), **about, seed=seed, adapter=adapter)
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
