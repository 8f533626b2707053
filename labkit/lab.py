"""Everything a lesson works with, made on first use: documents, index, models, arms. Introduced in 00_start."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache, cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import LabError
from labkit.profile import Profile, scaled
from labkit.store import Store, address, hash_source, provenance, write_json

if TYPE_CHECKING:
    from labkit.compare.arms import Arm
    from labkit.model import Model
    from labkit.rag.embed import Embedder
    from labkit.rag.index import FaissStore
    from labkit.rag.ingest import Document, Ingested
    from labkit.rag.retrieve import Retriever
    from labkit.world.data import Item

TRAINING_CODE = (
    "labkit.rag.augment",
    "labkit.compare.training",
    "labkit.tune.prepare",
    "labkit.tune.train",
    "labkit.tune.adapters",
    "labkit.world.style",
)
ANSWERING_CODE = (
    "labkit.rag.ingest",
    "labkit.rag.chunk",
    "labkit.rag.embed",
    "labkit.rag.index",
    "labkit.rag.retrieve",
    "labkit.rag.augment",
    "labkit.model",
    "labkit.metrics",
    "labkit.abstain",
    "labkit.world.style",
    "labkit.compare.arms",
    "labkit.compare.training",
    "labkit.compare.experiment",
)


class Lab:
    """One profile at one size. Its parts load lazily; what is trained is kept under `runs/artifacts`."""

    def __init__(self, profile: Profile, size: str = "full", fresh: bool = False, progress: bool = True):
        self.profile, self.size, self.fresh, self.progress = scaled(profile, size), size, fresh, progress
        self.runs = Path(os.environ.get("LABKIT_RUNS", "runs")).resolve()
        from labkit.world.data import data_folder

        self.store = Store(self.runs / "artifacts", None if fresh else data_folder() / "artifacts")
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.made: set[str] = set()

    def describe(self) -> dict[str, str]:
        """Versions, device, models and sizes, each in a few words."""
        import torch

        versions = provenance()["packages"]
        return {
            "profile": f"{self.profile.name}, size {self.size}",
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
        from labkit.rag.ingest import ingest
        from labkit.world.data import documents_folder

        return ingest(documents_folder(), progress=self.progress)

    @cached_property
    def ingested(self) -> Ingested:
        """The documents of today: updated ones take the place of the originals."""
        from labkit.rag.ingest import Ingested, ingest
        from labkit.world.data import updates_folder

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
        from labkit.world.data import load_questions

        return _spread(load_questions(), self.profile.questions)

    @cached_property
    def pairs(self) -> list[Item]:
        """The training pairs; at smoke size the same few of each kind."""
        from labkit.world.data import load_pairs

        return _spread(load_pairs(), self.profile.pairs)

    @cached_property
    def embedder(self) -> Embedder:
        """The profile's embedder, its vectors cached by content."""
        from labkit.rag.embed import load_embedder

        return load_embedder(self.profile.embedder, cache_dir=self.runs / "vectors")

    def index(self, documents: Iterable[Document]) -> FaissStore:
        """Chunk, embed and index some documents with the profile's settings."""
        from labkit.rag.chunk import chunk_documents
        from labkit.rag.index import FaissStore

        p = self.profile
        chunks = chunk_documents(list(documents), self.embedder.tokenizer, size=p.chunk_size, overlap=p.chunk_overlap)
        return FaissStore.from_chunks(chunks, self.embedder)

    @cached_property
    def vectors(self) -> FaissStore:
        """The index over the documents of today."""
        return self.index(self.documents)

    def retriever(self, method: str | None = None) -> Retriever:
        """A retriever over the documents of today, by the profile's method if none is named."""
        from labkit.rag.retrieve import retriever

        return retriever(method or self.profile.method, self.vectors)

    @cached_property
    def model(self) -> Model:
        """The profile's model as it came."""
        from labkit.model import load_model

        return load_model(self.profile.model_path, dtype=self.profile.dtype)

    def arm(self, name: str, seed: int = 0) -> Arm:
        """One of the four arms; a tuned one is trained with this seed if no artifact of it is found."""
        from labkit.compare import arms

        classes = {"base": arms.Base, "rag": arms.Rag, "tuned": arms.FineTuned, "hybrid": arms.Hybrid}
        if name not in classes:
            raise LabError(f"unknown arm '{name}': choose one of {', '.join(classes)}")
        model = self.model if name in ("base", "rag") else self.tuned_model(name, seed)
        retriever = self.retriever() if name in ("rag", "hybrid") else None
        return classes[name](model, retriever, self.profile.top_k, self.profile.max_new_tokens)

    @cache  # noqa: B019 - a lab lives as long as its process
    def tuned_model(self, name: str, seed: int = 0) -> Model:
        """The model with the adapter of `tuned` or `hybrid` merged in, trained here if it is not in the store."""
        from labkit.model import load_model

        return load_model(self.profile.model_path, dtype=self.profile.dtype, adapter=self.adapter(name, seed))

    def adapter(self, name: str, seed: int = 0) -> Path:
        """The folder of a trained adapter, found by the address of all that makes it, or trained now."""
        from labkit.tune.adapters import train_adapter

        rows, settings = self._rows(name, seed), self._settings(name, seed)
        code = hash_source(*TRAINING_CODE)
        key = address(kind=name, base=self.model.fingerprint, data=rows, settings=asdict(settings), code=code)
        began = time.perf_counter()
        found = self.kept(key, lambda folder: train_adapter(self.profile.model_path, rows, settings, folder))
        self.artifacts[f"{name}, seed {seed}"] = {
            "address": key,
            "shipped": found.parent == self.store.shipped_root,
            "seconds": round(time.perf_counter() - began, 2),
        }
        return found

    def kept(self, key: str, build: Callable[[Path], object]) -> Path:
        """The artifact at an address: found, or built now; a fresh lab builds each one once more."""
        again = self.fresh and key not in self.made
        found = None if again else self.store.find(key)
        self.made.add(key)
        return found or self.store.commit(key, build, fresh=again)

    def remembered(self, make: Callable[[], Any], **parts: Any) -> Any:
        """A JSON value, found by the parts that it depends on or made now."""
        folder = self.kept(address(**parts), lambda folder: write_json(folder / "value.json", make()))
        return json.loads((folder / "value.json").read_text("utf-8"))

    @cached_property
    def hashes(self) -> dict[str, str]:
        """What every result depends on: model, embedder, documents, questions, code."""
        return {
            "model": self.model.fingerprint,
            "embedder": self.embedder.fingerprint,
            "documents": address(documents=[(d.id, d.sha256) for d in self.documents]),
            "questions": address(questions=self.questions),
            "code": hash_source(*ANSWERING_CODE),
        }

    def _rows(self, name: str, seed: int) -> list[list[dict[str, str]]]:
        from labkit.compare.training import closed_book, with_context
        from labkit.rag.retrieve import retriever

        if name == "tuned":
            return closed_book(self.pairs)
        items = _spread(self.pairs, self.profile.hybrid_pairs)
        return with_context(
            items,
            retriever(self.profile.method, self.index(self.original.documents)),
            self.profile.top_k,
            seed,
        )

    def _settings(self, name: str, seed: int) -> Any:
        from labkit.tune.adapters import LoraSettings
        from labkit.tune.train import TrainSettings

        p = self.profile
        epochs, rate = (p.tuned_epochs, p.tuned_rate) if name == "tuned" else (p.hybrid_epochs, p.hybrid_rate)
        return LoraSettings(rank=p.lora_rank, train=TrainSettings(epochs=epochs, learning_rate=rate, seed=seed))


def _spread(items: list[Item], count: int | None) -> list[Item]:
    """`count` items, spread over the kinds in proportion, always the same ones; all for None."""
    if count is None or count >= len(items):
        return items
    order = sorted(range(len(items)), key=lambda i: random.Random(items[i].id).random())
    return [items[i] for i in sorted(order[:count])]
