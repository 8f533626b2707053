"""Intervals and p-values, against scipy and statsmodels."""

import gc

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from labkit import LabError, metrics, stats


def ends(interval):
    return interval.low, interval.high


@pytest.mark.reference
def test_mean_interval_equals_scipy():
    values = np.random.default_rng(1).normal(3, 2, 120)
    ours = stats.bootstrap_mean(values, seed=1)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=2)
    assert ours.mean == pytest.approx(values.mean(), abs=1e-12)
    assert ends(ours) == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


@pytest.mark.reference
def test_paired_interval_equals_scipy():
    rng = np.random.default_rng(3)
    a, b = rng.random(200) < 0.7, rng.random(200) < 0.5
    ours = stats.paired_bootstrap(a, b, seed=4)
    theirs = scipy.stats.bootstrap(
        (a.astype(float), b.astype(float)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        paired=True,
        method="percentile",
        n_resamples=10_000,
        rng=5,
    )
    assert ours.diff == pytest.approx(a.mean() - b.mean(), abs=1e-12)
    assert ends(ours) == pytest.approx(tuple(theirs.confidence_interval), abs=0.011)


@pytest.mark.reference
@pytest.mark.parametrize("gap", [0.0, 0.05, 0.15, 0.3])
def test_p_value_is_near_the_permutation_test(gap):
    rng = np.random.default_rng(6)
    b = rng.normal(0, 1, 150)
    a = b + gap + rng.normal(0, 1, 150)
    ours = stats.paired_bootstrap(a, b, seed=7)
    theirs = scipy.stats.permutation_test(
        (a, b),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        rng=8,
        vectorized=True,
    )
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.03)


@pytest.fixture(scope="module")
def frozen():
    """Leave all that lives by now out of garbage collection, which statsmodels asks for in every call."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.reference
@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@pytest.mark.usefixtures("frozen")
def test_holm_equals_statsmodels(pvalues):
    assert stats.holm(pvalues) == pytest.approx(multipletests(pvalues, method="holm")[1], abs=1e-12)


@pytest.mark.reference
def test_the_difference_of_two_groups_equals_scipy():
    rng = np.random.default_rng(9)
    a, b = rng.random(90) < 0.6, rng.random(60) < 0.4
    made = stats.unpaired_bootstrap(a, b)
    theirs = scipy.stats.bootstrap(
        (a, b), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), method="percentile", rng=1
    ).confidence_interval
    assert made.mean == pytest.approx(a.mean() - b.mean())
    assert (made.low, made.high) == pytest.approx(tuple(theirs), abs=0.02)


@pytest.mark.reference
def test_interval_of_an_f1_equals_scipy():
    rng = np.random.default_rng(10)
    true = rng.random(150) < 0.2
    said = true ^ (rng.random(150) < 0.1)

    def score(items):
        return metrics.f1_abstention(said[items], true[items])

    ours = stats.bootstrap(score, 150, seed=11)
    theirs = scipy.stats.bootstrap(
        (said, true),
        lambda x, y, axis: metrics.f1_abstention(x, y),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=12,
    )
    assert ours.mean == pytest.approx(metrics.f1_abstention(said, true))
    assert ends(ours) == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(13)
    samples = rng.random((300, 100)) < 0.6
    found = [stats.bootstrap_mean(sample, seed=n, n=1000) for n, sample in enumerate(samples)]
    assert 0.91 <= np.mean([one.low <= 0.6 <= one.high for one in found]) <= 0.98


def test_seeds_are_averaged_per_question_first():
    scores = np.random.default_rng(14).random((50, 3))
    assert stats.bootstrap_mean(scores, seed=1) == stats.bootstrap_mean(scores.mean(axis=1), seed=1)
    assert stats.paired_bootstrap(scores, scores[:, :1]) == stats.paired_bootstrap(scores.mean(1), scores[:, 0])


def test_same_seed_same_interval_and_another_seed_another():
    values = np.random.default_rng(15).random(40)
    assert stats.bootstrap_mean(values, seed=1) == stats.bootstrap_mean(values, seed=1)
    assert stats.bootstrap_mean(values, seed=1) != stats.bootstrap_mean(values, seed=2)


def test_many_items_are_resampled_in_batches():
    values = np.random.default_rng(16).random(30_000)
    one = stats.bootstrap_mean(values, n=200)
    assert one.low < values.mean() < one.high and one.high - one.low < 0.01


def test_equal_arms_do_not_differ_and_a_clear_gap_does():
    same = stats.paired_bootstrap([1, 0, 1], [1, 0, 1])
    assert (same.diff, same.p) == (0, 1) and same.low == -same.high < 0
    assert stats.paired_bootstrap(np.ones(30), np.zeros(30)).p < 0.001


@pytest.mark.parametrize("n", [1, 8, 150])
def test_where_nothing_varies_the_interval_is_the_exact_one(n):
    from scipy.stats import binomtest

    exact = binomtest(n, n).proportion_ci(0.95)
    found = stats.bootstrap_mean(np.ones(n))
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert stats.bootstrap_mean(np.zeros(n)).high == pytest.approx(1 - exact.low)
    assert stats.unpaired_bootstrap(np.ones(n), np.ones(500)).low < -1 + exact.low + 1e-9
    milliseconds = stats.paired_bootstrap(np.full(n, 20.0), np.full(n, 19.5))
    assert (milliseconds.low, milliseconds.high) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [0.1, float("nan")], [[[1.0]]], 3.0])
def test_what_cannot_be_resampled_is_refused(values):
    with pytest.raises(LabError):
        stats.bootstrap_mean(values)


def test_arms_with_other_questions_are_not_paired():
    with pytest.raises(LabError, match="2 and 3"):
        stats.paired_bootstrap([1, 0], [1, 0, 1])
    with pytest.raises(LabError, match="nothing"):
        stats.bootstrap(lambda items: items.mean(-1), 0)


def drawn(n_items: int, seed: int = 0, n: int = 10_000) -> np.ndarray:
    """The items of each resample, as every function here draws them if it is told nothing else."""
    return np.random.default_rng(seed).integers(n_items, size=(n, n_items))


def ends_of(draws: np.ndarray, level: float = 0.95) -> list[float]:
    return pytest.approx(np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]).tolist(), abs=1e-12)


def test_without_further_word_ten_thousand_resamples_are_drawn_from_seed_zero_at_95_percent():
    a, b = np.random.default_rng(17).random((2, 30))
    items, both = drawn(30), drawn(50)
    assert list(ends(stats.bootstrap_mean(a))) == ends_of(a[items].mean(-1))
    assert list(ends(stats.bootstrap(lambda i: a[i].max(-1), 30))) == ends_of(a[items].max(-1))
    assert list(ends(stats.paired_bootstrap(a, b))) == ends_of((a - b)[items].mean(-1))
    assert list(ends(stats.bootstrap_difference(lambda i: a[i].mean(-1), 30))) == ends_of(a[items].mean(-1))
    assert list(ends(stats.paired_ratio(a, b))) == ends_of(a[items].sum(-1) / b[items].sum(-1))
    pool, first = np.concatenate([a, b[:20]])[both], both < 30
    gaps = (pool * first).sum(-1) / first.sum(-1) - (pool * ~first).sum(-1) / (~first).sum(-1)
    assert list(ends(stats.unpaired_bootstrap(a, b[:20]))) == ends_of(gaps)


@pytest.mark.parametrize(
    "interval",
    [
        lambda a, b, **asked: stats.bootstrap_mean(a, **asked),
        lambda a, b, **asked: stats.bootstrap(lambda i: a[i].mean(-1), len(a), **asked),
        lambda a, b, **asked: stats.bootstrap_difference(lambda i: (a - b)[i].mean(-1), len(a), **asked),
        stats.paired_bootstrap,
        stats.paired_ratio,
    ],
)
def test_seed_and_number_are_what_was_asked(interval):
    a, b = np.random.default_rng(18).random((2, 25)) + 0.5
    whole = interval(a, b)
    assert interval(a, b, seed=0, n=10_000) == whole
    assert interval(a, b, seed=1) != whole and interval(a, b, n=500) != whole


def test_the_level_is_what_was_asked():
    a = np.random.default_rng(18).random(25)
    whole, narrow = (stats.bootstrap(lambda i: a[i].mean(-1), len(a), level=level) for level in (0.95, 0.5))
    assert whole.low < narrow.low < narrow.high < whole.high


def test_a_ratio_is_of_sums_over_questions_whose_seeds_are_averaged():
    made = stats.paired_ratio([[1, 3], [4, 4]], [1, 2])
    assert made.mean == 2 and made == stats.paired_ratio([2, 4], [1, 2])


def test_a_resample_without_one_of_two_groups_counts_zero_for_it():
    made = stats.unpaired_bootstrap([0.5], [0.25])  # resampled: both, twice the first, twice the second
    assert (made.mean, made.low, made.high) == (0.25, -0.25, 0.5)


def test_the_p_value_counts_resamples_beside_zero_and_those_at_zero_on_both_sides():
    values = np.array([-1.0, 0.0, 1.0, 2.0])
    draws = values[drawn(4, n=99)].mean(-1)
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    assert (draws == 0).sum() > 0 and 0 < tail < 99
    found = stats.bootstrap_difference(lambda i: values[i].mean(-1), 4, n=99)
    assert found.p == pytest.approx(2 * (tail + 1) / 100)
    assert stats.paired_bootstrap(np.ones(3), np.zeros(3), n=99).p == pytest.approx(0.02)


def test_resampling_in_batches_draws_what_one_batch_would():
    values = np.random.default_rng(19).random(30_000)
    assert list(ends(stats.bootstrap_mean(values, n=100))) == ends_of(values[drawn(30_000, n=100)].mean(-1))
    many = stats.bootstrap(lambda i: i[:, 0] * 0.0 + len(i), 2_000_001, n=2)
    assert (many.low, many.high) == (1, 1)  # more items than a batch holds: one resample at a time


@pytest.mark.reference
@pytest.mark.parametrize("wins, losses", [(4, 0), (5, 1), (9, 2), (30, 12), (0, 0)])
def test_flipped_signs_of_right_and_wrong_are_mcnemars_exact_test(wins, losses):
    gaps = [1] * wins + [-1] * losses + [0] * 20
    theirs = scipy.stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    room = 0 if wins + losses <= 13 else 0.01  # beyond, signs are drawn
    assert stats.sign_flip(gaps) == pytest.approx(theirs, abs=room + 1e-9)


def test_flipped_signs_take_averages_over_seeds_and_raise_few_false_alarms():
    assert stats.sign_flip([1, 0]) == 1 and stats.sign_flip([1, 1, 0]) == 0.5
    assert stats.sign_flip([[1, 0, 1], [1, 1, 0], [0, 1, 1]]) == 0.25 == stats.sign_flip([0.1, 0.1, 0.1])
    rng, false = np.random.default_rng(5), {}
    for n in (8, 30, 150):
        draws = rng.choice([-1, 0, 1], p=[0.15, 0.7, 0.15], size=(400, n))
        false[n] = np.mean([stats.sign_flip(gaps, n=999) < 0.05 for gaps in draws])
    assert max(false.values()) <= 0.075, false  # 0.05, and two standard errors of 400 trials


def test_what_is_detectable_is_detected_four_times_in_five():
    rng, found = np.random.default_rng(6), []
    for _ in range(300):
        gaps = rng.choice([-1, 0, 1], p=[0.1, 0.7 - 0.1, 0.3], size=120)
        found.append(abs(stats.detectable(gaps)))
    shift = float(np.mean(found))
    power = np.mean([stats.sign_flip(rng.choice([-1, 0, 1], p=[0.2 - shift / 2, 0.6, 0.2 + shift / 2], size=120), n=999) < 0.05
                     for _ in range(300)])  # fmt: skip
    assert 0.72 < power < 0.88, (shift, power)
