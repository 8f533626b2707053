"""What a sweep tries: the experiment file, and its cells. See docs/scale.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labkit.compare.arms import Base, FineTuned, arm_class, weights_of
from labkit.errors import LabError
from labkit.profile import resolve
from labkit.rag.retrieve import METHODS

RETRIEVAL = "retrieval"
"""In place of an arm: only search, and measure what was found."""

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Cell:
    """One combination of settings; None where it has no bearing on the arm. `overlap` is a share of the size."""

    profile: str
    chunk_size: int | None
    overlap: float | None
    method: str | None
    k: int | None
    arm: str
    seed: int | None
    size: str
    questions: int | None


class Grid(BaseModel):
    """What an experiment file holds: lists of which every combination is tried; defaults are the pocket profile's.

    `chunk_sizes` in tokens of the embedder, `overlaps` as shares of the size, `questions` spread over the kinds.
    See docs/scale.md.

    >>> len(Grid(k=[3, 5], arms=["base", "rag"]).cells())
    3
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    profiles: list[str] = Field(["pocket"], min_length=1)
    chunk_sizes: list[Positive] = Field([96], min_length=1)
    overlaps: list[Annotated[float, Field(ge=0, lt=1)]] = Field([0.15], min_length=1)
    methods: list[Literal[METHODS]] = Field(["fusion"], min_length=1)
    k: list[Positive] = Field([5], min_length=1)
    arms: list[str] = Field(["rag"], min_length=1)
    seeds: list[int] = Field([0], min_length=1)
    size: Literal["smoke", "full"] = "full"
    questions: Positive | None = None

    def cells(self) -> list[Cell]:
        """The grid's cells in order, each once: `base` has one whatever the chunks, an untrained arm one for all seeds."""
        axes = (self.profiles, self.chunk_sizes, self.overlaps, self.methods, self.k, self.arms, self.seeds)
        cells = (Cell(*values, self.size, self.questions) for values in product(*axes))
        return list(dict.fromkeys(map(_bare, cells)))


def _bare(cell: Cell) -> Cell:
    if cell.arm == RETRIEVAL or weights_of(cell.arm) is None:
        cell = replace(cell, seed=None)
    if cell.arm != RETRIEVAL and arm_class(cell.arm) in (Base, FineTuned):
        cell = replace(cell, chunk_size=None, overlap=None, method=None, k=None)
    return cell


def read_grid(path: Path | str) -> Grid:
    """The grid in a YAML file; LabError naming what is wrong with it. See docs/scale.md.

    >>> read_grid("data/sweeps/small.yaml").size
    'smoke'
    """
    try:
        grid = Grid.model_validate(yaml.safe_load(Path(path).read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LabError(f"cannot read {path} ({' '.join(str(error).split())[:80]}): give a YAML file") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise LabError(f"{path}: {where}: {first['msg']}; labkit sweep --help shows a file") from error
    for profile in grid.profiles:
        resolve(profile)
    for arm in grid.arms:
        if arm != RETRIEVAL:
            arm_class(arm)
    return grid
