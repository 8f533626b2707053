"""SQuAD 1.1, SQuAD 2.0 and XQuAD from one file: its articles are the documents, its questions are asked of the four arms.

Exact match and F1 are those of the official scripts (Rajpurkar et al., EMNLP 2016 and ACL 2018), on predictions that are
written in the official form, so that the official script can be run on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.data import Evidence, Item
from labkit.errors import LabError
from labkit.lab import spread
from labkit.metrics import abstained, f1, normalise
from labkit.practice.own_data import OwnLab, compare_own
from labkit.practice.own_data_questions import UNKNOWN, Questions
from labkit.profile import resolve
from labkit.rag.augment import ABSTAIN
from labkit.rag.ingest import Document, Ingested
from labkit.stats import bootstrap_mean
from labkit.store import address, write_json

if TYPE_CHECKING:
    import pandas as pd

    from labkit.compare.experiment import Comparison

MOST = 200  # test questions asked unless more are wanted
TAUGHT = 480  # questions trained on


def read_squad(path: Path | str) -> tuple[list[Document], list[Item]]:
    """The articles of a SQuAD file as documents, their paragraphs in order, and its questions as items.

    A question that the file marks as impossible is one to decline. Raises LabError for a file of another form, naming
    the part that is missing, and for an answer that does not stand in its paragraph.

    >>> documents, items = read_squad("dev-v2.0.json")
    """
    path = Path(path)
    try:
        articles = json.loads(path.read_text("utf-8-sig"))["data"]
        documents = [_document(article) for article in articles]
        items = [item for article in articles for item in _items(article)]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise LabError(f"cannot read {path.name} ({type(error).__name__}): give a JSON file of SQuAD's form") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{path.name} is not of SQuAD's form, {error} is missing: it needs data, paragraphs, context, "
                       "qas, question and answers") from error  # fmt: skip
    if not items:
        raise LabError(f"{path.name} holds no question: give a file with some")
    return documents, items


def _document(article: Mapping[str, Any]) -> Document:
    text = "\n\n".join(paragraph["context"] for paragraph in article["paragraphs"])
    title = _title(article)
    return Document(title, title, text, "text", address(text=text))


def _title(article: Mapping[str, Any]) -> str:
    return str(article.get("title") or "untitled").replace("_", " ")


def _items(article: Mapping[str, Any]) -> list[Item]:
    title, found = _title(article), []
    for paragraph in article["paragraphs"]:
        for asked in paragraph["qas"]:
            forms = list(dict.fromkeys(answer["text"] for answer in asked["answers"] if answer["text"].strip()))
            if asked.get("is_impossible"):
                forms = []
            elif not forms or not any(form in paragraph["context"] for form in forms):
                raise LabError(
                    f"question {asked['id']}: its answer does not stand in its paragraph: mend it or leave it out"
                )
            proof = (Evidence(title, forms[0], paragraph["context"], "", "", ""),) if forms else ()
            kind = "in the documents" if forms else UNKNOWN
            gold = forms[0] if forms else None
            found.append(
                Item(str(asked["id"]), kind, asked["question"], gold, gold or ABSTAIN, (), proof, tuple(forms[1:]))
            )
    return found


def open_squad(
    profile: str, path: Path | str, size: str = "full", fresh: bool = False, progress: bool = True,
    most: int | None = None,
) -> OwnLab:  # fmt: skip
    """A lab on a SQuAD file: half of the questions, at most 480, to train on, and at most `most` (200) of the rest as test.

    The split is by question, with a fixed seed. Raises LabError as `read_squad` does, and for an unknown profile.

    >>> lab = open_squad("smol", "dev-v1.1.json")
    """
    documents, items = read_squad(path)
    order = np.random.default_rng(0).permutation(len(items)).tolist()
    half = len(items) // 2
    train, test = ([items[i] for i in sorted(part)] for part in (order[:half], order[half:]))
    train, test = spread(train, TAUGHT), spread(test, most or MOST)
    lab = OwnLab(resolve(profile), size, fresh, progress)
    lab.folder = lab.file = Path(path)
    lab.corpus = Path(path).name
    note = f"{len(documents)} articles; of {len(items)} questions {len(train)} to train on, {len(test)} to test on"
    lab.original = Ingested(documents, [])
    lab.asked = Questions(train, test, None, [note])
    return lab


def prediction(text: str) -> str:
    """An answer as the official scripts take it: without citations, empty where it declines.

    >>> prediction("[2] The Normans."), prediction("The documents do not say.")
    ('The Normans.', '')
    """
    return "" if abstained(text) else re.sub(r"\s*\[\d+\]\s*", " ", text).strip()


def em_f1(text: str, golds: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of a prediction against the best of its gold answers; no gold answer means that it should be empty.

    >>> em_f1("the Normans", ["Normans", "Norman people"])
    (1.0, 1.0)
    """
    # As the official script of 2.0 has it: a gold answer that normalises to nothing counts as none.
    golds = [gold for gold in golds if normalise(gold)] or [""]
    return max(float(normalise(text) == normalise(gold)) for gold in golds), max(f1(text, gold) for gold in golds)


def compare_squad(lab: OwnLab) -> Comparison:
    """The comparison of the four arms on a SQuAD file, with exact match and F1 beside its own metrics."""
    made = compare_own(lab)
    golds = {item.id: [item.gold, *item.accepted] if item.gold else [] for item in lab.questions}
    scores = [em_f1(prediction(row.text), golds[row.id]) for row in made.answers.itertuples()]
    answers = made.answers.assign(exact_match=[em for em, _ in scores], f1=[f for _, f in scores])
    arms = {name: dict(values) for name, values in made.result["arms"].items()}
    for name in arms:
        mine = answers[answers.arm == name]
        for metric in ("exact_match", "f1"):
            wide = mine.pivot(index="id", columns="seed", values=metric)
            arms[name][metric] = asdict(bootstrap_mean(wide.to_numpy(float)))
    return replace(made, result={**made.result, "experiment": "squad", "arms": arms}, answers=answers)


def write_predictions(answers: pd.DataFrame, folder: Path) -> None:
    """What each arm answered, by question id, as the official scripts read it: `predictions-ARM-SEED.json` in a folder."""
    for (arm, seed), mine in answers.groupby(["arm", "seed"]):
        texts = {row.id: prediction(row.text) for row in mine.itertuples()}
        write_json(folder / f"predictions-{arm}-{seed}.json", texts)
