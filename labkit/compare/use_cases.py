"""The article's five use cases, each a small study: four arms, its own data and style, a utility of stated weights.

Introduced in 16_use_cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.compare.arms import ARMS, Arm, arm_class
from labkit.compare.score import score
from labkit.compare.training import closed_book, kept_adapter, lora_settings, with_context
from labkit.compare.use_cases_study import METRICS as METRICS
from labkit.compare.use_cases_study import Study, load_studies
from labkit.compare.use_cases_utility import Utility, joined
from labkit.rag.chunk import Chunk
from labkit.rag.ingest import Document
from labkit.rag.retrieve import Retriever
from labkit.rag.retrieve import retriever as search

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab
    from labkit.rag.augment import Message
    from labkit.stats import Interval


class Handed(Retriever):
    """A retriever that hands every question its own material first, and then what `archive` finds, if there is one.

    `material` holds the chunks by question. What the archive keeps of the same item is left out. Introduced in 16_use_cases.
    """

    material: dict[str, list[Chunk]]
    archive: Retriever | None = None

    def _find(self, queries: list[str], top_k: int) -> list[list[tuple[Chunk, float]]]:
        found = self.archive.search_batch(queries, top_k + 1) if self.archive else [[] for _ in queries]
        made = []
        for query, hits in zip(queries, found, strict=True):
            own = self.material[query]
            item = own[0].document_id.partition("/")[0]
            others = [hit.chunk for hit in hits if hit.chunk.document_id != item]
            made.append([(chunk, 1.0) for chunk in [*own, *others]])
        return made


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
    return Handed(material=material, archive=over(earlier) if reads else None)


def conversations(lab: Lab, study: Study, arm: str, seed: int = 0) -> list[list[Message]]:
    """What a tuned arm learns from: the pairs in the job's style, over what this arm reads, if it reads."""
    reader = retriever(lab, study, arm, training=True)
    rows = with_context(study.pairs, reader, study.passages, seed) if reader else closed_book(study.pairs)
    return [[*asked, {**reply, "content": study.dress(reply["content"])}] for *asked, reply in rows]


def adapter(lab: Lab, study: Study, arm: str, seed: int = 0) -> Path:
    """The folder of the adapter of `tuned` or `hybrid` for one study, found or trained now; LabError for a leak.

    Facts to recite take the epochs of the profile's tuned arm, replies to read for take twice those of its hybrid, and
    all of them its small batches: rows are few.
    """
    from labkit.tune.leaks import refuse_leaks

    p, recites = lab.profile, arm == "tuned" and not study.given
    epochs, rate = (p.tuned_epochs, p.tuned_rate) if recites else (2 * p.hybrid_epochs, p.hybrid_rate)
    settings = replace(lora_settings(p, arm, seed), epochs=epochs, learning_rate=rate, batch_size=p.hybrid_batch)
    told = conversations(lab, study, arm, seed)
    refuse_leaks([item.question for item in study.pairs], [item.question for item in study.questions])
    return kept_adapter(lab, settings, told, f"{study.name}, {arm}, seed {seed}")


def ask(lab: Lab, study: Study, name: str, seed: int = 0) -> list[dict[str, Any]]:
    """Answers of one arm to a study's questions, scored, one row for each."""
    from labkit.model import load_model

    p, weights = lab.profile, adapter(lab, study, name, seed) if name in ("tuned", "hybrid") else None
    model = load_model(p.model_path, p.dtype, weights) if weights else lab.model
    search = retriever(lab, study, name)
    arm: Arm = arm_class(name)(model, search, study.passages, p.max_new_tokens, lab.answered)
    answers = arm.answer([item.question for item in study.questions])
    return [{"arm": name, "seed": seed, **score(i, a)} for i, a in zip(study.questions, answers, strict=True)]


def answers(lab: Lab, study: Study) -> pd.DataFrame:
    """A row for each answer of each arm, tuned ones with every seed of the profile: `score`'s columns and METRICS."""
    import pandas as pd
    from tqdm import tqdm

    items = {item.id: item for item in study.questions}
    tasks = [(arm, seed) for arm in ARMS for seed in (lab.profile.seeds if arm in ("tuned", "hybrid") else [0])]
    bar = tqdm(tasks, desc=study.title, unit="arm", disable=not lab.progress)
    rows = [row for task in bar for row in ask(lab, study, *task)]
    return pd.DataFrame([{**row, **study.measures(items[row["id"]], row)} for row in rows])


def utility(study: Study, rows: pd.DataFrame) -> Utility:
    """The study's utility from its answers; seeds are averaged for each question."""
    chosen = list(study.weights)
    means = rows.astype(dict.fromkeys(chosen, float)).groupby(["arm", "id"], sort=False)[chosen].mean()
    return Utility({arm: means.loc[arm].to_numpy().T for arm in ARMS}, study.weights)


def measure(lab: Lab) -> dict[str, Utility]:
    """The utility of every arm in every study. Introduced in 16_use_cases."""
    return {name: utility(study, answers(lab, study)) for name, study in load_studies(lab).items()}


def figures(lab: Lab) -> dict[str, Interval]:
    """What the ledger of claims reads: each arm's utility in each study, and the advised arm's lead over the best other.

    Introduced in 16_use_cases.
    """
    studies, measured = load_studies(lab), measure(lab)
    found = {f"{n}.utility.{arm}": u.of(arm) for n, u in measured.items() for arm in ARMS}
    for name, study in studies.items():
        lead = measured[name].lead(study.advised)
        found[f"{name}.utility.{study.advised}-best_other"] = lead
        found[f"utility of the {study.short}: {study.advised} - best other"] = lead
    lead = joined(measured).lead("hybrid")
    return found | {"all.utility.hybrid-best_other": lead, "utility over all studies: hybrid - best other": lead}
