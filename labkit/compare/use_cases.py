"""The article's five use cases, each a small study: four arms, its own data and style, a utility of stated weights.

Everything that is a choice lies in `data/use_cases/studies.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from labkit.compare.arms import ARMS, Arm, arm_class
from labkit.compare.score import score
from labkit.compare.training import closed_book, kept_adapter, lora_settings, with_context
from labkit.data import CLOSING, OPENING, Item, data_folder, load_documents, load_questions
from labkit.errors import LabError
from labkit.lab import spread
from labkit.metrics import contains
from labkit.quiet import bar
from labkit.rag.chunk import Chunk
from labkit.rag.ingest import Document
from labkit.rag.retrieve import Retriever
from labkit.rag.retrieve import retriever as search
from labkit.stats import Difference, Floats, Interval, Statistic, bootstrap, bootstrap_difference

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab

METRICS = {
    "content": "right, of the questions whose answer never changed",
    "fresh": "right, of the questions whose answer changed after the training pairs were written",
    "complete": "share of the needed values that the answer quotes",
    "declines": "declines, of the questions that no document answers",
    "cites": "right, and cites a passage that proves it",
    "style": "has the form that the job asks for",
    "frugal": "1 less the tokens read and written, as a share of the budget",
}


@dataclass(frozen=True)
class Study:
    """One use case: what `data/use_cases/studies.yaml` says of it, and its data.

    `today` are the documents with the updates laid over them; the pairs know only `documents`. Where the material is
    `given`, documents named `ID/1`, `ID/2` are handed over with the question of that id.
    """

    name: str
    title: str
    short: str
    advised: str
    why: str
    given: bool
    frame: str
    shape: str
    passages: int
    budget: int
    weights: Mapping[str, float]
    documents: tuple[Document, ...]
    today: tuple[Document, ...]
    questions: tuple[Item, ...]
    pairs: tuple[Item, ...]

    def dress(self, reply: str) -> str:
        """A reply in house style put into the job's own; material that was handed over needs no citation."""
        text = reply.removeprefix(OPENING).removesuffix(CLOSING).strip()
        return self.frame.format(text=re.sub(r" ?\[\d+\]", "", text) if self.given else text)

    def measures(self, item: Item, row: Mapping[str, Any]) -> dict[str, float | None]:
        """Every metric of one scored answer, from 0 to 1; None where it does not apply."""
        answerable, changed = item.gold is not None, item.kind == "changed fact"
        quoted = [contains(row["text"], e.value) for e in item.evidence]
        tokens = row["prompt_tokens"] + row["output_tokens"]
        return {
            "content": row["correct"] if answerable and not changed else None,
            "fresh": row["correct"] if changed else None,
            "complete": sum(quoted) / len(quoted) if quoted else None,
            "declines": None if answerable else row["correct"],
            "cites": row["cited"] if answerable else None,
            "style": float(re.fullmatch(self.shape, row["text"].strip()) is not None),
            "frugal": max(0.0, 1 - tokens / self.budget),
        }


def load_studies(lab: Lab) -> dict[str, Study]:
    """The five studies by name; at smoke size a few of each one's questions and pairs.

    Raises LabError where data is missing or damaged, or a weight names no metric.
    """
    folder = data_folder() / "use_cases"
    if not (folder / "studies.yaml").is_file():
        raise LabError("there is no use_cases/studies.yaml among the data: run `make data`, or set LABKIT_DATA")
    studies = yaml.safe_load((folder / "studies.yaml").read_text("utf-8"))
    return {name: _study(lab, name, folder / name, about) for name, about in studies.items()}


def _study(lab: Lab, name: str, folder: Path, about: Mapping[str, Any]) -> Study:
    if unknown := set(about["weights"]) - set(METRICS):
        raise LabError(f"{name} weighs {sorted(unknown)[0]}, which is no metric: choose {', '.join(METRICS)}")
    few = {"questions": lab.profile.questions, "pairs": lab.profile.pairs}
    sizes = {part: size and size // 5 for part, size in few.items()}
    items = {part: tuple(spread(load_questions(folder / f"{part}.jsonl"), size)) for part, size in sizes.items()}
    names = ["documents"] if about["given"] else ["documents", "updates"]
    first, *later = [{d.id: d for d in load_documents(folder / f"{part}.jsonl")} for part in names]
    today = first | later[0] if later else first
    return Study(name, **about, documents=tuple(first.values()), today=tuple(today.values()), **items)


class Handover(Retriever):
    """A retriever that hands every question its own material first, and then what `archive` finds, if there is one.

    `material` holds the chunks by question. What the archive keeps of the same item is left out.
    """

    material: dict[str, list[Chunk]]
    archive: Retriever | None = None

    def _find(self, queries: list[str], top_k: int) -> list[list[tuple[Chunk, float]]]:
        archived = self.archive.search_batch(queries, top_k + 1) if self.archive else [[] for _ in queries]
        rows = []
        for query, hits in zip(queries, archived, strict=True):
            own = self.material[query]
            item = own[0].document_id.partition("/")[0]
            others = [hit.chunk for hit in hits if hit.chunk.document_id != item]
            rows.append([(chunk, 1.0) for chunk in [*own, *others]])
        return rows


def retriever(lab: Lab, study: Study, arm: str, training: bool = False) -> Retriever | None:
    """What an arm reads from: nothing, pages of today (in training: as first written), or material and earlier replies."""

    def over(documents: Sequence[Document]) -> Retriever:
        return search(lab.profile.method, lab.index(documents), lab.profile.reranker)

    reads = arm_class(arm).reads
    if not study.given:
        return over(study.documents if training else study.today) if reads else None
    chunks: dict[str, list[Chunk]] = {}
    for d in study.documents:
        chunk = Chunk(f"{d.id}#0", d.id, d.title, d.text, 0, len(d.text))
        chunks.setdefault(d.id.partition("/")[0], []).append(chunk)
    material = {item.question: chunks[item.id] for item in (*study.questions, *study.pairs)}
    earlier = [Document(i.id, "Earlier reply", f"{i.question} {i.answer}", "text", i.id) for i in study.pairs]
    return Handover(material=material, archive=over(earlier) if reads else None)


def adapter(lab: Lab, study: Study, arm: str, seed: int = 0) -> Path:
    """The folder of the adapter of `tuned` or `hybrid` for one study, found or trained now; LabError for a leak.

    It learns the pairs in the job's style, over what this arm reads, if it reads. Facts to recite take the epochs of
    the profile's tuned arm, replies to read for take twice those of its hybrid, and all of them its small batches: rows
    are few.
    """
    from labkit.tune.leaks import refuse_leaks

    refuse_leaks([item.question for item in study.pairs], [item.question for item in study.questions])
    p, recites = lab.profile, arm == "tuned" and not study.given
    epochs, rate = (p.tuned_epochs, p.tuned_rate) if recites else (2 * p.hybrid_epochs, p.hybrid_rate)
    settings = replace(lora_settings(p, arm, seed), epochs=epochs, learning_rate=rate, batch_size=p.hybrid_batch)
    reader = retriever(lab, study, arm, training=True)
    talks = with_context(study.pairs, reader, study.passages, seed) if reader else closed_book(study.pairs)
    talks = [[*messages, {**reply, "content": study.dress(reply["content"])}] for *messages, reply in talks]
    return kept_adapter(lab, settings, talks, f"{study.name}, {arm}, seed {seed}")


def answers(lab: Lab, study: Study) -> pd.DataFrame:
    """A row for each answer of each arm, tuned ones with every seed of the profile: `score`'s columns and METRICS."""
    import pandas as pd

    from labkit.model import load_model

    p, rows = lab.profile, []
    tasks = [(name, seed) for name in ARMS for seed in (p.seeds if name in ("tuned", "hybrid") else [0])]
    with bar(len(tasks), study.title, lab.progress) as steps:
        for name, seed in tasks:
            weights = adapter(lab, study, name, seed) if name in ("tuned", "hybrid") else None
            model = load_model(p.model_path, p.dtype, weights) if weights else lab.model
            reader = retriever(lab, study, name)
            arm: Arm = arm_class(name)(model, reader, study.passages, p.max_new_tokens, lab.answered)
            spoken = arm.answer([item.question for item in study.questions])
            for item, answer in zip(study.questions, spoken, strict=True):
                row = {"arm": name, "seed": seed, **score(item, answer)}
                rows.append(row | study.measures(item, row))
            steps.update()
    return pd.DataFrame(rows)


class Utility:
    """The weighed mean of some metrics for each arm, over questions that all arms answered.

    `values` holds an array of shape (metrics, questions) for each arm, NaN where a metric does not apply to a question;
    only the ratios of `weights` count. Raises LabError for arms that were measured on different questions, and for
    weights that are negative or all zero. Keeney & Raiffa, Decisions with Multiple Objectives, 1976.

    >>> Utility({"rag": [[1, 0]], "base": [[0, 0]]}, {"content": 1}).of("rag").mean
    0.5
    """

    def __init__(self, values: Mapping[str, Sequence | Floats], weights: Mapping[str, float]) -> None:
        tables = {arm: np.asarray(table, float) for arm, table in values.items()}
        self.known = ~np.isnan(next(iter(tables.values())))
        if any(table.shape != self.known.shape or (np.isnan(table) == self.known).any() for table in tables.values()):
            raise LabError("the arms were measured on different questions: ask every arm the same ones")
        shares = np.array(list(weights.values()), float)
        if (shares < 0).any() or not shares.sum():
            raise LabError("weights must not be negative, nor all zero: give each metric its share")
        self.tables = {arm: np.nan_to_num(table) for arm, table in tables.items()}
        self.metrics, self.weights = list(weights), shares / shares.sum()

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """Each metric's mean over the questions that it applies to, by arm; 0 where it applies to none."""
        rows = {arm: table.sum(1) / np.maximum(self.known.sum(1), 1) for arm, table in self.tables.items()}
        return {arm: dict(zip(self.metrics, map(float, row), strict=True)) for arm, row in rows.items()}

    def of(self, arm: str) -> Interval:
        """An arm's utility, from 0 to 1."""
        return bootstrap(self._statistic(self.tables[arm]), self.known.shape[1])

    def gap(self, a: str, b: str, level: float = 0.95) -> Difference:
        """How far arm `a` is above arm `b` on the same questions."""
        return bootstrap_difference(self._statistic(self.tables[a] - self.tables[b]), self.known.shape[1], level=level)

    @property
    def best(self) -> str:
        """The arm of the highest utility; of equals the first."""
        means = self.means
        return max(means, key=lambda arm: self.weights @ list(means[arm].values()))

    def lead(self, arm: str) -> Interval:
        """How far an arm is above the best of the others, below zero where it is not the best.

        The lower end is above zero only if the arm is told apart from each other one; the upper end is below zero only
        if some other arm beats it, which takes a stricter level because there are several to try (Bonferroni).
        """
        others = [other for other in self.tables if other != arm]
        plain = [self.gap(arm, other) for other in others]
        strict = [self.gap(arm, other, level=1 - 0.05 / len(others)) for other in others]
        return Interval(min(g.diff for g in plain), min(g.low for g in plain), min(g.high for g in strict))

    def _statistic(self, table: Floats) -> Statistic:
        """The weighed mean of a table's metrics for each row of question numbers."""

        def statistic(items: NDArray[np.int64]) -> Floats:
            drawn = np.zeros((len(items), table.shape[1]))
            np.add.at(drawn, (np.arange(len(items))[:, None], items), 1)
            return (drawn @ table.T / np.maximum(drawn @ self.known.T, 1e-9)) @ self.weights

        return statistic


def utility(study: Study, rows: pd.DataFrame) -> Utility:
    """The study's utility from its answers; seeds are averaged for each question."""
    chosen = list(study.weights)
    means = rows.astype(dict.fromkeys(chosen, float)).groupby(["arm", "id"], sort=False)[chosen].mean()
    return Utility({arm: means.loc[arm].to_numpy().T for arm in ARMS}, study.weights)


def join(utilities: Mapping[str, Utility]) -> Utility:
    """The mean utility over several jobs, each as important as the others, over all their questions."""
    from scipy.linalg import block_diag

    known = block_diag(*[u.known for u in utilities.values()]).astype(bool)
    arms = next(iter(utilities.values())).tables
    tables = {arm: np.where(known, block_diag(*[u.tables[arm] for u in utilities.values()]), np.nan) for arm in arms}
    weights = {f"{job}.{m}": w for job, u in utilities.items() for m, w in zip(u.metrics, u.weights, strict=True)}
    return Utility(tables, weights)


def measure(lab: Lab) -> dict[str, Utility]:
    """The utility of every arm in every study."""
    return {name: utility(study, answers(lab, study)) for name, study in load_studies(lab).items()}


def figures(lab: Lab) -> dict[str, Interval]:
    """What the claims about use cases need: the advised arm's lead over the best other, in each study and in all."""
    measured = measure(lab)
    leads = {
        f"utility of the {study.short}: {study.advised} - best other": measured[name].lead(study.advised)
        for name, study in load_studies(lab).items()
    }
    return leads | {"utility over all studies: hybrid - best other": join(measured).lead("hybrid")}
