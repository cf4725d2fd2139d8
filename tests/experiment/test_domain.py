"""Open values: points with exact ends, and draws that follow the scale."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tuner.errors import Problem
from tuner.experiment.domain import Choice, Range, parse_range, same

SCALES = ["linear", "log", "reverse_log"]


@pytest.mark.parametrize(
    ("domain", "points"),
    [
        (Range(0, 0.3, step=0.1), [0.0, 0.1, 0.2, 0.3]),
        (Range(0.1, 0.7, count=7), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        (Range(0, 1, step=0.3), [0.0, 0.3, 0.6, 0.9, 1.0]),
        (Range(0, 0.1, step=0.5), [0.0, 0.1]),
        (Range(1e-4, 1e-1, "log", count=4), [1e-4, 1e-3, 1e-2, 1e-1]),
        (Range(0.9, 0.999, "reverse_log", count=3), [0.9, 0.99, 0.999]),
        (Range(0, 0.99999, "reverse_log", count=6), [0, 0.9, 0.99, 0.999, 0.9999, 0.99999]),
        (Range(8, 128, "log", count=5, integer=True), [8, 16, 32, 64, 128]),
        (Range(1, 4, "log", count=9, integer=True), [1, 2, 3, 4]),
        (Range(1, 10, count=4, integer=True), [1, 4, 7, 10]),
        (Range(20, 60, step=12, integer=True), [20, 32, 44, 56, 60]),
        (Range(3, 6, integer=True), [3, 4, 5, 6]),
    ],
)
def test_points_are_exactly_these(domain: Range, points: list[float]) -> None:
    assert list(domain.points()) == points
    assert {type(point) for point in domain.points()} == {int if domain.integer else float}


ENDS = st.floats(1e-6, 0.999).map(lambda x: float(f"{x:.6g}"))


@given(st.sampled_from(SCALES), ENDS, ENDS, st.integers(2, 40))
def test_both_ends_are_points_exactly_and_points_rise(
    scale: str, one: float, other: float, count: int
) -> None:
    low, high = sorted((one, other))
    if low == high:
        return
    points = list(Range(low, high, scale, count=count).points())
    assert (points[0], points[-1]) == (low, high)
    assert points == sorted(set(points))
    assert len(points) <= count


@given(st.integers(-50, 50), st.integers(1, 200), st.integers(1, 60))
def test_integer_steps_keep_both_ends(low: int, span: int, step: int) -> None:
    points = list(Range(low, low + span, step=step, integer=True).points())
    assert (points[0], points[-1]) == (low, low + span)
    assert all(b - a == step for a, b in itertools.pairwise(points[:-1]))
    assert 0 < points[-1] - points[-2] <= step


def test_a_continuum_has_no_points() -> None:
    assert not Range(0, 1.0).is_finite
    assert not Range(1, 8, "log", integer=True).is_finite
    with pytest.raises(ValueError, match="no points"):
        Range(0, 1.0).points()


@pytest.mark.parametrize(
    ("domain", "uniform"),
    [
        (Range(0, 0.5), lambda x: x / 0.5),
        (Range(1e-5, 1e-1, "log"), lambda x: math.log(x / 1e-5) / math.log(1e4)),
        (
            Range(0.9, 0.9999, "reverse_log"),
            lambda x: math.log((1 - x) / 0.1) / math.log(1e-4 / 0.1),
        ),
    ],
)
def test_draws_are_even_on_their_scale(domain: Range, uniform: object) -> None:
    rng = random.Random(0)
    drawn = [uniform(domain.sample(rng.random())) for _ in range(4000)]  # type: ignore[operator]
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


def test_log_draws_of_integers_follow_the_scale_and_reach_both_ends() -> None:
    domain = Range(1, 8, "log", integer=True)
    rng = random.Random(1)
    drawn = [domain.sample(rng.random()) for _ in range(8000)]
    share = [math.log((k + 0.5) / (k - 0.5)) / math.log(8.5 / 0.5) for k in range(1, 9)]
    counts = [drawn.count(k) for k in range(1, 9)]
    assert stats.chisquare(counts, [8000 * s for s in share]).pvalue > 1e-3


@given(st.sampled_from(SCALES), ENDS, ENDS, st.floats(0, 1, exclude_max=True))
def test_draws_stay_inside(scale: str, one: float, other: float, u: float) -> None:
    low, high = sorted((one, other))
    if low == high:
        return
    domain = Range(low, high, scale)
    assert low <= domain.sample(u) <= high
    assert domain.contains(domain.sample(u))


def test_draws_of_points_are_points_and_all_of_them() -> None:
    for domain in (Choice(("a", None, 3)), Range(0, 1.0, count=5), Range(2, 9, integer=True)):
        rng = random.Random(2)
        drawn = [domain.sample(rng.random()) for _ in range(400)]
        assert all(any(same(x, point) for point in domain.points()) for x in drawn)
        assert all(any(same(x, point) for x in drawn) for point in domain.points())


def test_one_is_one_point_zero_but_not_true() -> None:
    assert same(1, 1.0)
    assert not same(1, True)
    assert not Choice((1, 2)).contains(True)
    assert not same([1, 2], [1, True])
    assert not Range(0, 3, integer=True).contains(1.0)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"min": 2, "max": 1}, "min is above max"),
        ({"min": 2, "max": 2}, "min equals max"),
        ({"min": 2}, "has no max"),
        ({"max": 2}, "has no min"),
        ({"min": "a", "max": 2}, "min is no number"),
        ({"min": True, "max": 2}, "min is no number"),
        ({"min": 0, "max": 1, "scale": "log"}, "reaches 0"),
        ({"min": 0, "max": 1, "scale": "reverse_log"}, "reaches 1"),
        ({"min": 0, "max": 1, "scale": "lin"}, "unknown scale"),
        ({"min": 0, "max": 1, "count": 1}, "count is too small"),
        ({"min": 0, "max": 1, "count": 2.5}, "count is too small"),
        ({"min": 0, "max": 1, "count": True}, "count is too small"),
        ({"min": 0, "max": 1, "count": None}, "count is too small"),
        ({"min": 0, "max": 1, "count": 10**9}, "count is too large"),
        ({"min": 0, "max": 1, "step": 0}, "step is not above 0"),
        ({"min": 0, "max": 1, "step": 1e-9}, "has 1,000,000,001 points"),
        ({"min": 0, "max": 1, "step": 0.1, "count": 3}, "both count and step"),
        ({"min": 1, "max": 2, "step": 0.1, "scale": "log"}, "step with scale: log"),
        ({"min": 1, "max": 2, "cuont": 3}, "unknown key cuont"),
    ],
)
def test_a_range_that_cannot_be_is_named(node: dict[str, object], words: str) -> None:
    problem = parse_range(node, None)
    assert isinstance(problem, Problem)
    assert words in problem.what


def test_whole_ends_make_integers_unless_the_field_holds_floats() -> None:
    node = {"min": 0, "max": 4, "step": 1}
    assert list(parse_range(node, None).points()) == [0, 1, 2, 3, 4]  # type: ignore[union-attr]
    floats = parse_range(node, False).points()  # type: ignore[union-attr]
    assert [repr(x) for x in floats] == ["0.0", "1.0", "2.0", "3.0", "4.0"]
