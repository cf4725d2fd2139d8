from __future__ import annotations

import math

from tuner.report.curves import panel, sparkline


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 10) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, 2, 3], 2) == "▁█"
    assert sparkline([2, 2], 5) == "▄▄"
    assert sparkline([], 5) == ""


def test_values_that_are_not_finite_are_marked() -> None:
    assert sparkline([0, math.nan, 1, math.inf], 9) == "▁·█·"
    assert sparkline([math.nan], 9) == "·"


def test_a_panel_is_as_wide_as_asked_and_names_its_bounds() -> None:
    lines = panel("loss 4 → 1", [4, 2, 1], width=30, height=4)
    assert {len(line) for line in lines} == {30}
    assert lines[1].startswith("4 ┤")
    assert lines[-1].startswith("1 ┤")
