"""What each of the article's use cases consists of: its data, its style, its metrics and their weights.

Everything that is a choice lies in `data/use_cases/studies.yaml`. Introduced in 16_use_cases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from labkit.data import CLOSING, OPENING, Item, data_folder, load_documents, load_questions
from labkit.errors import LabError
from labkit.lab import spread
from labkit.metrics import contains
from labkit.rag.ingest import Document

if TYPE_CHECKING:
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

    Raises LabError where data is missing or damaged, or a weight names no metric. Introduced in 16_use_cases.

    >>> load_studies(lab)["kb_qa"].advised
    'rag'
    """
    folder = data_folder() / "use_cases"
    if not (folder / "studies.yaml").is_file():
        raise LabError("there is no use_cases/studies.yaml among the data: run `make data`, or set LABKIT_DATA")
    told = yaml.safe_load((folder / "studies.yaml").read_text("utf-8"))
    return {name: _study(lab, name, folder / name, about) for name, about in told.items()}


def _study(lab: Lab, name: str, folder: Path, about: Mapping[str, Any]) -> Study:
    if unknown := set(about["weights"]) - set(METRICS):
        raise LabError(f"{name} weighs {sorted(unknown)[0]}, which is no metric: choose {', '.join(METRICS)}")
    few = {"questions": lab.profile.questions, "pairs": lab.profile.pairs}
    sizes = {part: size and size // 5 for part, size in few.items()}
    items = {part: tuple(spread(load_questions(folder / f"{part}.jsonl"), size)) for part, size in sizes.items()}
    documents = _documents(folder / "documents.jsonl")
    updates = _documents(folder / "updates.jsonl") if not about["given"] else {}
    return Study(name, **about, documents=(*documents.values(),), today=(*(documents | updates).values(),), **items)


def _documents(path: Path) -> dict[str, Document]:
    return {document.id: document for document in load_documents(path)}
