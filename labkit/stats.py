"""Say how sure a number is: bootstrap intervals over questions, paired differences, many tests at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labkit.errors import LabError

Floats = NDArray[np.float64]
Statistic = Callable[[NDArray[np.int64]], ArrayLike]
"""Takes question numbers of shape (resamples, questions), returns one value per resample."""
ALPHA = 0.05
"""The p-value, adjusted for all comparisons made, below which two arms are told apart."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile bootstrap interval, in the values' own unit."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How far `a` is above `b`, with its interval and the two-sided p-value of no difference."""

    diff: float
    low: float
    high: float
    p: float

    @property
    def interval(self) -> Interval:
        """The difference without its p-value."""
        return Interval(self.diff, self.low, self.high)


def _draws(statistic: Statistic, n_items: int, seed: int, n: int) -> tuple[float, Floats]:
    """The statistic of all items, and of `n` resamples; the same seed resamples the same items."""
    if n_items < 1:
        raise LabError("there is nothing to resample: score at least one question")
    rng, batch = np.random.default_rng(seed), max(1, 2_000_000 // n_items)
    whole = np.asarray(statistic(np.arange(n_items)[None]), float)
    sizes = [min(batch, n - start) for start in range(0, n, batch)]
    parts = [np.asarray(statistic(rng.integers(n_items, size=(size, n_items))), float) for size in sizes]
    return float(whole[0]), np.concatenate(parts)


def _ends(draws: Floats, level: float = 0.95) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


SHARE, GAP = (0.0, 1.0), (-1.0, 1.0)
"""The least and the greatest value that one question can have: as a share, and as a difference of two shares."""


def widen(value: Interval, n_items: int, span: tuple[float, float], level: float = 0.95) -> Interval:
    """The interval of a statistic that is the same in every resample, as wide as questions not asked could make it.

    Eight right answers of eight do not prove that every answer is right, and no resample of them shows a wrong one. Each
    of `n_items` questions has a value within `span`. Other intervals come back as they are. Clopper & Pearson,
    Biometrika 1934.

    >>> round(widen(Interval(1.0, 1.0, 1.0), 8, SHARE).low, 2)
    0.63
    """
    if value.low < value.high or not n_items or not span[0] <= value.mean <= span[1]:
        return value
    unseen = 1 - ((1 - level) / 2) ** (1 / n_items)
    below, above = value.mean - span[0], span[1] - value.mean
    return Interval(value.mean, value.mean - unseen * below, value.mean + unseen * above)


def _per_question(values: ArrayLike) -> Floats:
    """One mean per question; rows are questions, a second axis holds seeds."""
    rows = np.asarray(values, float)
    if rows.ndim not in (1, 2) or not rows.size:
        raise LabError(f"scores of shape {rows.shape} cannot be resampled: give questions, or questions by seeds")
    if not np.isfinite(rows).all():
        raise LabError("some scores are missing or infinite: score every question, or leave it out of every arm")
    return rows if rows.ndim == 1 else rows.mean(axis=1)


def bootstrap(statistic: Statistic, n_items: int, seed: int = 0, n: int = 10_000, level: float = 0.95) -> Interval:
    """Percentile interval of any statistic, resampling items (questions) with replacement.

    `statistic` gets item numbers of shape (resamples, n_items) and returns one value per resample.
    Efron & Tibshirani, An Introduction to the Bootstrap, 1993. LabError without items.
    """
    whole, draws = _draws(statistic, n_items, seed, n)
    return Interval(whole, *_ends(draws, level))


def bootstrap_mean(values: ArrayLike, seed: int = 0, n: int = 10_000) -> Interval:
    """Mean with its percentile interval; `values` is (questions,) or (questions, seeds), averaged first.

    Values from 0 to 1 are taken as shares: four right of four leave room for others that are wrong (see `widen`).
    Raises LabError for no or non-finite values.

    >>> round(bootstrap_mean([1, 1, 1, 1]).low, 2)
    0.4
    """
    rows = _per_question(values)
    return widen(bootstrap(lambda items: rows[items].mean(axis=-1), len(rows), seed, n), len(rows), SHARE)


def bootstrap_difference(statistic: Statistic, n_items: int, seed: int = 0, n: int = 10_000) -> Difference:
    """95 % interval and p-value of a statistic that is itself a difference between two arms (for example of F1).

    p is twice the smaller share of resamples on the other side of zero, (count + 1) / (n + 1).
    """
    whole, draws = _draws(statistic, n_items, seed, n)
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    return Difference(whole, *_ends(draws), p=min(1.0, float(2 * (tail + 1) / (n + 1))))


def paired_bootstrap(a: ArrayLike, b: ArrayLike, seed: int = 0, n: int = 10_000) -> Difference:
    """Mean of a - b over the same questions, resampled as pairs; each is (questions,) or (questions, seeds).

    Raises LabError when the arms answered different numbers of questions.
    """
    first, second = _per_question(a), _per_question(b)
    if len(first) != len(second):
        raise LabError(f"{len(first)} and {len(second)} questions cannot be paired: ask both arms the same ones")
    gaps = first - second
    gap = bootstrap_difference(lambda items: gaps[items].mean(axis=-1), len(gaps), seed, n)
    if max(first.max(), second.max()) > 1 or min(first.min(), second.min()) < 0:
        return gap  # of no shares
    wide = widen(gap.interval, len(gaps), GAP)
    return Difference(gap.diff, wide.low, wide.high, gap.p)


def paired_ratio(a: ArrayLike, b: ArrayLike, seed: int = 0, n: int = 10_000) -> Interval:
    """Sum of a over sum of b over the same questions, resampled as pairs; each is (questions,) or (questions, seeds)."""
    first, second = _per_question(a), _per_question(b)
    return bootstrap(lambda items: first[items].sum(axis=-1) / second[items].sum(axis=-1), len(first), seed, n)


def unpaired_bootstrap(a: ArrayLike, b: ArrayLike) -> Interval:
    """Mean of a minus mean of b over different questions, all resampled together; shapes as in `paired_ratio`."""
    first, second = _per_question(a), _per_question(b)
    both, inside = np.concatenate([first, second]), np.arange(len(first) + len(second)) < len(first)

    def mean(of: NDArray[np.bool_], items: NDArray[np.int64]) -> Floats:
        """The mean of one of the two groups in each resample."""
        return (both * of)[items].sum(axis=-1) / np.maximum(of[items].sum(axis=-1), 1)

    gap = bootstrap(lambda items: mean(inside, items) - mean(~inside, items), len(both))
    return widen(gap, min(len(first), len(second)), GAP)


def sign_flip(gaps: ArrayLike, n: int = 10_000) -> float:
    """Two-sided p-value that paired differences, one a question, come from two arms that are alike: every sign could be the other.

    Every way of signs is tried where `n` suffices (by default up to thirteen questions that differ), which for answers that
    are right or wrong is McNemar's exact test; else `n` ways are drawn. Where a bootstrap of four wins and no loss says that
    an arm is ahead, this says 0.125. Raises LabError for no or non-finite values.

    >>> sign_flip([1, 1, 1, 1, 0, 0, 0])
    0.125
    """
    from scipy.stats import permutation_test

    apart = _per_question(gaps)
    if len(apart := apart[apart != 0]) < 2:
        return 1.0
    # Rounded: sums of the same numbers in another order differ in their last bit, and ties would be lost.
    total = lambda signed, axis: np.round(np.sum(signed, axis=axis), 9)  # noqa: E731
    options = {"permutation_type": "samples", "vectorized": True, "rng": np.random.default_rng(0)}
    return float(permutation_test((apart,), total, n_resamples=n, **options).pvalue)


def detectable(gaps: ArrayLike) -> float:
    """The least mean of paired differences that as many questions, scattered as these, would show with a power of 0.8.

    Normal approximation: (1.96 + 0.84) standard errors. Nothing scatters: 0.
    """
    rows = _per_question(gaps)
    return float((1.96 + 0.84) * rows.std() / np.sqrt(len(rows)))


def holm(pvalues: Sequence[float]) -> Floats:
    """P-values adjusted for many tests (Holm, Scandinavian Journal of Statistics, 1979), in the given order.

    >>> holm([0.01, 0.04]).tolist()
    [0.02, 0.04]
    """
    p = np.asarray(pvalues, float)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
