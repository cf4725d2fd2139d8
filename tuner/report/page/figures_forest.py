"""Differences with their intervals, one below the other, and what may be said of each."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.report import words
from tuner.report.comparing.compare import SideDifference
from tuner.report.page.contest import Contest, Contestant
from tuner.report.page.figure import Figure, Layout, Trace, title
from tuner.report.page.text import label, number, tick
from tuner.report.stats.statistics import Verdict

_ROW = 58


def forest_figure(contest: Contest) -> Figure | None:
    """A row for each side but the baseline: its difference, the interval, and the verdict.

    A filled point is a claim; a hollow one says that nothing may be claimed.
    """
    rows = [d for d in contest.found.differences if d.difference is not None]
    if not rows:
        return None
    rows.reverse()  # the first at the top
    better = "right" if contest.found.direction == "max" else "left"
    metric = label(contest.found.metric)
    layout: Layout = {
        "xaxis": {"title": title(f"difference in {metric}; {better} is better")},
        "yaxis": {**rows_axis([tick(one.side) for one in rows])},
        "shapes": [line_at(0.0)],
        "annotations": [_verdict(place, one) for place, one in enumerate(rows)],
        "hovermode": "closest",
    }
    by_name = {one.side.name: one for one in contest.contestants}
    traces = [_difference(place, one, by_name[one.side]) for place, one in enumerate(rows)]
    empty = len(contest.found.differences) - len(rows)
    return Figure(traces, layout, _note(rows, empty), 90 + _ROW * len(rows))


def _note(rows: Sequence[SideDifference], empty: int) -> str:
    found = [one.difference for one in rows if one.difference is not None]
    note = (
        "Points are differences of means with 95 % intervals. Filled: claimed, because interval "
        "and permutation test agree at 0.05; hollow: not claimed."
    )
    if len(found) > 1:
        note += f" p is Holm's over {found[0].num_comparisons} comparisons."
    if not all(one.interval.is_bounded for one in found):
        note += " Where there is a single value there is no interval."
    return note + (f" Not drawn: {empty} without a score." if empty else "")


def _difference(place: int, one: SideDifference, side: Contestant) -> Trace:
    d = one.difference
    assert d is not None
    trace: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [number(d.mean)],
        "y": [place],
        "text": [f"{one.side}: {difference_text(one)}; {told(one)}"],
        "marker": {
            "color": side.color,
            "size": 13,
            "symbol": "circle" if d.is_claim else "circle-open",
            "line": {"width": 2.5, "color": side.color},
        },
    }
    if d.interval.is_bounded:
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [number(max(0.0, d.interval.high - d.mean))],
            "arrayminus": [number(max(0.0, d.mean - d.interval.low))],
            "color": side.color,
            "thickness": 2.5 if d.is_claim else 1.5,
            "width": 6,
        }
    return trace


def _verdict(place: int, one: SideDifference) -> Layout:
    d = one.difference
    assert d is not None
    return {
        "x": number(d.mean),
        "y": place + 0.34,
        "text": label(told(one)),
        "showarrow": False,
        "font": {"color": "@ink" if d.is_claim else "@muted", "size": 12},
    }


def told(one: SideDifference) -> str:
    """The verdict with what it rests on: `better (n = 12, p = 0.004)`."""
    d = one.difference
    if d is None:
        return one.how
    if d.verdict is Verdict.UNDECIDABLE:
        return d.told(one.unit)
    return f"{d.told(one.unit)} (n = {d.n}, p = {d.p_adjusted:.2g})"


def difference_text(one: SideDifference) -> str:
    """`+0.0312 [+0.0101, +0.0523]`, or `–`."""
    if one.difference is None:
        return words.NOTHING
    interval = one.difference.interval
    if not interval.is_bounded:
        return _signed(interval.mean)
    return f"{_signed(interval.mean)} [{_signed(interval.low)}, {_signed(interval.high)}]"


def _signed(value: float) -> str:
    return f"+{words.score_text(value)}" if value > 0 else words.score_text(value)


def rows_axis(texts: Sequence[str]) -> Layout:
    """A vertical axis of names; they have been through `tick` where they are not our own."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(texts))),
        "ticktext": list(texts),
        "range": [-0.6, len(texts) - 0.3],
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
    }


def line_at(x: float) -> Layout:
    """A vertical line through the whole figure."""
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "line": {"color": "@muted", "width": 1.5, "dash": "dash"},
        "layer": "below",
    }
