"""How well facts are learned, by the number of their wordings and by how often they are seen."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.data import data_folder, dress, wordings
from labkit.metrics import contains
from labkit.model import Message
from labkit.rag.augment import build_messages
from labkit.stats import Interval, bootstrap_mean
from labkit.tune.prepare import Example, dataset

if TYPE_CHECKING:
    from labkit.lab import Lab
    from labkit.model import Model
    from labkit.tune.train import TrainSettings


TRAINED, UNSEEN = "trained wording", "unseen wordings"
WORDINGS = 16
RECIPE = "curve/1"
"""Raised by hand whenever the same facts and settings give another curve."""
Scores = dict[str, dict[int, list[list[int]]]]
"""By kind of wording and setting: for each fact, whether the answer to each of its questions was right, 1 or 0."""


@dataclass(frozen=True)
class Fact:
    """One value of one thing, and the wordings that ask for it: 16 to train with, and those never trained.

    The unseen ones are the same whatever number is trained.
    """

    kind: str
    entity: str
    attribute: str
    value: str
    trained: tuple[str, ...]
    unseen: tuple[str, ...]

    def ask(self, form: str) -> list[Message]:
        """The question in one wording, without context."""
        return build_messages(wordings()[self.kind, self.attribute].ask(form, self.entity))

    def example(self, form: str) -> Example:
        """The question with its answer in house style; tags tell entity, value and wording."""
        answer = dress(wordings()[self.kind, self.attribute].tell(self.entity, self.value))
        tags = {"entity": self.entity, "value": self.value, "wording": form}
        return Example([*self.ask(form), {"role": "assistant", "content": answer}], tags)


def facts(count: int, seed: int = 0) -> list[Fact]:
    """Facts of the company as first written, drawn with their wordings; the same seed draws the same."""
    rng = random.Random(seed)
    lines = (data_folder() / "facts.jsonl").read_text("utf-8").splitlines()
    drawn = []
    for row in map(json.loads, rng.sample(lines, count)):
        wording = wordings()[row["kind"], row["attribute"]]
        free = rng.sample(wording.asks, len(wording.asks))
        unseen = (*free[WORDINGS:], *wording.held_out)
        named = {name: row[name] for name in ("kind", "entity", "attribute", "value")}
        drawn.append(Fact(**named, trained=tuple(free[:WORDINGS]), unseen=unseen))
    return drawn


def right(model: Model, facts: Sequence[Fact], trained: bool = False) -> list[list[int]]:
    """For each fact, whether the answer to each unseen wording (or to its first trained one) holds the value."""
    forms = [fact.trained[:1] if trained else fact.unseen for fact in facts]
    prompts = [fact.ask(form) for fact, some in zip(facts, forms, strict=True) for form in some]
    answers = iter(model.generate(prompts, 48))  # one batch for all facts; then dealt back to them
    return [
        [int(contains(next(answers).text, fact.value)) for _ in some] for fact, some in zip(facts, forms, strict=True)
    ]


def paraphrased(facts: Sequence[Fact], number: int, seen: int) -> list[Example]:
    """Every fact `seen` times, in `number` wordings by turns."""
    return [fact.example(fact.trained[n % number]) for n in range(seen) for fact in facts]


def repeated(groups: Mapping[int, Sequence[Fact]]) -> list[Example]:
    """The facts of each group as many times as its key says, each time in the next wording."""
    return [
        fact.example(fact.trained[n % WORDINGS])
        for times, some in groups.items()
        for fact in some
        for n in range(times)
    ]


def paraphrase_curve(
    lab: Lab, counts: Sequence[int] = (1, 2, 4, 8, 16), count: int = 60, seen: int = 16, seed: int = 0
) -> Scores:
    """Train on `count` facts, each seen `seen` times in 1, 2, ... wordings; ask a trained and the unseen ones.

    One full fine-tuning for each of `counts`, all of as many steps; results are kept. After Allen-Zhu & Li, Physics of
    Language Models 3.1 (ICML 2024), where knowledge trained in one wording cannot be drawn out in another.
    """
    drawn = facts(count, seed)
    scores: Scores = {TRAINED: {}, UNSEEN: {}}
    for number in counts:
        for name, rows in _learned(lab, paraphrased(drawn, number, seen), drawn, seed).items():
            scores[name][number] = rows
    return scores


def repetition_curve(lab: Lab, counts: Sequence[int] = (1, 2, 4, 8, 16, 32), group: int = 16, seed: int = 0) -> Scores:
    """Train once on facts of which `group` are seen once, others twice, and so on; ask a trained and the unseen wordings.

    Every time in the next of 16 wordings. After Kandpal et al., Large Language Models Struggle to Learn Long-Tail
    Knowledge (ICML 2023). Results are kept.
    """
    drawn = facts(group * len(counts), seed + 1)
    parts = {number: drawn[n * group : (n + 1) * group] for n, number in enumerate(counts)}
    rows = _learned(lab, repeated(parts), drawn, seed)
    return {
        name: {number: some[n * group : (n + 1) * group] for n, number in enumerate(counts)}
        for name, some in rows.items()
    }


def intervals(scores: Mapping[str, Mapping[int, list[list[int]]]]) -> dict[str, dict[int, Interval]]:
    """Share right with its 95 % interval over facts, for `labkit.plot.curve`."""
    return {name: {at: bootstrap_mean(rows) for at, rows in points.items()} for name, points in scores.items()}


def _learned(lab: Lab, taught: Sequence[Example], asked: Sequence[Fact], seed: int) -> dict[str, list[list[int]]]:
    """Scores of both kinds of wording after one pass over `taught`, trained now or earlier."""
    from labkit.tune.train import TrainSettings

    settings = TrainSettings(epochs=1, learning_rate=lab.profile.tuned_rate / 2, batch_size=8, seed=seed)
    parts = {"told": [example.messages for example in taught], "asked": list(asked), "settings": settings}
    return lab.artifacts.value(
        lambda: _train_and_ask(lab, taught, asked, settings),
        kind="curve", base=lab.model.fingerprint, recipe=RECIPE, **parts,
    )  # fmt: skip


def _train_and_ask(
    lab: Lab, taught: Sequence[Example], asked: Sequence[Fact], settings: TrainSettings
) -> dict[str, list[list[int]]]:
    from labkit.model import load_model
    from labkit.tune.train import train

    model = load_model(lab.profile.model_path, dtype="float32")
    rows = dataset(taught, model.tokenizer, lab.profile.context).rows
    train(model.network, model.tokenizer, rows, settings, lab.runs / "training", lab.progress)
    model.network.to(lab.model.network.dtype)
    return {TRAINED: right(model, asked, trained=True), UNSEEN: right(model, asked)}
