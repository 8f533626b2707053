"""The pocket model's card: what it is, how it was trained, what it can do, skill by skill, on the company's questions.

`python -m data.make.card` measures the model in `data/models/pocket` and writes `evaluation.json`, the training curve
and the card beside it; `python -m data.make.pretrain --evaluate` measures again and says whether it agrees.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import labkit
from data.make.pocket import SHAPE
from data.make.prose import SOURCE
from data.make.scenes import Scene
from data.make.stream import LEVELS, review_set
from labkit.compare.arms import passages
from labkit.compare.reading import among, gold_hits
from labkit.compare.score import is_right
from labkit.compare.training import holds
from labkit.data import SINGLE, data_folder, style_faults
from labkit.metrics import abstained, contains, f1_abstention
from labkit.rag.augment import FORMS, build_messages, cited
from labkit.stats import bootstrap, bootstrap_mean
from labkit.store import write_bytes, write_json

if TYPE_CHECKING:
    from labkit.compare.lab import Lab
    from labkit.data import Item
    from labkit.rag.retrieve import Hit

Scores = dict[str, dict[str, float]]
SKILLS = {
    "gold_passage": "reads a value from the one passage that states it",
    "unseen_wording": "the same, asked only in wordings that were never trained on",
    "retrieved_chunks": "reads it from five retrieved chunks, where these hold it",
    "abstain_f1": "declines exactly where the five passages it is shown do not tell (F1)",
    "two_hop": "joins two facts, both passages among five",
    "comparison": "names the larger of two, both passages among five",
    "growth": "says by how much sales changed, both figures among five passages",
    "citation": "right answers that cite a passage which proves them",
    "prompted_form": "keeps the form that the prompt asks for (value, sentence, bullet, JSON)",
    "lists": "lists all things of a site and no other (unseen names, held-out wordings)",
    "review_summary": "sums up reviews in one sentence, word for word (unseen names, held-out wordings)",
    "real_prose": "answers from a paragraph of real prose (what it was not made for)",
    "no_context": "knows the company without being shown anything (should be none)",
}
TUNED = {
    "tuned_facts": "facts answered without passages, in the wording they were trained in (LoRA, 30 epochs)",
    "hybrid_style": "answers from the gold passage in house style (LoRA on passages and style)",
    "hybrid_gold_passage": "answers from the gold passage that are right after that tuning",
}


def folder() -> Path:
    """Where the pocket model lies."""
    return data_folder() / "models" / "pocket"


def agree(tolerance: float = 0.02) -> bool:
    """Measure again, print old beside new, and say whether every skill is within `tolerance` of what is written."""
    written = json.loads((folder() / "evaluation.json").read_text("utf-8"))
    again = evaluate(labkit.open("pocket", progress=False))
    for skill, entry in again.items():
        print(f"{skill:17} written {written[skill]['score']:.3f}  measured {entry['score']:.3f}  n {entry['n']}")
    good = all(abs(again[skill]["score"] - written[skill]["score"]) <= tolerance for skill in again)
    print("agrees" if good and again.keys() == written.keys() else "does not agree with evaluation.json")
    return good and again.keys() == written.keys()


def log() -> list[dict[str, Any]]:
    """The training log, one entry per step (a resumed run repeats some: the last counts)."""
    lines = (folder() / "training.jsonl").read_text("utf-8").splitlines()
    return sorted({(e := json.loads(line))["step"]: e for line in lines}.values(), key=lambda e: e["step"])


def draw_curve(entries: list[dict[str, Any]]) -> bytes:
    """Exact answers on fresh stream text over tokens, as PNG; where the level of the curriculum changed, its number."""
    import io

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2))
    axes.plot([e["tokens"] / 1e6 for e in entries], [e["exact"] for e in entries], color="#0072B2")
    changes = [after for before, after in pairwise(entries) if after["level"] != before["level"]]
    for now, then in zip(changes, [*changes[1:], entries[-1]], strict=True):
        axes.axvline(now["tokens"] / 1e6, color="#999999", linewidth=0.8, linestyle="--")
        if then["tokens"] - now["tokens"] > 1e6:
            axes.annotate(f" {now['level']}", (now["tokens"] / 1e6, 0.95), fontsize=8)
    axes.set(xlabel="tokens read, millions", ylabel="answers exactly right", ylim=(0, 1))
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return data.getvalue()


def _rows(scores: Scores, meaning: dict[str, str]) -> str:
    return "\n".join(
        f"| {skill} | {meaning[skill]} | {e['score']:.3f} [{e['low']:.3f}, {e['high']:.3f}] | {e['n']} |"
        for skill, e in scores.items()
    )


def card(scores: Scores, tuned: Scores, entries: list[dict[str, Any]]) -> str:
    """The model card, every number from the measurement or the log."""
    rows, tuned_rows = _rows(scores, SKILLS), _rows(tuned, TUNED)
    config = json.loads((folder() / "config.json").read_text("utf-8"))
    shape = ", ".join(f"{key} {config[key]}" for key in SHAPE if key in config)
    template = Path(__file__).with_name("templates") / "card.md"
    return template.read_text("utf-8").format(rows=rows, tuned=tuned_rows, shape=shape, vocabulary=config["vocab_size"], last=entries[-1]["step"],
        tokens=f"{entries[-1]['tokens'] / 1e6:.1f}", level=entries[-1]["level"], exact=entries[-1]["exact"])  # fmt: skip


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
    sales = [i for i in asked if i.kind == "growth" and gold[i.id]]
    unseen = [i for i in single if i.kind == "new wording"]
    held = [i for i in asked if all(any(holds(h, e) for h in found[i.id]) for e in i.evidence)]
    scores = {
        "gold_passage": _right(lab, single, [gold[i.id] for i in single]),
        "unseen_wording": _right(lab, unseen, [gold[i.id] for i in unseen]),
        "retrieved_chunks": _right(lab, held, [found[i.id] for i in held]),
        "two_hop": _right(lab, hop, [among(gold[i.id], found[i.id]) for i in hop]),
        "comparison": _right(lab, versus, [among(gold[i.id], found[i.id]) for i in versus]),
        "growth": _right(lab, sales, [among(gold[i.id], found[i.id]) for i in sales]),
        "no_context": _right(lab, asked, [[] for _ in asked]),
    }
    scores |= _retrieved(lab, found)
    return scores | {
        "prompted_form": _forms(lab, single[:40], gold),
        "lists": _lists(lab),
        "review_summary": _reviews(lab),
        "real_prose": _prose(lab),
    }


def tunability(lab: Lab) -> Scores:
    """What the default adapters (seed 0) make of the model: facts learnt, style kept, reading kept."""
    facts = [i for i in lab.pairs if i.kind == "single fact"][:200]
    told = lab.tuned_model("tuned", 0).generate([build_messages(i.question) for i in facts], lab.profile.max_new_tokens)
    gold = {i.id: gold_hits(lab, i) for i in lab.questions if i.kind in SINGLE}
    items = [i for i in lab.questions if gold.get(i.id)]
    prompts = [build_messages(i.question, passages(gold[i.id])) for i in items]
    read = [g.text for g in lab.tuned_model("hybrid", 0).generate(prompts, lab.profile.max_new_tokens)]
    return {
        "tuned_facts": _entry([is_right(i, g.text) for i, g in zip(facts, told, strict=True)]),
        "hybrid_style": _entry([not style_faults(text) for text in read]),
        "hybrid_gold_passage": _entry([is_right(i, text) for i, text in zip(items, read, strict=True)]),
    }


def _said(lab: Lab, asked: Sequence[tuple[str, list[tuple[str, str]], str]]) -> list[str]:
    """Answers to (question, passages, form)."""
    prompts = [build_messages(question, shown, form) for question, shown, form in asked]
    return [made.text for made in lab.model.generate(prompts, lab.profile.max_new_tokens)]


def _texts(lab: Lab, items: Sequence[Item], hits: Sequence[Sequence[Hit]], form: str = "cited") -> list[str]:
    return _said(lab, [(item.question, passages(h), form) for item, h in zip(items, hits, strict=True)])


def _right(lab: Lab, items: Sequence[Item], hits: Sequence[Sequence[Hit]]) -> dict[str, float]:
    return _entry([is_right(i, text) for i, text in zip(items, _texts(lab, items, hits), strict=True)])


def _entry(values: Sequence[bool]) -> dict[str, float]:
    interval = bootstrap_mean(np.array(values, float))
    return {"score": interval.mean, "low": interval.low, "high": interval.high, "n": len(values)}


def _retrieved(lab: Lab, found: dict[str, list[Hit]]) -> Scores:
    """Declining where the passages found do not tell, and citing, for every question."""
    items = lab.questions
    hits = [found[i.id] for i in items]
    texts = _texts(lab, items, hits)
    told = [i.gold and all(any(holds(h, e) for h in f) for e in i.evidence) for i, f in zip(items, hits, strict=True)]
    said, none = np.array([abstained(t) for t in texts]), ~np.array(told, dtype=bool)
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


def _lists(lab: Lab, count: int = 100) -> dict[str, float]:
    """All entities of a site, over chunks with unseen names in held-out wordings; every name and no other."""
    rng, asked = random.Random("lists"), []
    while len(asked) < count:
        scene = Scene(LEVELS[-1], rng, held_out=True, company=True)
        if turn := scene.list_all():
            asked.append((turn, (turn.question, [(p.title, p.text) for p in scene.passages], "sentence")))
    return _entry([turn.text == text for (turn, _), text in zip(asked, _said(lab, [a for _, a in asked]), strict=True)])


def _reviews(lab: Lab, count: int = 100) -> dict[str, float]:
    """The one-sentence summary of unseen reviews in held-out wordings, word for word."""
    rng = random.Random("reviews")
    made = [review_set(rng, held=True, company=True) for _ in range(count)]
    texts = _said(lab, [(question, shown, "sentence") for shown, question, _ in made])
    return _entry([text == summary for text, (_, _, summary) in zip(texts, made, strict=True)])


def _prose(lab: Lab) -> dict[str, float]:
    """Real prose, written by people for people: the answer from the paragraph that holds it."""
    asked, golds = [], []
    for name in ("suez-canal", "honey-bees", "moon-landing", "eiffel-tower", "tea", "danube"):
        article = (SOURCE / f"{name}.md").read_text("utf-8")
        for fact in json.loads((SOURCE / f"{name}.json").read_text("utf-8"))["facts"]:
            paragraph = next(p for p in article.split("\n\n") if fact["quote"].split(".")[0] in " ".join(p.split()))
            asked.append((fact["question"], [(article.splitlines()[0].lstrip("# "), paragraph)], "sentence"))
            golds.append(fact["answer"].partition("|")[0])
    return _entry([contains(text, gold) for text, gold in zip(_said(lab, asked), golds, strict=True)])


def main() -> None:
    """Measure the pocket model and write its card."""
    lab, entries = labkit.open("pocket"), log()
    scores, tuned = evaluate(lab), tunability(lab)
    write_json(folder() / "evaluation.json", scores)
    write_json(folder() / "tunability.json", tuned)
    write_bytes(folder() / "training.png", draw_curve(entries))
    write_bytes(folder() / "README.md", card(scores, tuned, entries).encode())
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
