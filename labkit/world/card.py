"""The pocket model's card: what it is, how it was trained, what it can do. Introduced in 00_start.

`python -m labkit.world.card` measures the model in `data/models/pocket` and writes `evaluation.json`, the training curve
and the card beside it.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import labkit
from labkit.store import write_bytes, write_json
from labkit.world.data import data_folder
from labkit.world.evaluate import Scores, evaluate, tunability
from labkit.world.pocket import SHAPE

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
