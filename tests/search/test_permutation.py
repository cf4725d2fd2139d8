"""A random order without a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tuner.search.permutation import Permutation


@given(st.integers(1, 3000), st.integers(0, 2**31 - 1))
def test_every_number_comes_exactly_once(size: int, seed: int) -> None:
    order = Permutation(size, seed)
    assert sorted(order[index] for index in range(size)) == list(range(size))


def test_seeds_give_different_orders() -> None:
    orders = {tuple(Permutation(20, seed)[i] for i in range(20)) for seed in range(200)}
    assert len(orders) == 200


@pytest.mark.parametrize("size", [2, 3, 5, 16, 17])
def test_each_place_holds_each_number_equally_often_over_seeds(size: int) -> None:
    for place in {0, size // 2, size - 1}:
        counts = [0] * size
        for seed in range(400 * size):
            counts[Permutation(size, seed)[place]] += 1
        assert stats.chisquare(counts).pvalue > 1e-4


def test_neighbours_are_not_kept_together() -> None:
    size = 10_000
    order = [Permutation(size, 7)[index] for index in range(size)]
    assert abs(stats.spearmanr(range(size), order).statistic) < 0.04
    assert abs(stats.spearmanr(order[:-1], order[1:]).statistic) < 0.04


def test_a_known_order_stays_what_it_is() -> None:
    """Raising max_trials of an old study must keep what was done."""
    assert [Permutation(10, 0)[index] for index in range(10)] == [3, 2, 4, 6, 7, 9, 0, 8, 1, 5]


def test_places_outside_have_no_number() -> None:
    for index in (-1, 10):
        with pytest.raises(IndexError):
            Permutation(10, 0)[index]
