"""The sides of a comparison as distributions of scores and as curves of the best so far."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from itertools import accumulate
from statistics import median

from tuner.report import words
from tuner.report.comparing.compare import SideSummary
from tuner.report.comparing.reach import Configuration, Front, pareto
from tuner.report.comparing.sides import Entry
from tuner.report.page.clock import unit_of
from tuner.report.page.contest import Contest, Contestant
from tuner.report.page.figure import Figure, Layout, Trace, View, spread_out, title
from tuner.report.page.text import label, number, numbers, tick

_GOLDEN = 0.6180339887498949
_MOST_POINTS = 400  # a side
_MOST_STEPS = 80  # of a median over trials

Curve = tuple[tuple[float, float], ...]  # (epochs or seconds, best so far), both rising


def scores_figure(contest: Contest) -> Figure | None:
    """A column for each side: every score, the middle half as a box, the mean with its interval."""
    drawn = [one for one in contest.contestants if one.side.entries]
    if not drawn:
        return None
    summaries = {side.name: side for side in contest.found.sides}
    traces: list[Trace] = []
    for one in drawn:
        traces += [_box(one), _points(contest, one), _mean(one, summaries[one.side.name])]
    sides = contest.contestants
    layout: Layout = {
        "xaxis": {
            "tickmode": "array",
            "tickvals": [one.place for one in sides],
            "ticktext": [tick(one.side.name) for one in sides],
            "range": [-0.6, len(sides) - 0.4],
            "showgrid": False,
            "zeroline": False,
        },
        "yaxis": {"title": title(label(contest.found.metric))},
        "hovermode": "closest",
    }
    counted = ", ".join(f"{one.side.name} {len(one.side.entries):,}" for one in sides)
    note = (
        f"Trials: {counted}. A box holds the middle half, its line is the median; a diamond is "
        "the mean with its 95 % interval."
    )
    if any(len(one.side.entries) > _MOST_POINTS for one in drawn):
        note += f" At most {_MOST_POINTS} trials of a side are drawn, evenly over the ranks."
    return Figure(traces, layout, note, 400)


def _box(one: Contestant) -> Trace:
    return {
        "type": "box",
        "x": [one.place] * len(one.side.entries),
        "y": numbers(entry.score for entry in one.side.entries),
        "boxpoints": False,
        "width": 0.5,
        "line": {"color": "@muted", "width": 1.2},
        "fillcolor": "@veil",
        "hoverinfo": "skip",
    }


def _points(contest: Contest, one: Contestant) -> Trace:
    ordered = sorted(one.side.entries, key=lambda entry: -contest.sign * entry.score)
    entries = spread_out(ordered, _MOST_POINTS)
    spread = [(i * _GOLDEN) % 1.0 - 0.5 for i in range(len(entries))]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [number(one.place + 0.4 * share) for share in spread],
        "y": numbers(entry.score for entry in entries),
        "customdata": [contest.number_of(entry) for entry in entries],
        "marker": {"color": one.color, "size": 6, "opacity": 0.55, "symbol": one.symbol},
    }


def _mean(one: Contestant, summary: SideSummary) -> Trace:
    interval = summary.mean
    assert interval is not None
    half = interval.high - interval.mean if interval.is_bounded else 0.0
    around = f" ± {words.score_text(half)}" if interval.is_bounded else ""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [one.place + 0.34],
        "y": [number(interval.mean)],
        "text": [f"{one.side.name}: mean {words.score_text(interval.mean)}{around}"],
        "marker": {"color": "@ink", "size": 9, "symbol": "diamond"},
        "error_y": {
            "type": "data",
            "array": [number(half)],
            "color": "@ink",
            "thickness": 1.8,
            "width": 5,
        },
    }


# ---------------------------------------------------------------------- best so far


def so_far_figure(contest: Contest) -> Figure | None:
    """Of each side the best that any configuration has by then, and what its median trial has."""
    drawn = [one for one in contest.contestants if any(c.curve for c in one.tried)]
    if not drawn:
        return None
    longest = max(c.seconds[-1] for one in drawn for c in one.tried if c.seconds)
    unit, length = unit_of(longest)
    by_epochs = {"title": title("epochs of a trial"), "rangemode": "tozero", "tickformat": "d"}
    by_time = {"title": title(f"{unit} of a trial"), "rangemode": "tozero", "tickformat": ""}
    layout: Layout = {
        "xaxis": by_epochs,
        "yaxis": {"title": title(f"best {label(contest.found.metric)} so far")},
        "shapes": level_line(contest.found.target),
        "showlegend": True,
        "hovermode": "closest",
    }
    views = (
        View("epochs", _curves(contest, drawn, 0.0), {"xaxis": by_epochs}),
        View("seconds", _curves(contest, drawn, length), {"xaxis": by_time}),
    )
    note = (
        "Thick: the best of a side's configurations by then (means over seeds). Thin and dotted: "
        "its median trial; a trial that ended earlier stays where it was."
    )
    if contest.found.target is not None:
        note += f" Dashed: the target, {words.score_text(contest.found.target)}."
    return Figure(views[0].traces, layout, note, 380, views)


def _curves(contest: Contest, drawn: Sequence[Contestant], length: float) -> list[Trace]:
    """Against epochs where `length` is 0, else against time in units so many seconds long."""
    traces = []
    for one in drawn:
        best = pareto(point for c in one.tried for point in _course(c, length))
        trials = [_trial_course(entry, contest.sign, length) for entry in one.side.entries]
        traces.append(_line(contest, one, best, is_best=True))
        traces.append(_line(contest, one, median_course(trials), is_best=False))
    return traces


def _course(configuration: Configuration, length: float) -> Curve:
    if not length:
        return tuple(enumerate(configuration.curve, start=1))
    seconds = (second / length for second in configuration.seconds)
    return tuple(zip(seconds, configuration.curve, strict=True))


def _trial_course(entry: Entry, sign: float, length: float) -> Curve:
    values = (-math.inf if math.isnan(value) else sign * value for value, _ in entry.curve)
    best = accumulate(values, max)
    seconds = accumulate(seconds for _, seconds in entry.curve)
    places = (second / length for second in seconds) if length else range(1, len(entry.curve) + 1)
    return tuple(zip(places, best, strict=True))


def median_course(courses: Sequence[Curve]) -> Front:
    """The median of what each has reached by then, from where half of them have anything."""
    known = [course for course in courses if course]
    times = sorted({time for course in known for time, _ in course})
    found: list[tuple[float, float]] = []
    for time in spread_out(times, _MOST_STEPS):
        value = median(_at(course, time) for course in known)
        if math.isfinite(value) and (not found or value > found[-1][1]):
            found.append((time, value))
    if found and times[-1] > found[-1][0]:
        found.append((times[-1], found[-1][1]))
    return tuple(found)


def _at(course: Curve, time: float) -> float:
    place = bisect.bisect_right(course, time, key=lambda point: point[0])
    return course[place - 1][1] if place else -math.inf


def _line(contest: Contest, one: Contestant, points: Front, *, is_best: bool) -> Trace:
    what = "best" if is_best else "median trial"
    ys = [contest.sign * score for _, score in points]
    return {
        "type": "scatter",
        "mode": "lines+markers" if is_best else "lines",
        "x": numbers(time for time, _ in points),
        "y": numbers(ys),
        "text": [f"{one.side.name}, {what}: {words.score_text(y)}" for y in ys],
        "line": {
            "color": one.color,
            "width": 3 if is_best else 1.5,
            "dash": one.dash if is_best else "dot",
            "shape": "linear" if is_best else "hv",
        },
        "marker": {"color": one.color, "size": 6, "symbol": one.symbol},
        "name": label(one.side.name),
        "legendgroup": str(one.place),
        "showlegend": is_best,
    }


def level_line(target: float | None) -> list[Layout]:
    """A horizontal line at the score at which costs are compared."""
    if target is None or not math.isfinite(target):
        return []
    line = {"color": "@muted", "width": 1.2, "dash": "dash"}
    ends = {"x0": 0, "x1": 1, "y0": number(target, 10), "y1": number(target, 10)}
    place = {"type": "line", "xref": "paper", "yref": "y", "layer": "below"}
    return [{**place, **ends, "line": line}]
