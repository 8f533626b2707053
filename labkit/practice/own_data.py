"""The comparison of lesson 12 on your documents, your questions and your model, or on a SQuAD file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.compare.experiment import Comparison, run_compare
from labkit.compare.lab import Lab, spread
from labkit.data import Evidence, Item, data_folder
from labkit.errors import LabError
from labkit.metrics import abstained, f1, normalise
from labkit.practice.generator import Endpoint
from labkit.practice.judge import COSINE, F1, Judge, ModelJudge, is_free
from labkit.practice.questions import UNKNOWN, Questions, load
from labkit.profile import PROFILES, resolve
from labkit.rag.augment import ABSTAIN, FORMS, FRAMED, build_messages
from labkit.rag.embed import load_embedder
from labkit.rag.ingest import Document, Ingested, ingest
from labkit.rag.retrieve import language
from labkit.stats import bootstrap_mean
from labkit.store import ROOT, address
from labkit.text import words

if TYPE_CHECKING:
    import pandas as pd


class OwnLab(Lab):
    """A lab over a folder of your documents and a file of your questions; all else is as in every lesson."""

    corpus = "your documents"
    folder: Path
    file: Path
    within: float | None = None
    most: int | None = None
    reading: Mapping[str, Any] = {}
    """Limits of `ingest` and the password of your files, where they are not as usual."""
    model_judge: ModelJudge | None = None
    """A served model that judges answers that no document holds word for word, before `judge` does."""

    def describe(self) -> dict[str, str]:
        """As every lab's, with what it reads."""
        served = {"base and rag answered by": str(self.generator)} if self.generator else {}
        served |= {"answers judged by": str(self.model_judge.model)} if self.model_judge else {}
        return {**super().describe(), **served, "documents": self.folder.name, "questions from": self.file.name}

    @cached_property
    def original(self) -> Ingested:
        """Your documents."""
        files = ingest(self.folder, progress=self.progress, **self.reading)
        files.tell()
        if not files.documents:
            first = files.rejected[0]
            raise LabError(f"no document in {self.folder.name} can be read, the first is {first.id}: {first.detail}")
        return files

    @property
    def ingested(self) -> Ingested:
        """Your documents: there is one version of them."""
        return self.original

    @cached_property
    def asked(self) -> Questions:
        """Your questions, checked against the documents and parted."""
        questions = load(self.file, self.documents, self.within, self.fits)
        return replace(questions, notes=[*questions.notes, *self._foreign()])

    def _foreign(self) -> Iterator[str]:
        """A note on documents in a language that the embedder was not trained on."""
        texts = [document.text for document in self.documents[:: max(1, len(self.documents) // 500)]]
        letters = re.sub(r"[\W\d_]", "", "".join(text[:2000] for text in texts))
        latin = sum(letter < "\u0250" for letter in letters) > len(letters) / 2
        name = language([words(text) for text in texts]).capitalize() if latin else "not in Latin letters"
        if name != "English" and self.profile.embedder in {profile.embedder for profile in PROFILES.values()}:
            yield (
                f"language: the documents are {name}, and the embedder was trained on English: add --embedder multilingual, "
                "after pip install 'labkit[multilingual]'"
            )

    def fits(self, text: str) -> bool:
        """Whether the models have room for a text and an answer to it."""
        room, prompt = self.profile.max_new_tokens, build_messages(text)
        models = [model for model in (self.model, self.generator) if model]
        return all(model.count(prompt) + room <= min(self.profile.context, model.context) for model in models)

    @cached_property
    def judge(self) -> Judge:
        """What judges answers that no document holds word for word; always with one embedder, as its thresholds are."""
        embedder = load_embedder("bundled", cache_dir=self.runs / "vectors")
        return Judge(embedder, [document.text for document in self.documents])

    def right(self, item: Item, text: str) -> bool:
        """As every lab's; of an answer that no document holds word for word, also what says the same."""
        return self.decide(item, text)[0]

    @cache  # noqa: B019 - a lab lives as long as its process; scoring and the report ask the same
    def decide(self, item: Item, text: str) -> tuple[bool, str, str]:
        """Whether a text answers an item, what decided it, and why a served judge gave no verdict if it was asked in vain."""
        holds = super().right(item, text)
        if holds or not is_free(item) or abstained(text):
            return holds, "value", ""
        forms, failure = (item.gold, *item.accepted), ""
        if self.model_judge:
            verdict = self.model_judge(item.question, text, forms)
            if isinstance(verdict, bool):
                return verdict, str(self.model_judge.model), ""
            failure = verdict
        return any(self.judge(item.question, text, form) for form in forms), "F1 and cosine", failure

    @cached_property
    def questions(self) -> list[Item]:
        """The test questions, or `most` of them, of each kind in proportion; at smoke size the same few."""
        return spread(self.asked.test, self.profile.questions if self.size == "smoke" else self.most)

    @cached_property
    def pairs(self) -> list[Item]:
        """The questions to train on; at smoke size the same few of each kind."""
        return spread(self.asked.train, self.profile.pairs)

    @property
    def tuned_pairs(self) -> list[Item]:
        """The questions to train on: as many wordings as you wrote."""
        return self.pairs

    @property
    def unfed(self) -> frozenset[str]:
        """Style without replies, and abstention without a question that no document answers, cannot be measured."""
        lacks = () if self.asked.style else ("style", "joint")
        return frozenset((*lacks, *(() if self.unknown else ("abstention",))))

    @property
    def unknown(self) -> float:
        """The share of the questions that no document answers."""
        return sum(item.gold is None for item in self.questions) / len(self.questions)

    def judged(self, answers: pd.DataFrame) -> pd.DataFrame:
        """The answers with the columns style and joint by your replies, both 0 where there are none, and with what decided."""
        style = self.asked.style
        scores = [int(style is not None and not style.faults(text)) for text in answers.text]
        items, pairs = {item.id: item for item in self.questions}, zip(answers.id, answers.text, strict=True)
        _, decided, failed = zip(*(self.decide(items[name], text) for name, text in pairs), strict=True)
        answers = answers.assign(style=scores, joint=answers.correct * scores, decided_by=decided)
        return answers.assign(no_verdict=failed) if self.model_judge else answers

    @property
    def instruction(self) -> str:
        """Asks for the opening and closing of your replies; for the value alone where there are none."""
        style = self.asked.style
        if style is None:
            return f"{FORMS['cited']} {FORMS['value']}"
        return FRAMED.format(opening=style.opening, closing=style.closing)

    def dress(self, text: str) -> str:
        """A reply in the style of your replies, or as it is where there are none."""
        return self.asked.style.dress(text) if self.asked.style else text


def open_own(
    profile: str, documents: Path | str, questions: Path | str, size: str = "full", within: float | None = None,
    fresh: bool = False, generator: str = "", progress: bool = True, most: int | None = None,
    judge: str = "", judge_model: str = "",
) -> OwnLab:  # fmt: skip
    """A lab on your documents and questions; a relative path lies in the project.

    `within` is the half-width that you want of an interval on a share; `generator` the URL of a server that answers for the
    untuned arms, URL#model for one of its models; `judge` that of one that judges answers which no document holds word for
    word. Raises LabError for what cannot be compared: an unknown profile, no documents, faults in the file of questions, too
    few of them; and as `Endpoint` and `ModelJudge` do.

    >>> lab = open_own("pocket", "data/prose/documents", "data/prose/questions.csv", size="smoke")
    >>> lab.asked.notes
    """
    lab = OwnLab(resolve(profile), size, fresh, progress)
    lab.folder, lab.file, lab.within = ROOT / documents, ROOT / questions, within
    lab.generator, lab.most = Endpoint(generator) if generator else None, most
    lab.model_judge = ModelJudge(judge, judge_model, None if fresh else lab.answered, progress) if judge else None
    return lab


def open_prose(profile: str, size: str = "full", fresh: bool = False) -> OwnLab:
    """A lab on `data/prose`: real facts in our own sentences, with as many test questions as it has."""
    prose = data_folder() / "prose"
    lab = open_own(profile, prose / "documents", prose / "questions.csv", size, fresh=fresh)
    lab.corpus = "articles about the real world"
    return lab


def compare_own(lab: OwnLab) -> Comparison:
    """Lesson 12's comparison on your lab, with a recommendation in the result.

    The recommendation begins with what limits the arms that read, and ends with what an answer costs and which questions fail, and why.

    >>> compare_own(lab).result["recommendation"]
    """
    from labkit.compare.decide import Needs, advise, diagnose, failures, in_front, price, recommend

    comparison = run_compare(lab)
    needs = Needs(changed=0, unknown=lab.unknown, right=1, style=float(lab.asked.style is not None))
    best = in_front(*advise(comparison.answers, needs))[0]
    arms = comparison.result["arms"]
    arm = max(arms, key=lambda name: arms[name]["accuracy"]["mean"]) if best == "base" else best
    seconds = {a["name"].partition(",")[0]: a["seconds"] for a in comparison.artifacts if not a["shipped"]}
    advice = [
        *diagnose(comparison.answers),
        *recommend(comparison.answers, needs),
        price(arms, arm, seconds),
        *failures(comparison.answers, arm),
        *_cautions(lab, comparison.answers),
    ]
    about = {"experiment": "own_data", "notes": lab.asked.notes, "recommendation": advice}
    if lab.model_judge:
        failed = comparison.answers.query("no_verdict != ''")[["arm", "seed", "id", "no_verdict"]].to_dict("records")
        about["judge"] = {"model": str(lab.model_judge.model), **lab.model_judge.agreement, "failed": failed}
    return replace(comparison, result=comparison.result | about)


def _cautions(lab: OwnLab, answers: pd.DataFrame) -> list[str]:
    """What to keep in mind: rows that were left out, how others were judged, and two models where two answer."""
    rows = [note.partition(": ")[2] for note in lab.asked.notes if note.startswith("left out: ")]
    cautions = [f"Of your questions {len(rows)} were left out, the first {'; '.join(rows[:20])}."] if rows else []
    if free := {item.id for item in lab.questions if is_free(item)}:
        right = answers[answers.id.isin(free) & (answers.correct == 1)].decided_by.value_counts()
        by = ", ".join(f"{n} by {measure}" for measure, n in right.items()) or "none"
        way = f"where {lab.model_judge.model} says that it is the same" if lab.model_judge else ""
        cautions.append(
            f"No document holds the answers to {len(free)} of the {len(lab.questions)} questions word for word; what was said to "
            f"them is right where it holds the value, or {way or f'by F1 from {F1} and cosine from {COSINE} on'}. So decided: {by}."
        )
    if judge := lab.model_judge:
        gaps = [f"{row.arm}, {row.id}: {row.no_verdict}" for row in answers[answers.no_verdict != ""].itertuples()]
        names = "; ".join(gaps[:20]) + " and so on" * (len(gaps) > 20)
        some = f"on {len(gaps)} answers, which F1 and cosine judged: {names}" if gaps else "on no answer"
        agrees = "agrees with people on {agreement:.2f} of {pairs} labelled pairs (kappa {kappa:.2f})"
        cautions.append(f"{judge.model} {agrees.format(**judge.agreement)}. It gave no verdict {some}.")
    if lab.generator and (cut := int(answers.cut.sum())):
        cautions.append(f"{cut} of {len(answers)} answers were cut off at {lab.profile.max_new_tokens} tokens.")
    lessons, golds = {item.gold for item in lab.tuned_pairs}, [item.gold for item in lab.questions if item.gold]
    if share := sum(gold in lessons for gold in golds) / max(1, len(golds)):
        cautions.append(
            f"{share:.0%} of the answers asked for stand in the training rows, under other questions: what the tuned arm "
            "knows, it learned there; it knows nothing else."
        )
    if lab.generator is not None:
        two = f"base and rag were answered by {lab.generator}, tuned and hybrid by {lab.profile.name}"
        cautions.append(f"Two models: {two}; what lies between them is due to the model as well as to the method.")
    return cautions


MOST = 200  # test questions of a SQuAD file that are asked unless more are wanted
TAUGHT = 480  # its questions that are trained on


def read_squad(path: Path | str) -> tuple[list[Document], list[Item]]:
    """The articles of a file of SQuAD 1.1, SQuAD 2.0 or XQuAD as documents, and its questions as items.

    A question that the file marks as impossible is one to decline. Raises LabError for a file of another form, naming
    the part that is missing, and for an answer that does not stand in its paragraph.

    >>> documents, items = read_squad("dev-v2.0.json")
    """
    path, documents, items = Path(path), [], []
    try:
        for article in json.loads(path.read_text("utf-8-sig"))["data"]:
            title = str(article.get("title") or "untitled").replace("_", " ")
            text = "\n\n".join(paragraph["context"] for paragraph in article["paragraphs"])
            documents.append(Document(title, title, text, "text", address(text=text)))
            items += [_item(title, part["context"], row) for part in article["paragraphs"] for row in part["qas"]]
    except (OSError, ValueError) as error:
        raise LabError(f"cannot read {path.name} ({type(error).__name__}): give a JSON file of SQuAD's form") from error
    except (KeyError, TypeError, AttributeError) as error:
        parts = "data, paragraphs, context, qas, question and answers"
        raise LabError(f"{path.name} is not of SQuAD's form, {error} is missing: it needs {parts}") from error
    if not items:
        raise LabError(f"{path.name} holds no question: give a file with some")
    return documents, items


def _item(title: str, paragraph: str, row: Mapping[str, Any]) -> Item:
    forms = list(dict.fromkeys(answer["text"] for answer in row["answers"] if answer["text"].strip()))
    if row.get("is_impossible"):
        return Item(str(row["id"]), UNKNOWN, row["question"], None, ABSTAIN)
    if not any(form in paragraph for form in forms):
        raise LabError(f"question {row['id']}: its answer does not stand in its paragraph: correct it or leave it out")
    proof, others = Evidence(title, forms[0], paragraph, "", "", ""), tuple(forms[1:])
    return Item(str(row["id"]), "in the documents", row["question"], forms[0], forms[0], (), (proof,), others)


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
    halves = order[: len(items) // 2], order[len(items) // 2 :]
    train, test = ([items[i] for i in sorted(half)] for half in halves)
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
    """Exact match and F1 of a prediction against the best of its gold answers, as the official scripts have them
    (Rajpurkar et al., EMNLP 2016 and ACL 2018); no gold answer means that it should be empty.

    >>> em_f1("the Normans", ["Normans", "Norman people"])
    (1.0, 1.0)
    """
    # As the official script of 2.0 has it: a gold answer that normalises to nothing counts as none.
    golds = [gold for gold in golds if normalise(gold)] or [""]
    return max(float(normalise(text) == normalise(gold)) for gold in golds), max(f1(text, gold) for gold in golds)


def compare_squad(lab: OwnLab) -> Comparison:
    """The comparison of the four arms on a SQuAD file, with exact match and F1 beside its own metrics."""
    comparison = compare_own(lab)
    golds = {item.id: [item.gold, *item.accepted] if item.gold else [] for item in lab.questions}
    scores = [em_f1(prediction(row.text), golds[row.id]) for row in comparison.answers.itertuples()]
    answers = comparison.answers.assign(exact_match=[em for em, _ in scores], f1=[f for _, f in scores])
    arms = {name: dict(values) for name, values in comparison.result["arms"].items()}
    for name, metric in ((name, metric) for name in arms for metric in ("exact_match", "f1")):
        by_seed = answers[answers.arm == name].pivot(index="id", columns="seed", values=metric)
        arms[name][metric] = asdict(bootstrap_mean(by_seed.to_numpy(float)))
    return replace(comparison, result={**comparison.result, "experiment": "squad", "arms": arms}, answers=answers)
