"""What an arm is worth to a job: its metrics weighed, with intervals, and what other weights would say.

Introduced in 16_use_cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labkit.errors import LabError
from labkit.stats import Difference, Floats, Interval, Statistic, bootstrap, bootstrap_difference


@dataclass(frozen=True)
class Reversal:
    """Where another arm takes the lead: once `metric` weighs `at` of the whole (stated: `stated`), the rest in proportion."""

    metric: str
    stated: float
    at: float
    leader: str
    rival: str


class Utility:
    """The weighed mean of some metrics for each arm, over questions that all arms answered.

    `values` holds an array of shape (metrics, questions) for each arm, NaN where a metric does not apply to a question;
    only the ratios of `weights` count. Raises LabError for arms that were measured on different questions, and for
    weights that are negative or all zero. Keeney & Raiffa, Decisions with Multiple Objectives, 1976.

    >>> Utility({"rag": [[1, 0]], "base": [[0, 0]]}, {"content": 1}).of("rag").mean
    0.5
    """

    def __init__(self, values: Mapping[str, Sequence | Floats], weights: Mapping[str, float]) -> None:
        tables = {arm: np.asarray(table, float) for arm, table in values.items()}
        self.known = ~np.isnan(next(iter(tables.values())))
        if any(table.shape != self.known.shape or (np.isnan(table) == self.known).any() for table in tables.values()):
            raise LabError("the arms were measured on different questions: ask every arm the same ones")
        given = np.array(list(weights.values()), float)
        if (given < 0).any() or not given.sum():
            raise LabError("weights must not be negative, nor all zero: give each metric its share")
        self.tables = {arm: np.nan_to_num(table) for arm, table in tables.items()}
        self.metrics, self.weights = list(weights), given / given.sum()

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """Each metric's mean over the questions that it applies to, by arm; 0 where it applies to none."""
        found = {arm: table.sum(1) / np.maximum(self.known.sum(1), 1) for arm, table in self.tables.items()}
        return {arm: dict(zip(self.metrics, map(float, row), strict=True)) for arm, row in found.items()}

    def of(self, arm: str) -> Interval:
        """An arm's utility, from 0 to 1."""
        return bootstrap(self._statistic(self.tables[arm]), self.known.shape[1])

    def gap(self, a: str, b: str, level: float = 0.95) -> Difference:
        """How far arm `a` is above arm `b` on the same questions."""
        return bootstrap_difference(self._statistic(self.tables[a] - self.tables[b]), self.known.shape[1], level=level)

    @property
    def best(self) -> str:
        """The arm of the highest utility; of equals the first."""
        return max(self.tables, key=lambda arm: self._scores(self.weights)[list(self.tables).index(arm)])

    def lead(self, arm: str) -> Interval:
        """How far an arm is above the best of the others, below zero where it is not the best.

        The lower end is above zero only if the arm is told apart from each other one; the upper end is below zero only
        if some other arm beats it, which takes a stricter level because there are several to try (Bonferroni).
        """
        others = [other for other in self.tables if other != arm]
        plain = [self.gap(arm, other) for other in others]
        strict = [self.gap(arm, other, level=1 - 0.05 / len(others)) for other in others]
        return Interval(min(g.diff for g in plain), min(g.low for g in plain), min(g.high for g in strict))

    def shares(self, draws: int = 10_000, seed: int = 0) -> dict[str, float]:
        """In what share of all possible weights each arm leads: drawn evenly from the simplex, ties divided."""
        scores = self._scores(np.random.default_rng(seed).dirichlet(np.ones(len(self.metrics)), draws))
        led = scores > scores.max(0) - 1e-9
        return dict(zip(self.tables, map(float, (led / led.sum(0)).mean(1)), strict=True))

    def reversals(self, steps: int = 200) -> list[Reversal]:
        """For each metric the nearest weights above and below the stated one at which another arm leads."""
        arms, found, lead = list(self.tables), [], list(self.tables).index(self.best)
        for m, metric in enumerate(self.metrics):
            rest = np.where(np.arange(len(self.metrics)) == m, 0.0, self.weights)
            for end in (0.0, 1.0) if rest.sum() else ():
                path = np.linspace(self.weights[m], end, steps + 1)[:, None]
                scores = self._scores(path * np.eye(len(self.metrics))[m] + (1 - path) * rest / rest.sum())
                beaten = np.flatnonzero(scores.max(0) > scores[lead] + 1e-9)
                if beaten.size:
                    at, rival = beaten[0], arms[scores[:, beaten[0]].argmax()]
                    found.append(Reversal(metric, float(self.weights[m]), float(path[at, 0]), arms[lead], rival))
        return found

    def _scores(self, weights: Floats) -> Floats:
        """Utilities of shape (arms, ...) for weights of shape (..., metrics)."""
        table = np.array([list(row.values()) for row in self.means.values()])
        return table @ weights.T

    def _statistic(self, table: Floats) -> Statistic:
        """The weighed mean of a table's metrics for each row of question numbers."""

        def statistic(items: NDArray[np.int64]) -> Floats:
            drawn = np.zeros((len(items), table.shape[1]))
            np.add.at(drawn, (np.arange(len(items))[:, None], items), 1)
            return (drawn @ table.T / np.maximum(drawn @ self.known.T, 1e-9)) @ self.weights

        return statistic


def joined(utilities: Mapping[str, Utility]) -> Utility:
    """The mean utility over several jobs, each as important as the others, over all their questions.

    >>> joined({"a": utility, "b": utility}).best == utility.best
    True
    """
    arms = list(next(iter(utilities.values())).tables)
    shapes = [u.known.shape for u in utilities.values()]
    tables = {arm: np.full(np.sum(shapes, axis=0), np.nan) for arm in arms}
    row = column = 0
    for u, (rows, columns) in zip(utilities.values(), shapes, strict=True):
        for arm in arms:
            block = np.where(u.known, u.tables[arm], np.nan)
            tables[arm][row : row + rows, column : column + columns] = block
        row, column = row + rows, column + columns
    weights = {f"{job}.{m}": w for job, u in utilities.items() for m, w in zip(u.metrics, u.weights, strict=True)}
    return Utility(tables, weights)
