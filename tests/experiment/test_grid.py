"""Counting and numbering a masked product agrees with listing it."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tuner.experiment.grid import Grid, Mask


@st.composite
def grids(draw: st.DrawFn) -> tuple[Grid, list[tuple[int, ...]]]:
    sizes = tuple(draw(st.lists(st.integers(1, 3), max_size=4)))
    axes = list(range(len(sizes)))
    groups: dict[int, list[int]] = {}
    for axis in axes:
        groups.setdefault(draw(st.integers(0, 3)), []).append(axis)
    masks = []
    for group, members in groups.items():
        if group:
            shape = tuple(sizes[axis] for axis in members)
            bits = draw(st.lists(st.booleans(), min_size=(n := int(np.prod(shape))), max_size=n))
            masks.append(Mask(tuple(members), np.array(bits, dtype=bool).reshape(shape)))
    listed = [
        point
        for point in itertools.product(*map(range, sizes))
        if all(mask.count(tuple(point[a] for a in mask.axes)) for mask in masks)
    ]
    return Grid(sizes, tuple(masks)), listed


@given(grids())
def test_size_points_and_ranks_are_those_of_the_list(case: tuple[Grid, list]) -> None:
    grid, listed = case
    assert grid.size == len(listed)
    assert [grid.at(rank) for rank in range(grid.size)] == listed
    assert [grid.rank(point) for point in listed] == list(range(len(listed)))


@given(grids())
def test_excluded_points_have_no_rank_and_prefixes_count_what_lies_below(
    case: tuple[Grid, list],
) -> None:
    grid, listed = case
    for point in itertools.product(*map(range, grid.sizes)):
        assert (grid.rank(point) is None) == (point not in listed)
        for length in range(len(point) + 1):
            below = sum(other[:length] == point[:length] for other in listed)
            assert grid.below(point[:length]) == below


def test_a_grid_beyond_machine_integers_is_exact() -> None:
    grid = Grid((10**9, 10**9, 10**9))
    last = (10**9 - 1,) * 3
    assert grid.at(10**27 - 1) == last
    assert grid.rank(last) == 10**27 - 1
