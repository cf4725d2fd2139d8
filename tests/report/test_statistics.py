"""Intervals and tests against scipy, against numbers by hand, and against what they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as some

from tuner.experiment.objective import Objective
from tuner.report import statistics
from tuner.report.statistics import (
    NORMAL_QUANTILE,
    Verdict,
    bca_interval,
    holm,
    judged,
    mean_interval,
    paired,
    paired_by_key,
    score_interval,
    sign_flip_p,
    split_p,
    t_quantile,
    unpaired,
    widened_quantile,
    wilson_interval,
)

VALUES = [0.512, 0.498, 0.530, 0.507, 0.521, 0.489, 0.540, 0.503]
finite = some.floats(-1e6, 1e6).map(lambda value: round(value, 6))


def normal(n: int, seed: int, mean: float = 0.0) -> list[float]:
    return np.random.default_rng(seed).normal(mean, 1, n).tolist()


def ends(interval) -> tuple[float, float]:
    return interval.low, interval.high


@pytest.fixture
def fewer_resamples(monkeypatch) -> None:
    """Thousands of intervals in a second; the sign-flip test stays exact."""
    monkeypatch.setattr(statistics, "RESAMPLES", 999)


# ---------------------------------------------------------------------- intervals


def test_the_mean_interval_is_students():
    # By hand: mean 2, s 1, t(2) = 4.302653, half = 4.302653 / √3 = 2.484138.
    interval = mean_interval([1, 2, 3])
    assert (interval.mean, interval.n) == (2, 3)
    assert interval.low == pytest.approx(2 - 2.484138, abs=1e-6)
    assert str(interval) == "2.0000 ± 2.4841"
    theirs = scipy.stats.t.interval(0.95, 7, np.mean(VALUES), scipy.stats.sem(VALUES))
    assert ends(mean_interval(VALUES)) == pytest.approx(theirs)


@pytest.mark.parametrize("degrees", [1, 1.37, 2, 5.5, 30, 1_998, 1e6])
def test_the_t_quantile_is_scipys(degrees):
    assert t_quantile(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), rel=1e-8)


def test_few_and_equal_values():
    for interval in (mean_interval([0.5]), bca_interval([0.5])):
        assert not interval.is_bounded
        assert not interval.excludes_zero
        assert (interval.mean, interval.n, str(interval)) == (0.5, 1, "0.5000")
    assert ends(bca_interval([1.0, 2.0])) == (1.0, 2.0)
    assert ends(bca_interval([0.1] * 5)) == pytest.approx((0.1, 0.1))
    assert mean_interval([0.25] * 5).low == 0.25
    assert not bca_interval([0.0] * 6).excludes_zero
    assert bca_interval([0.02 - 0.01, 0.02 - 0.03]).mean == 0


@pytest.mark.parametrize(("n", "seed"), [(8, 0), (8, 1), (20, 2), (20, 3)])
def test_the_bca_interval_is_scipys_and_always_the_same(n, seed):
    values = np.random.default_rng(seed).exponential(1, n)
    ours = bca_interval(values.tolist())
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=seed)
    tolerance = 0.03 * (ours.high - ours.low)
    assert ends(ours) == pytest.approx(ends(theirs.confidence_interval), abs=tolerance)
    assert bca_interval(values.tolist()) == ours


@given(some.lists(finite, min_size=2, max_size=7))
def test_a_bca_interval_lies_within_the_values(values):
    interval = bca_interval(values)
    slack = 1e-9 * (1 + max(map(abs, values)))
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack
    assert bca_interval([-value for value in values]).mean == pytest.approx(-interval.mean)


@pytest.mark.usefixtures("fewer_resamples")
def test_few_values_are_covered_as_often_as_promised():
    covered = {"plain": 0, "widened": 0}
    for seed in range(300):
        for name, quantile in (("plain", NORMAL_QUANTILE), ("widened", widened_quantile(6))):
            interval = bca_interval(normal(6, seed), quantile=quantile)
            covered[name] += interval.low <= 0 <= interval.high
    assert covered["plain"] < 0.91 * 300
    assert covered["widened"] > 0.92 * 300
    assert widened_quantile(10_000) == pytest.approx(NORMAL_QUANTILE, abs=1e-3)


@pytest.mark.parametrize(("correct", "n"), [(0, 40), (40, 40), (39, 40), (4768, 5000)])
def test_an_interval_of_a_share_is_wilsons(correct, n):
    theirs = scipy.stats.binomtest(correct, n).proportion_ci(method="wilson")
    assert wilson_interval(correct / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_equal_seeds_are_as_sure_as_their_images_allow():
    interval = score_interval([0.9536] * 3, "val_accuracy", 5000)
    assert ends(interval) == pytest.approx(wilson_interval(0.9536, 5000))
    assert str(interval) == "0.9536 [0.9474, 0.9591]"
    assert ends(score_interval([0.9536] * 3, "val_accuracy")) == pytest.approx((0.9536, 0.9536))


def test_both_errors_of_an_accuracy_add_up_as_independent_ones():
    seeds, images = mean_interval(VALUES), wilson_interval(float(np.mean(VALUES)), 1000)
    both = score_interval(VALUES, "val_accuracy", 1000)
    below = math.hypot(seeds.mean - seeds.low, seeds.mean - images[0])
    assert both.low == pytest.approx(both.mean - below)
    assert not score_interval([0.5], "val_accuracy", 1000).is_bounded


@pytest.mark.parametrize(
    ("scores", "metric", "bounds"),
    [
        ([0.99, 0.80], "val_accuracy", (0, 1)),
        ([0.01, 0.20], "test_top5_accuracy", (0, 1)),
        ([0.02, 0.9], "val_loss", (0, math.inf)),
    ],
)
def test_an_interval_stays_where_its_metric_can_be(scores, metric, bounds):
    interval = score_interval(scores, metric, 50)
    assert bounds[0] <= interval.low <= interval.mean <= interval.high <= bounds[1]
    assert mean_interval(scores).low < 0 or mean_interval(scores).high > bounds[1]


def test_welchs_interval_is_scipys():
    one, other = normal(9, 1, 0.6), [3 * value for value in normal(5, 2)]
    theirs = scipy.stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    assert ends(unpaired(one, other).interval) == pytest.approx((theirs.low, theirs.high))


# ---------------------------------------------------------------------- tests


def test_the_sign_flip_test_is_exact_by_hand():
    # Sums of ±1 ±2 ±4 are all odd numbers from -7 to 7; |7| is reached by two of eight.
    assert sign_flip_p([1, 2, 4]) == 2 / 8
    # -1 + 2 + 4 = 5: ±7 and ±5 are as far.
    assert sign_flip_p([-1, 2, 4]) == 4 / 8
    assert sign_flip_p([0.0, 0.0]) == sign_flip_p([3.0]) == 1
    for n, least in ((3, 0.25), (5, 0.0625), (6, 0.03125)):
        assert sign_flip_p([1.0] * n) == paired(range(1, n + 1), [0] * n).smallest_p == least


@pytest.mark.parametrize("n", [4, 7, 10])
def test_the_sign_flip_test_is_scipys(n):
    values = normal(n, n, 0.4)
    theirs = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_p(values) == pytest.approx(theirs.pvalue)


def test_many_pairs_are_estimated_close_to_the_exact_p(monkeypatch):
    values = normal(12, 3, 0.5)
    exact = sign_flip_p(values)
    monkeypatch.setattr(statistics, "_MAX_EXACT_SIGNS", 2)
    assert sign_flip_p(values) == pytest.approx(exact, abs=0.01)
    assert sign_flip_p([1.0] * 200) == 1 / 10_000


def test_the_split_test_counts_every_split():
    one, other = [1.0, 2.0, 6.0], [0.5, 1.5, 0.0, 3.0]
    centre = math.fsum([*one, *other]) / 7
    sums = [abs(sum(part) - 3 * centre) for part in itertools.combinations([*one, *other], 3)]
    expected = np.mean([total >= abs(sum(one) - 3 * centre) - 1e-9 for total in sums])
    assert split_p(one, other) == pytest.approx(expected)
    assert split_p(other, one) == pytest.approx(expected)


def test_the_split_test_of_equal_sizes_is_scipys(monkeypatch):
    one, other = normal(7, 1, 0.6), normal(7, 2)
    theirs = scipy.stats.permutation_test(
        (one, other), lambda a, b: np.mean(a) - np.mean(b), vectorized=False, n_resamples=np.inf
    )
    assert split_p(one, other) == pytest.approx(theirs.pvalue)
    monkeypatch.setattr(statistics, "_MAX_EXACT_SPLITS", 10)
    assert split_p(one, other) == pytest.approx(theirs.pvalue, abs=0.015)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(some.lists(some.floats(0, 1), max_size=6))
def test_holm_raises_every_p_and_keeps_their_order(ps):
    pairs = list(zip(ps, holm(ps), strict=True))
    assert all(p <= adjusted <= 1 for p, adjusted in pairs)
    for (p, adjusted), (q, other) in itertools.combinations(pairs, 2):
        assert p == q or (p < q) == (adjusted < other) or adjusted == other


# ---------------------------------------------------------------------- verdicts


def test_a_clear_difference_is_claimed_in_the_better_direction():
    one, other = [0.61, 0.63, 0.6, 0.62, 0.64, 0.6], [0.5, 0.51, 0.52, 0.5, 0.53, 0.51]
    assert paired(one, other).verdict is unpaired(one, other).verdict is Verdict.BETTER
    assert paired(other, one).verdict is Verdict.WORSE
    assert paired(one, other, objective=Objective(direction="min")).told() == "worse"


def test_few_seeds_decide_nothing_however_large_the_difference():
    for n in range(1, 6):
        assert paired(range(9, 9 + n), [0.0] * n).verdict is Verdict.UNDECIDABLE
    assert paired([9, 8, 7], [1, 1, 1]).told() == "not decidable with 3 seeds"
    assert paired([9], [1]).told() == "not decidable with 1 seed"
    assert unpaired([9, 9.1, 9.2], [1, 2, 3]).told("trial") == "not decidable with 3 trials"
    assert unpaired([9.0], normal(40, 0)).verdict is Verdict.UNDECIDABLE


def test_no_difference_at_all_is_noise():
    assert paired([0.5] * 6, [0.5] * 6).told() == "within noise"
    assert unpaired([0.5] * 6, [0.5] * 6).verdict is Verdict.NOISE


def test_comparisons_are_judged_together():
    clear, small = paired(range(1, 7), [0] * 6), paired([1, 2, 3], [0] * 3)
    assert clear.is_claim
    together = judged([clear, clear])
    # Six seeds give 1/32 at best; twice that is above 0.05.
    assert together[0].p_adjusted == pytest.approx(2 / 32)
    assert together[0].told() == "not decidable with 6 seeds in 2 comparisons"
    eight = judged([paired(range(1, 9), [0] * 8), paired(normal(8, 1), [0] * 8)])
    assert [difference.verdict for difference in eight] == [Verdict.BETTER, Verdict.NOISE]
    # What cannot decide costs the others nothing.
    told = [difference.told() for difference in judged([clear, small])]
    assert told == ["better", "not decidable with 3 seeds"]


def test_only_what_both_sides_have_is_paired_by_key():
    one, other = {1: 0.5, 2: 0.75, 3: 9.0}, {2: 0.5, 1: 0.25, 4: -9.0}
    assert paired_by_key(one, other, objective=Objective()) == paired([0.5, 0.75], [0.25, 0.5])
    assert paired_by_key(one, {4: 1.0}, objective=Objective()) is None


def test_pairs_say_the_same_in_whatever_order_they_come_and_whichever_side_is_first():
    generator = np.random.default_rng(3)
    one, other = generator.normal(size=(2, 12))
    told = paired(one, other)
    for order in (np.arange(12)[::-1], generator.permutation(12)):
        assert paired(one[order], other[order]) == told
    mirrored = paired(other, one).interval
    assert (-mirrored.high, -mirrored.low) == pytest.approx((told.interval.low, told.interval.high))


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_what_is_no_number_is_refused(values):
    for function in (mean_interval, bca_interval, sign_flip_p):
        with pytest.raises(ValueError, match="finite numbers"):
            function(values)
    with pytest.raises(ValueError, match="equal lengths, not 2 and 1"):
        paired([1, 2], [1])


# ---------------------------------------------------------------------- what is promised


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("n", [6, 8, 10])
def test_without_a_difference_at_most_one_in_twenty_is_claimed(n):
    generator = np.random.default_rng(n)
    claims = sum(
        paired(generator.normal(size=n), generator.normal(size=n)).is_claim for _ in range(1000)
    )
    assert claims <= 50


@pytest.mark.parametrize(("n", "m", "spread"), [(6, 6, 1.0), (5, 9, 1.0), (8, 8, 3.0)])
def test_unpaired_sides_without_a_difference_are_rarely_told_apart(n, m, spread):
    generator = np.random.default_rng(n)
    claims = sum(
        unpaired(generator.normal(size=n), generator.normal(0, spread, m)).is_claim
        for _ in range(300)
    )
    # One in twenty is 15; that a sample shows more than 23 has a chance of 1 in 50.
    assert claims <= 23


@pytest.mark.parametrize("scale", [1e-150, 1e-12, 1.0, 1e150])
def test_a_claim_does_not_depend_on_the_scale(scale):
    one, other = [scale * value for value in (6, 7, 6.5, 6.2, 7.1, 6.9)], [5 * scale] * 6
    for compared in (paired(one, other), unpaired(one, other)):
        assert compared.verdict is Verdict.BETTER
        assert compared.interval.low == pytest.approx(1.2 * scale, rel=0.5)


@pytest.mark.usefixtures("fewer_resamples")
def test_a_difference_of_two_standard_deviations_is_found_with_six_seeds():
    """Two standard deviations of the paired differences; a sign wrong in six loses the claim."""
    generator = np.random.default_rng(0)
    claims = sum(paired(generator.normal(2, 1, 6), [0] * 6).is_claim for _ in range(300))
    assert claims >= 0.8 * 300


@pytest.mark.usefixtures("fewer_resamples")
def test_three_equal_sides_are_rarely_told_apart():
    """Holm: any false claim among three pairs in at most one in twenty."""
    generator = np.random.default_rng(1)
    wrong = 0
    for _ in range(300):
        a, b, c = (generator.normal(size=8) for _ in range(3))
        pairs = judged([paired(a, b), paired(a, c), paired(b, c)])
        wrong += any(difference.is_claim for difference in pairs)
    assert wrong <= 15
