"""Say why an answer is wrong: the search missed the passage, the model misread it, or it should have declined.

Introduced in 06_augment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.errors import LabError

if TYPE_CHECKING:
    import pandas as pd

CAUSES = ("right", "model misread", "retrieval missed", "should have abstained")
SAID = ("right", "wrong", "declined")


def cause(answerable: bool, correct: bool, retrieved: float) -> str:
    """One of CAUSES for an answer; `retrieved` is the share of the facts needed that the passages held.

    A wrong answer to a question that no document answers should have been a refusal. Any other wrong answer, refusals
    among them, was misread where the passages held every fact, and else not found. Introduced in 06_augment.

    >>> cause(answerable=True, correct=False, retrieved=0.5)
    'retrieval missed'
    """
    if correct:
        return "right"
    if not answerable:
        return "should have abstained"
    return "model misread" if retrieved == 1 else "retrieval missed"


def attribute(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers with two columns more: `cause`, one of CAUSES, and `said`, one of SAID.

    `answers` has the columns answerable, correct, retrieved and abstained of `labkit.compare.score.score`. Raises
    LabError without them. Introduced in 06_augment.

    >>> attribute(comparison.answers).groupby("arm").cause.value_counts()
    """
    import pandas as pd

    needed = ["answerable", "correct", "retrieved", "abstained"]
    if lost := [name for name in needed if name not in answers]:
        raise LabError(f"answers without {', '.join(lost)} have no cause: score them with labkit.compare.score")
    rows = list(answers[needed].itertuples(index=False))
    said = ["right" if r.correct else "declined" if r.abstained else "wrong" for r in rows]
    return answers.assign(
        cause=pd.Categorical([cause(r.answerable, r.correct, r.retrieved) for r in rows], CAUSES),
        said=pd.Categorical(said, SAID),
    )


def causes(answers: pd.DataFrame, by: str = "arm") -> pd.DataFrame:
    """The share of each cause in each group: a row for each value of column `by`, a column for each of CAUSES.

    Introduced in 06_augment.

    >>> causes(comparison.answers, by="kind")
    """
    import pandas as pd

    told = attribute(answers)
    order = list(dict.fromkeys(answers[by]))
    return pd.crosstab(told[by], told.cause, normalize="index", dropna=False).reindex(order, columns=list(CAUSES))
