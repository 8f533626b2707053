"""What the pocket model can do, skill by skill, on the company's questions. Introduced in 00_start.

`python -m labkit.world.pretrain --evaluate` recomputes `evaluation.json` and says whether it agrees.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from labkit.abstain import abstained, f1_abstention
from labkit.compare.arms import passages
from labkit.compare.score import is_right
from labkit.compare.training import holds
from labkit.rag.augment import FORMS, build_messages, cited
from labkit.stats import bootstrap, bootstrap_mean

if TYPE_CHECKING:
    from labkit.lab import Lab
    from labkit.rag.retrieve import Hit
    from labkit.world.data import Item

Scores = dict[str, dict[str, float]]
SINGLE = ("single fact", "new wording", "changed fact")


def gold_hits(lab: Lab, item: Item) -> list[Hit] | None:
    """The passages that prove an answer, one for each fact, from its own document; None where chunks cut one in two."""
    from labkit.rag.retrieve import Hit

    own = [[Hit(c, 1.0, 1) for c in lab.vectors.chunks if c.document_id == e.document] for e in item.evidence]
    found = [next((h for h in hits if holds(h, e)), None) for hits, e in zip(own, item.evidence, strict=True)]
    return None if None in found else list(dict.fromkeys(found))


def among(gold: Sequence[Hit], others: Sequence[Hit], size: int = 5) -> list[Hit]:
    """The proving passages among others that were retrieved, five in all, in an order that says nothing."""
    ids = {hit.chunk.id for hit in gold}
    chosen = [*gold, *(hit for hit in others if hit.chunk.id not in ids)][:size]
    return sorted(chosen, key=lambda hit: hit.chunk.id)


def follows(form: str, text: str, item: Item) -> bool:
    """Whether an answer has the form that the prompt asked for."""
    if form == "json":
        try:
            return "answer" in json.loads(text)
        except (ValueError, TypeError):
            return False
    bare = text.rstrip(".") == item.gold
    whole = text[:1].isupper() and text.endswith(".") and len(text.split()) >= 4
    return {"value": bare, "sentence": whole and "\n" not in text, "bullet": text.startswith("- ")}[form]


def evaluate(lab: Lab) -> Scores:
    """Score, 95 % interval and number of questions for every skill, greedy, exact value unless the skill says otherwise."""
    asked = [item for item in lab.questions if item.gold]
    found = dict(
        zip(
            (i.id for i in lab.questions),
            lab.retriever().search_batch([i.question for i in lab.questions], 5),
            strict=True,
        )
    )
    gold = {item.id: gold_hits(lab, item) for item in asked}
    single = [i for i in asked if i.kind in SINGLE and gold[i.id]]
    hop = [i for i in asked if i.kind == "two-hop" and gold[i.id]]
    versus = [i for i in asked if i.kind == "numeric comparison" and gold[i.id]]
    held = [i for i in asked if all(any(holds(h, e) for h in found[i.id]) for e in i.evidence)]
    scores = {
        "gold_passage": _right(lab, single, [gold[i.id] for i in single]),
        "retrieved_chunks": _right(lab, held, [found[i.id] for i in held]),
        "two_hop": _right(lab, hop, [among(gold[i.id], found[i.id]) for i in hop]),
        "comparison": _right(lab, versus, [among(gold[i.id], found[i.id]) for i in versus]),
        "no_context": _right(lab, asked, [[] for _ in asked]),
    }
    return scores | _retrieved(lab, found) | {"prompted_form": _forms(lab, single[:40], gold)}


def _texts(lab: Lab, items: Sequence[Item], hits: Sequence[Sequence[Hit]], form: str = "cited") -> list[str]:
    prompts = [build_messages(i.question, passages(h), form) for i, h in zip(items, hits, strict=True)]
    return [made.text for made in lab.model.generate(prompts, lab.profile.max_new_tokens)]


def _right(lab: Lab, items: Sequence[Item], hits: Sequence[Sequence[Hit]]) -> dict[str, float]:
    return _entry([is_right(i, text) for i, text in zip(items, _texts(lab, items, hits), strict=True)])


def _entry(values: Sequence[bool]) -> dict[str, float]:
    interval = bootstrap_mean(np.array(values, float))
    return {"score": interval.mean, "low": interval.low, "high": interval.high, "n": len(values)}


def _retrieved(lab: Lab, found: dict[str, list[Hit]]) -> Scores:
    """Declining and citing over what retrieval really brings, for every question."""
    items = lab.questions
    hits = [found[i.id] for i in items]
    texts = _texts(lab, items, hits)
    said, none = np.array([abstained(t) for t in texts]), np.array([i.gold is None for i in items])
    f1 = asdict(bootstrap(lambda rows: f1_abstention(said[rows], none[rows]), len(items)))
    good = [
        any(holds(h[n - 1], e) for n in cited(t) if n <= len(h) for e in i.evidence)
        for i, t, h in zip(items, texts, hits, strict=True)
        if i.gold and is_right(i, t)
    ]
    return {"abstain_f1": {"score": f1.pop("mean"), **f1, "n": len(items)}, "citation": _entry(good)}


def _forms(lab: Lab, items: Sequence[Item], gold: dict[str, list[Hit] | None]) -> dict[str, float]:
    kept = []
    for form in FORMS.keys() - {"cited"}:
        texts = _texts(lab, items, [gold[i.id] for i in items], form)
        kept += [follows(form, text, item) for item, text in zip(items, texts, strict=True)]
    return _entry(kept)
