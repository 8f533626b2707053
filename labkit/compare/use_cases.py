"""The article's five use cases: their data, styles and metrics, and what each arm reads. Lesson 16 trains and asks.

Everything that is a choice lies in `data/use_cases/studies.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from labkit.compare.arms import arm_class
from labkit.compare.lab import Lab, spread
from labkit.data import CLOSING, OPENING, Item, data_folder, load_documents, load_questions
from labkit.errors import LabError
from labkit.rag.chunk import Chunk
from labkit.rag.ingest import Document
from labkit.rag.retrieve import Retriever

METRICS = {
    "content": "right, of the questions whose answer never changed",
    "fresh": "right, of the questions whose answer changed after the training pairs were written",
    "complete": "share of the needed values that the answer quotes",
    "declines": "declines, of the questions that no document answers",
    "cites": "right, and cites a passage that proves it",
    "style": "has the form that the job asks for",
    "frugal": "1 minus the tokens read and written, as a share of the budget",
}


@dataclass(frozen=True)
class Study:
    """One use case. `today` are the documents with the updates laid over them; the pairs know only `documents`.

    Where the material is `given`, documents named `ID/1`, `ID/2` are handed over with the question of that id.
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


def load_studies(lab: Lab) -> dict[str, Study]:
    """The five by name; at smoke size a few questions and pairs. LabError without data."""
    folder, p, studies = data_folder() / "use_cases", lab.profile, {}
    if not (folder / "studies.yaml").is_file():
        raise LabError("there is no use_cases/studies.yaml among the data: run `make data`, or set LABKIT_DATA")
    for name, about in yaml.safe_load((folder / "studies.yaml").read_text("utf-8")).items():
        few = {"questions": p.questions and p.questions // 5, "pairs": p.pairs and p.pairs // 5}
        items = {part: tuple(spread(load_questions(folder / name / f"{part}.jsonl"), n)) for part, n in few.items()}
        documents = load_documents(folder / name / "documents.jsonl")
        updates = [] if about["given"] else load_documents(folder / name / "updates.jsonl")
        today = {d.id: d for d in [*documents, *updates]}.values()
        studies[name] = Study(name, **about, documents=tuple(documents), today=tuple(today), **items)
    return studies


class Handover(Retriever):
    """Hands every question its own material, kept by question, then what an archive finds of other items."""

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
    """What an arm reads from: nothing, pages of today (in training: as first written), or material, then earlier replies."""
    reads = arm_class(arm).reads
    if not study.given:
        return lab.searching(lab.index(study.documents if training else study.today)) if reads else None
    chunks: dict[str, list[Chunk]] = {}
    for d in study.documents:
        chunk = Chunk(f"{d.id}#0", d.id, d.title, d.text, 0, len(d.text))
        chunks.setdefault(d.id.partition("/")[0], []).append(chunk)
    material = {item.question: chunks[item.id] for item in (*study.questions, *study.pairs)}
    earlier = [Document(i.id, "Earlier reply", f"{i.question} {i.answer}", "text", i.id) for i in study.pairs]
    return Handover(material=material, archive=lab.searching(lab.index(earlier)) if reads else None)
