"""The comparison of lesson 12 on your documents, your questions and your model. Introduced in 21_own_data."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.compare.experiment import Comparison, run_compare
from labkit.data import data_folder
from labkit.errors import LabError
from labkit.lab import Lab, spread
from labkit.practice.own_data_endpoint import endpoint
from labkit.practice.own_data_questions import Questions, load
from labkit.profile import ROOT, resolve
from labkit.rag.ingest import Ingested, ingest

if TYPE_CHECKING:
    import pandas as pd

    from labkit.data import Item


class OwnLab(Lab):
    """A lab over a folder of your documents and a file of your questions; all else is as in every lesson.

    Introduced in 21_own_data.
    """

    corpus = "your documents"
    folder: Path
    file: Path
    within: float | None = None
    most: int | None = None

    def describe(self) -> dict[str, str]:
        """As every lab's, with what it reads."""
        served = {"base and rag answered by": str(self.generator)} if self.generator else {}
        return {**super().describe(), **served, "documents": self.folder.name, "questions from": self.file.name}

    @cached_property
    def original(self) -> Ingested:
        """Your documents."""
        found = ingest(self.folder, progress=self.progress)
        if not found.documents:
            first = found.rejected[0]
            raise LabError(f"no document in {self.folder.name} can be read, the first is {first.id}: {first.detail}")
        return found

    @property
    def ingested(self) -> Ingested:
        """Your documents: there is one version of them."""
        return self.original

    @cached_property
    def asked(self) -> Questions:
        """Your questions, checked against the documents and parted."""
        return load(self.file, self.documents, self.within)

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
        """The answers with the columns style and joint by your replies: both 0 where there are none."""
        style = self.asked.style
        kept = [int(style is not None and not style.faults(text)) for text in answers.text]
        return answers.assign(style=kept, joint=answers.correct * kept)

    def dress(self, text: str) -> str:
        """A reply in the style of your replies, or as it is where there are none."""
        return self.asked.style.dress(text) if self.asked.style else text


def open_own(
    profile: str, documents: Path | str, questions: Path | str, size: str = "full", within: float | None = None,
    fresh: bool = False, generator: str = "", progress: bool = True, most: int | None = None,
) -> OwnLab:  # fmt: skip
    """A lab on your documents and questions; a relative path lies in the project.

    `within` is the half-width that you want of an interval on a share; `generator` the URL of a server that answers for the
    untuned arms, URL#model for one of its models. Raises LabError for what cannot be compared: an unknown profile, no
    documents, faults in the file of questions, too few of them. Introduced in 21_own_data.

    >>> lab = open_own("pocket", "data/prose/documents", "data/prose/questions.csv", size="smoke")
    >>> lab.asked.notes
    """
    lab = OwnLab(resolve(profile), size, fresh, progress)
    lab.folder, lab.file, lab.within = ROOT / documents, ROOT / questions, within
    lab.generator, lab.most = endpoint(generator), most
    return lab


def open_prose(profile: str, size: str = "full", fresh: bool = False, progress: bool = True) -> OwnLab:
    """A lab on `data/prose`: real facts in our own sentences, with as many test questions as it has."""
    prose = data_folder() / "prose"
    lab = open_own(profile, prose / "documents", prose / "questions.csv", size, fresh=fresh, progress=progress)
    lab.corpus = "articles about the real world"
    return lab


def compare_own(lab: OwnLab) -> Comparison:
    """Lesson 12's comparison on your lab, with a recommendation in the result.

    The recommendation begins with what limits the arms that read, and ends with what an answer costs and which questions fail, and why.
    Introduced in 21_own_data.

    >>> compare_own(lab).result["recommendation"]
    """
    from labkit.compare.decide import Needs, advise, diagnose, failures, in_front, price, recommend

    made = run_compare(lab)
    needs = Needs(changed=0, unknown=lab.unknown, right=1, style=float(lab.asked.style is not None))
    advised = in_front(*advise(made.answers, needs))[0]
    arms = made.result["arms"]
    shown = max(arms, key=lambda arm: arms[arm]["accuracy"]["mean"]) if advised == "base" else advised
    trained = {a["name"].partition(",")[0]: a["seconds"] for a in made.artifacts if not a["shipped"]}
    advice = [
        *diagnose(made.answers),
        *recommend(made.answers, needs),
        price(arms, shown, trained),
        *failures(made.answers, shown),
        *_cautions(lab),
    ]
    about = {"experiment": "own_data", "notes": lab.asked.notes, "recommendation": advice}
    return replace(made, result=made.result | about)


def _cautions(lab: OwnLab) -> list[str]:
    """What to keep in mind: rows that were left out, and two models where two answer."""
    lost = [note for note in lab.asked.notes if note.startswith("left out: ")]
    told = [f"Of your questions {len(lost)} were left out, the first {lost[0].partition(': ')[2]}."] if lost else []
    taught, asked = {item.gold for item in lab.tuned_pairs}, [item.gold for item in lab.questions if item.gold]
    if share := sum(gold in taught for gold in asked) / max(1, len(asked)):
        told.append(
            f"{share:.0%} of the answers asked for stand in the training rows, under other questions: what the tuned arm "
            "knows, it was told there, and it will know nothing else."
        )
    if lab.generator is not None:
        two = f"base and rag were answered by {lab.generator}, tuned and hybrid by {lab.profile.name}"
        told.append(f"Two models: {two}; what lies between them is due to the model as well as to the method.")
    return told
