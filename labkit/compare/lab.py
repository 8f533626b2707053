"""Everything a lesson works with, made on first use: documents, index, models, arms."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from functools import cache, cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from labkit.compare.arms import Arm, FewShot, LongContext, Prompted, WholeDocuments, arm_class, weights_of
from labkit.compare.score import is_right
from labkit.compare.training import conversations, kept_adapter, lora_settings, with_context
from labkit.data import (
    ASKED,
    Item,
    data_folder,
    documents_folder,
    dress,
    load_pairs,
    load_questions,
    load_rewordings,
    updates_folder,
)
from labkit.errors import LabError
from labkit.hub import pinned
from labkit.metrics import abstained
from labkit.model import Message, Model, load_model
from labkit.profile import Profile, scaled
from labkit.quiet import bar
from labkit.rag.augment import build_messages
from labkit.rag.chunk import Chunk, chunk_documents
from labkit.rag.embed import GROUP, Embedder, load_embedder
from labkit.rag.index import FaissStore
from labkit.rag.ingest import Document, Ingested, ingest
from labkit.rag.retrieve import Retriever, retriever
from labkit.store import Artifacts, Cache, address, provenance, runs_folder

if TYPE_CHECKING:
    from labkit.practice.generator import Endpoint


class Lab:
    """One profile at one size. Its parts load lazily; what is trained is kept under `runs/artifacts`."""

    corpus = "the invented company"
    """Whose documents these are, in a few words."""
    generator: Endpoint | None = None
    """A served model that answers for the untuned arms in place of the profile's."""
    instruction = ASKED
    """The system prompt that asks for the form which training teaches."""
    unfed: frozenset[str] = frozenset()
    """The metrics that its questions cannot feed."""

    def __init__(self, profile: Profile, size: str = "full", fresh: bool = False, progress: bool = True):
        self.profile, self.size, self.fresh, self.progress = scaled(profile, size), size, fresh, progress
        self.runs = runs_folder()
        self.artifacts = Artifacts(self.runs / "artifacts", data_folder() / "artifacts", fresh)
        self.answered = Cache(self.runs / "answers.sqlite")

    def describe(self) -> dict[str, str]:
        """Versions, device, models and sizes, each in a few words."""
        import torch

        versions, trial = provenance()["packages"], ": a trial of every part, NOT a measurement"
        return {
            "profile": f"{self.profile.name}, size {self.size}{trial if self.size != 'full' else ''}",
            "model": self.profile.model,
            "embedder": self.profile.embedder,
            "device": "GPU" if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores",
            "training seeds": ", ".join(map(str, self.profile.seeds)),
            "versions": ", ".join(f"{p} {versions[p]}" for p in ("torch", "transformers", "peft", "faiss-cpu")),
        }

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{k}</th><td style='text-align:left'>{escape(v)}</td></tr>"
            for k, v in self.describe().items()
        )
        return f"<table>{rows}</table>"

    def __repr__(self) -> str:
        return "\n".join(f"{k}: {v}" for k, v in self.describe().items())

    @cached_property
    def original(self) -> Ingested:
        """The documents as first written: what the tuned arms were trained on."""
        return ingest(documents_folder(), progress=self.progress)

    @cached_property
    def ingested(self) -> Ingested:
        """The documents of today: updated ones take the place of the originals."""
        new = ingest(updates_folder(), progress=self.progress)
        merged = {d.id: d for d in [*self.original.documents, *new.documents]}
        return Ingested(list(merged.values()), self.original.rejected + new.rejected)

    @property
    def documents(self) -> list[Document]:
        """The documents of today that could be read."""
        return self.ingested.documents

    @cached_property
    def questions(self) -> list[Item]:
        """The test questions; at smoke size the same few of each kind."""
        return spread(load_questions(), self.profile.questions)

    @cached_property
    def pairs(self) -> list[Item]:
        """The training pairs; at smoke size the same few of each kind."""
        return spread(load_pairs(), self.profile.pairs)

    @cached_property
    def tuned_pairs(self) -> list[Item]:
        """The pairs that the tuned arm trains on: with the profile's `wordings`, each fact in several."""
        return self.pairs + (spread(load_rewordings(), self.profile.pairs) if self.profile.wordings else [])

    @cached_property
    def hybrid_pairs(self) -> list[Item]:
        """The pairs that the hybrid trains on; of those without an answer in the documents as many as the profile wants."""
        count, share = self.profile.hybrid_pairs, self.profile.hybrid_unknown
        if count is None or count >= len(self.pairs) or share is None:
            return spread(self.pairs, count)
        unknown = spread([pair for pair in self.pairs if pair.gold is None], round(share * count))
        known = spread([pair for pair in self.pairs if pair.gold is not None], count - len(unknown))
        kept = {pair.id for pair in [*known, *unknown]}
        return [pair for pair in self.pairs if pair.id in kept]

    def right(self, item: Item, text: str) -> bool:
        """Whether a text answers an item."""
        return is_right(item, text)

    def judged(self, answers: pd.DataFrame) -> pd.DataFrame:
        """Scored answers with style and joint by the style that training teaches: as they were scored."""
        return answers

    def dress(self, text: str) -> str:
        """A reply in the style that training teaches: the company's."""
        return dress(text)

    @cached_property
    def embedder(self) -> Embedder:
        """The profile's embedder, its vectors cached by content."""
        return load_embedder(pinned(self.profile.embedder), cache_dir=self.runs / "vectors")

    def chunks(self, documents: Iterable[Document]) -> list[Chunk]:
        """Documents in chunks of the profile's size."""
        p = self.profile
        return chunk_documents(list(documents), self.embedder.tokenizer, size=p.chunk_size, overlap=p.chunk_overlap)

    def index(self, documents: Iterable[Document]) -> FaissStore:
        """Chunk, embed and index some documents with the profile's settings; many, with a bar."""
        chunks = self.chunks(documents)
        store = FaissStore(self.embedder)
        with bar(len(chunks), "embed and index", self.progress and len(chunks) > GROUP) as steps:
            for start in range(0, len(chunks), GROUP):
                steps.update(len(store.add_chunks(chunks[start : start + GROUP])))
        return store

    @cached_property
    def vectors(self) -> FaissStore:
        """The index over the documents of today."""
        return self.index(self.documents)

    def retriever(self, method: str | None = None) -> Retriever:
        """A retriever over the documents of today, by the profile's method if none is named."""
        return self.searching(self.vectors, method)

    def searching(self, store: FaissStore, method: str | None = None) -> Retriever:
        """A retriever over any store, by the profile's method if none is named."""
        method, reranker = method or self.profile.method, self.profile.reranker
        return retriever(method, store, pinned(reranker) if reranker and method == "rerank" else reranker)

    def old_retriever(self) -> Retriever:
        """The profile's retriever over the documents as first written, which the hybrid trains with.

        What it found is kept, and shipped for the adapters that are: near ties differ between processors.
        """
        return Recalled(self)

    @cached_property
    def model(self) -> Model:
        """The profile's model as it came."""
        return load(self.profile)

    def arm(self, name: str, seed: int = 0) -> Arm:
        """One of the arms, which answers no prompt twice; a tuned one is trained with this seed if it is not found."""
        kind, weights, p = arm_class(name), weights_of(name), self.profile
        model = self.tuned_model(weights, seed) if weights else self.generator or self.model
        retriever = None if not kind.reads else self.whole_documents if kind is LongContext else self.retriever()
        return kind(
            model, retriever, p.top_k, p.max_new_tokens, None if self.fresh else self.answered, p.batch_tokens,
            self.instruction if issubclass(kind, Prompted) else None,
            self.examples if kind is FewShot else (),
        )  # fmt: skip

    @cached_property
    def examples(self) -> list[Message]:
        """Training questions over passages with their replies, for a prompt to show: up to three, all of them answered, that
        take a third of the prompt together at most.

        With one that declines a small model declines most questions; beyond a third the pocket model loses the form.
        """
        some, search, p = spread(self.hybrid_pairs, 24), self.old_retriever(), self.profile
        pairs, model = [pair for pair in some if pair.evidence], self.generator or self.model
        room = (model.context - p.max_new_tokens) // 3
        talks = with_context(pairs, search, p.top_k, style=self.dress, fits=lambda talk: model.count(talk[1:]) <= room)
        answered = [talk[1:] for talk in talks if not abstained(talk[-1]["content"])] or [talks[0][1:]]
        shown: list[Message] = []
        for place in sorted({0, len(answered) // 3, 2 * len(answered) // 3}):
            shown += answered[place] if not shown or model.count(shown + answered[place]) <= room else []
        return shown

    @cached_property
    def whole_documents(self) -> WholeDocuments:
        """The documents of today as the arm long-context pastes them."""
        model, p = self.generator or self.model, self.profile
        longest = max((q.question for q in self.questions), key=len)
        room = model.count(build_messages(longest)) + p.max_new_tokens + 64  # the system prompt that names documents
        budget = min(model.context, p.long_context or model.context) - room
        return WholeDocuments(
            self.retriever(), self.documents, budget, lambda text: model.count([{"role": "user", "content": text}])
        )

    @cache  # noqa: B019 - a lab lives as long as its process
    def tuned_model(self, name: str, seed: int = 0) -> Model:
        """The model with the adapter of `tuned` or `hybrid` merged in, trained here if it is not in the store."""
        return load(self.profile, self.adapter(name, seed))

    @cache  # noqa: B019 - its rows take seconds to make
    def adapter(self, name: str, seed: int = 0) -> Path:
        """The folder of a trained adapter, found by the address of all that makes it, or trained now."""
        settings, talks = lora_settings(self.profile, name, seed), conversations(self, name, seed)
        return kept_adapter(self, settings, talks, f"{name}, seed {seed}")

    @classmethod
    def release(cls) -> None:
        """Let go of the tuned models of every lab: their memory is needed for those that come next."""
        cls.tuned_model.cache_clear()
        cls.adapter.cache_clear()
        gc.collect()

    @cached_property
    def hashes(self) -> dict[str, str]:
        """What every result rests on: model, embedder, documents, questions."""
        served = {"generator": self.generator.fingerprint} if self.generator else {}
        return served | {
            "model": self.model.fingerprint,
            "embedder": self.embedder.fingerprint,
            "documents": address(documents=[(d.id, d.sha256) for d in self.documents]),
            "questions": address(questions=self.questions),
        }


class Recalled(Retriever):
    """Searches the documents as first written; the ids of what it found are kept by texts, settings and questions.

    Scores are 1 / rank.
    """

    lab: Any

    def _find(self, queries: list[str], top_k: int) -> list[list[tuple[Chunk, float]]]:
        lab, p = self.lab, self.lab.profile
        chunks = {chunk.id: chunk for chunk in lab.chunks(lab.original.documents)}

        def search() -> list[list[str]]:
            """The ids of the best chunks of each query, searched now."""
            rankings = lab.searching(lab.index(lab.original.documents)).search_batch(queries, top_k)
            return [[hit.chunk.id for hit in hits] for hits in rankings]

        texts = address(texts=[[chunk.id, chunk.title, chunk.text] for chunk in chunks.values()])
        by = [p.method, p.reranker if p.method == "rerank" else None, top_k, lab.embedder.fingerprint.split(":")[0]]
        rankings = lab.artifacts.value(search, recipe="hits/1", texts=texts, by=by, questions=queries)
        return [[(chunks[name], 1 / rank) for rank, name in enumerate(names, start=1)] for names in rankings]


def load(profile: Profile, adapter: Path | None = None) -> Model:
    """The profile's model, with an adapter or as it came; a hub model in 4 bit where there is a CUDA GPU.

    Raises LabError for the profile gpu without one, for too little memory, and as `pinned` and `load_model` do.
    """
    import torch

    gpu = torch.cuda.is_available()
    if profile.name == "gpu" and not gpu:
        raise LabError("the profile gpu needs a CUDA GPU, and there is none here: choose --profile laptop")
    try:
        if profile.hub and gpu:
            from labkit.tune.adapters import load_quantised  # which takes long to import

            return load_quantised(profile.model_path, adapter)
        return load_model(profile.model_path, dtype=profile.dtype, adapter=adapter)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise LabError(
            f"{profile.model} does not fit into memory: close programs, or choose a smaller model"
        ) from error


def spread(items: list[Item], count: int | None) -> list[Item]:
    """`count` items, each kind in proportion, always the same ones and in their order; all for None."""
    if count is None or count >= len(items):
        return items
    kinds = {kind: [i for i in items if i.kind == kind] for kind in dict.fromkeys(i.kind for i in items)}
    rank = {item.id: (n + 0.5) / len(group) for group in kinds.values() for n, item in enumerate(group)}
    chosen = {item.id for item in sorted(items, key=lambda item: rank[item.id])[:count]}
    return [item for item in items if item.id in chosen]
