"""The figures of docs/claims.md: what is drawn, and that every picture of the page is there."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.svg import Axis, Line, Panel, Point, figure, heat_map

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "claims.md"
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_a_logarithmic_axis_puts_equal_ratios_at_equal_distances() -> None:
    line = Line("", [Point(x, 1.0) for x in (1e-4, 1e-2, 1.0)])
    svg = figure([Panel("", Axis("rate", is_log=True), Axis("y"), [line])], "three points")
    places = [float(c.get("cx", "nan")) for c in ElementTree.fromstring(svg).iter(f"{SVG}circle")]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)
    assert {"1e-4", "0.01", "1"} <= {*texts(svg)}


def test_intervals_are_drawn_and_a_value_that_is_no_number_is_not() -> None:
    points = [Point(0, 0.5, 0.4, 0.6), Point(1, math.nan), Point(2, 0.7)]
    panel = Panel("", Axis("x"), Axis("y"), [Line("a & b", points), Line("other", points, 1)])
    root = ElementTree.fromstring(figure([panel], "two lines"))
    assert len([*root.iter(f"{SVG}circle")]) == 4
    assert "a & b" in {e.text for e in root.iter(f"{SVG}text")}


def test_a_heat_map_leaves_cells_without_a_weight_empty() -> None:
    svg = heat_map("block", ["input", "layer 1"], ["layer 1", "layer 2"], [[1, 0.5], [math.nan, 1]])
    assert len([*ElementTree.fromstring(svg).iter(f"{SVG}rect")]) == 1 + 3
    assert ".50" in texts(svg)


def test_every_picture_table_and_experiment_of_the_page_is_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", page) if "://" not in link]
    named = [f"../{path}" for path in re.findall(r"experiments/[\w-]+\.yaml", page)]
    assert [path for path in (*links, *named) if not (PAGE.parent / path).exists()] == []
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", page)
    assert len(shown) >= 5
    for path in shown:
        ElementTree.fromstring((PAGE.parent / path).read_text(encoding="utf-8"))
