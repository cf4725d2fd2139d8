from __future__ import annotations

import math

from tuner.report.curves import bounds_of, chart, panel, sparkline


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 10) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, 2, 3], 2) == "▁█"
    assert sparkline([2, 2], 5) == "▄▄"
    assert sparkline([], 5) == ""


def test_values_that_are_not_finite_are_marked() -> None:
    assert sparkline([0, math.nan, 1, math.inf], 9) == "▁·█·"
    assert sparkline([math.nan], 9) == "·"


def test_a_rising_chart_goes_from_bottom_left_to_top_right() -> None:
    lines = chart([0, 1, 2, 3], width=2, height=1, low=0, high=3)
    assert lines == ["⡠⠊"]


def test_a_chart_has_its_size_and_gaps_for_nan() -> None:
    lines = chart([1, math.nan, 2], width=10, height=3, low=1, high=2)
    assert [len(line) for line in lines] == [10, 10, 10]
    assert sum(bin(ord(cell) - 0x2800).count("1") for line in lines for cell in line) == 2


def test_one_value_and_no_value_are_drawn() -> None:
    assert len(chart([1.0], width=4, height=2, low=0, high=2)) == 2
    assert chart([], width=2, height=1, low=0, high=1) == ["⠀⠀"]


def test_a_panel_is_as_wide_as_asked_and_names_its_bounds() -> None:
    lines = panel("loss 4 → 1", [4, 2, 1], width=30, height=4)
    assert {len(line) for line in lines} == {30}
    assert lines[1].startswith("4 ┤")
    assert lines[-1].startswith("1 ┤")


def test_bounds_are_never_equal() -> None:
    assert bounds_of([2.0], [2.0]) == (1.5, 2.5)
    assert bounds_of([math.nan]) == (0.0, 1.0)
    assert bounds_of([1, 5], [3]) == (1, 5)
