"""Scores side by side: differences with intervals, distributions, best so far, and costs."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from statistics import median

from tuner.report import format
from tuner.report.comparison import SideSummary
from tuner.report.cost_at_score import COSTS, Front, SeededConfiguration, fronts, pareto
from tuner.report.page import drawing as draw
from tuner.report.page.contest import (
    COST_NAMES,
    Contest,
    Contestant,
    difference_text,
    mean_text,
    verdict_text,
)
from tuner.report.page.drawing import Figure, Layout, Trace, View
from tuner.report.page.html import label, number, tick
from tuner.report.page.learning import unit_of
from tuner.report.page.source import PageSource
from tuner.report.sides import ScoredTrial, SideDifference
from tuner.report.statistics import Difference

_MOST_POINTS = 400  # a side
_MOST_STEPS = 80  # of a median over trials
_MOST_LABELLED = 3  # sides whose ratios are written beside their points

Steps = tuple[tuple[float, float], ...]  # (epochs or seconds, best so far), both rising


# ---------------------------------------------------------------------- several experiments


def experiments_figure(sources: Sequence[PageSource], metric: str) -> Figure | None:
    """A column of points for each experiment, its best on top and its middle half as a box."""
    if not any(source.ranked for source in sources):
        return None
    traces: list[Trace] = []
    for place, source in enumerate(sources):
        scores = [row.score for row in source.ranked if row.score is not None]
        if scores:
            chosen = draw.spread_out(scores, _MOST_POINTS)
            marker = {"color": draw.TRIAL, "size": 6, "opacity": 0.55}
            texts = [format.score_text(score) for score in chosen]
            traces += [
                draw.box(place, scores),
                _column(place, chosen, marker, text=texts),
                _winner(place, scores[0]),
            ]
    layout: Layout = {
        "xaxis": draw.names_axis([tick(source.record.name) for source in sources]),
        "yaxis": draw.titled(label(metric)),
    }
    parts = [f"{format.printable(s.record.name)} {len(s.ranked):,}" for s in sources]
    note = f"Ranked trials: {', '.join(parts)}. Boxes hold the middle half, lines are medians."
    return Figure(traces, layout, note)


def _column(place: int, scores: Sequence[float], marker: Layout, **more: object) -> Trace:
    """Scores above each other, spread a little sideways."""
    xs = (place + 0.4 * draw.jitter(i) for i in range(len(scores)))
    return draw.points(xs, scores, marker, **more)


def _winner(place: int, score: float) -> Trace:
    return draw.points(
        [place],
        [score],
        {"color": draw.BEST, "size": 14, "symbol": "star"},
        mode="markers+text",
        text=[format.score_text(score)],
        textposition="top center",
        textfont={"color": draw.INK, "size": 13},
        cliponaxis=False,
    )


# ---------------------------------------------------------------------- differences


def forest_figure(contest: Contest) -> Figure | None:
    """A row for each side but the baseline: its difference, the interval, and the verdict.

    A filled point is a claim; a hollow one says that nothing may be claimed.
    """
    differences = contest.comparison.differences
    rows = [(one, one.difference) for one in reversed(differences) if one.difference is not None]
    if not rows:
        return None
    better = "right" if contest.objective.direction == "max" else "left"
    metric = label(contest.comparison.metric)
    layout: Layout = {
        "xaxis": draw.titled(f"difference in {metric}; {better} is better"),
        "yaxis": draw.names_axis([tick(one.side) for one, _ in rows], air=0.7),
        "shapes": [draw.line_at(0.0)],
        "annotations": [_verdict(place, *row) for place, row in enumerate(rows)],
    }
    colors = {one.name: one.color for one in contest.contestants}
    traces = [_difference(place, *row, colors[row[0].side]) for place, row in enumerate(rows)]
    note = _forest_note([difference for _, difference in rows], len(differences) - len(rows))
    return Figure(traces, layout, note, 90 + 58 * len(rows))


def _forest_note(drawn: Sequence[Difference], empty: int) -> str:
    note = (
        "Points are differences of means with 95 % intervals. Filled: claimed, because interval "
        "and permutation test agree at 0.05; hollow: not claimed."
    )
    if len(drawn) > 1:
        note += f" p is Holm's over {drawn[0].num_comparisons} comparisons."
    if not all(one.interval.is_bounded for one in drawn):
        note += " Where there is a single value there is no interval."
    return note + (f" Not drawn: {empty} without a score." if empty else "")


def _difference(place: int, one: SideDifference, d: Difference, color: str) -> Trace:
    shape = {"size": 13, "symbol": "circle" if d.is_claim else "circle-open"}
    marker = {"color": color, **shape, "line": {"width": 2.5, "color": color}}
    text = [f"{one.side}: {difference_text(one)}; {verdict_text(one)}"]
    if not d.interval.is_bounded:
        return draw.points([d.mean], [place], marker, text=text)
    above, below = draw.reach(d.interval.high, d.mean), draw.reach(d.mean, d.interval.low)
    thickness = 2.5 if d.is_claim else 1.5
    bars = draw.whiskers([above], [below], color=color, thickness=thickness, width=6)
    return draw.points([d.mean], [place], marker, text=text, error_x=bars)


def _verdict(place: int, one: SideDifference, d: Difference) -> Layout:
    return {
        "x": number(d.mean),
        "y": place + 0.34,
        "text": label(verdict_text(one)),
        "showarrow": False,
        "font": {"color": draw.INK if d.is_claim else draw.MUTED, "size": 12},
    }


# ---------------------------------------------------------------------- distributions


def scores_figure(contest: Contest) -> Figure | None:
    """A column for each side: every score, the middle half as a box, the mean with its interval."""
    drawn = [one for one in contest.contestants if one.side.entries]
    if not drawn:
        return None
    summaries = {side.name: side for side in contest.comparison.sides}
    traces: list[Trace] = []
    for one in drawn:
        scores = [entry.score for entry in one.side.entries]
        traces += [
            draw.box(one.place, scores),
            _entries(contest, one),
            _mean(one, summaries[one.name]),
        ]
    layout: Layout = {
        "xaxis": draw.names_axis([tick(one.name) for one in contest.contestants]),
        "yaxis": draw.titled(label(contest.comparison.metric)),
    }
    counts = (f"{one.name} {len(one.side.entries):,}" for one in contest.contestants)
    note = (
        f"Trials: {', '.join(counts)}. A box holds the middle half, its line is the median; a "
        "diamond is the mean with its 95 % interval."
    )
    if any(len(one.side.entries) > _MOST_POINTS for one in drawn):
        note += f" At most {_MOST_POINTS} trials of a side are drawn, evenly over the ranks."
    return Figure(traces, layout, note, 400)


def _entries(contest: Contest, one: Contestant) -> Trace:
    ordered = sorted(one.side.entries, key=lambda entry: -contest.objective.gain(entry.score))
    entries = draw.spread_out(ordered, _MOST_POINTS)
    marker = {"color": one.color, "size": 6, "opacity": 0.55, "symbol": one.symbol}
    trials = [contest.number_of(entry) for entry in entries]
    return _column(one.place, [entry.score for entry in entries], marker, customdata=trials)


def _mean(one: Contestant, summary: SideSummary) -> Trace:
    interval = summary.mean
    assert interval is not None
    half = interval.high - interval.mean if interval.is_bounded else 0.0
    return draw.points(
        [one.place + 0.34],
        [interval.mean],
        {"color": draw.INK, "size": 9, "symbol": "diamond"},
        text=[f"{one.name}: mean {mean_text(summary)}"],
        error_y=draw.whiskers([half]),
    )


# ---------------------------------------------------------------------- best so far


def so_far_figure(contest: Contest) -> Figure | None:
    """Of each side the best that any configuration has by then, and what its median trial has."""
    drawn = [one for one in contest.contestants if any(c.curve for c in one.tried)]
    if not drawn:
        return None
    target = contest.comparison.target
    longest = max(c.seconds[-1] for one in drawn for c in one.tried if c.seconds)
    unit, length = unit_of(longest)
    views = [
        View(
            name,
            _so_far_traces(contest, drawn, scale),
            {"xaxis": draw.titled(text, rangemode="tozero", tickformat=form)},
        )
        for name, scale, text, form in (
            ("epochs", 0.0, "epochs of a trial", "d"),
            ("seconds", length, f"{unit} of a trial", ""),
        )
    ]
    layout: Layout = {
        "yaxis": draw.titled(f"best {label(contest.comparison.metric)} so far"),
        "shapes": _target_line(target),
        "showlegend": True,
    }
    note = (
        "Thick: the best of a side's configurations by then (means over seeds). Thin and dotted: "
        "its median trial; a trial that ended earlier stays where it was."
    )
    if target is not None:
        note += f" Dashed: the target, {format.score_text(target)}."
    return Figure.of_views(views, layout, note, 380)


def median_steps(courses: Iterable[Steps]) -> Front:
    """The median of what each has reached by then, from where half of them have anything."""
    known = [steps for steps in courses if steps]
    times = sorted({time for steps in known for time, _ in steps})
    front: list[tuple[float, float]] = []
    for time in draw.spread_out(times, _MOST_STEPS):
        value = median(_reached_by(steps, time) for steps in known)
        if math.isfinite(value) and (not front or value > front[-1][1]):
            front.append((time, value))
    if front and times[-1] > front[-1][0]:
        front.append((times[-1], front[-1][1]))
    return tuple(front)


def _so_far_traces(contest: Contest, drawn: Sequence[Contestant], length: float) -> list[Trace]:
    """Against epochs where `length` is 0, else against time in units so many seconds long."""
    traces = []
    for one in drawn:
        best = pareto(point for c in one.tried for point in _steps(c.curve, c.seconds, length))
        trials = median_steps(_trial_steps(contest, e, length) for e in one.side.entries)
        traces.append(_side_line(contest, one, best, is_best=True))
        traces.append(_side_line(contest, one, trials, is_best=False))
    return traces


def _steps(gains: Iterable[float], seconds: Iterable[float], length: float) -> Steps:
    if not length:
        return tuple(enumerate(gains, start=1))
    return tuple(zip((second / length for second in seconds), gains, strict=True))


def _trial_steps(contest: Contest, entry: ScoredTrial, length: float) -> Steps:
    gain = contest.objective.gain
    gains = (-math.inf if math.isnan(value) else gain(value) for value, _ in entry.curve)
    return _steps(accumulate(gains, max), accumulate(s for _, s in entry.curve), length)


def _reached_by(steps: Steps, time: float) -> float:
    place = bisect.bisect_right(steps, time, key=lambda point: point[0])
    return steps[place - 1][1] if place else -math.inf


def _side_line(contest: Contest, one: Contestant, front: Front, *, is_best: bool) -> Trace:
    what = "best" if is_best else "median trial"
    ys = [contest.objective.gain(score) for _, score in front]
    dash, shape = (one.dash, "linear") if is_best else ("dot", "hv")
    return draw.lines(
        (time for time, _ in front),
        ys,
        {"color": one.color, "width": 3 if is_best else 1.5, "dash": dash, "shape": shape},
        mode="lines+markers" if is_best else "lines",
        text=[f"{one.name}, {what}: {format.score_text(y)}" for y in ys],
        marker={"color": one.color, "size": 6, "symbol": one.symbol},
        **_legend(one, is_best),
    )


def _legend(one: Contestant, is_shown: bool) -> Layout:
    """A side's entry in the legend, which shows and hides all that belongs to it."""
    return {"name": label(one.name), "legendgroup": str(one.place), "showlegend": is_shown}


def _target_line(target: float | None) -> list[Layout]:
    """A level line at the score at which costs are compared."""
    if target is None or not math.isfinite(target):
        return []
    return [draw.line_at(target, is_level=True, width=1.2)]


# ---------------------------------------------------------------------- sizes


def sizes_figure(contest: Contest) -> Figure | None:
    """A point for each configuration, its mean over seeds; lines are the fronts."""
    views = [
        View(name, _size_traces(contest, size), {"xaxis": draw.cost_axis(axis, costs)})
        for size, name, axis in (
            ("parameters", "parameters", "parameters"),
            ("macs", "multiply-adds", "multiply-adds per image"),
        )
        if len(set(costs := _sizes(contest, size))) > 1
    ]
    if not views:
        return None
    layout: Layout = {
        "yaxis": draw.titled(f"mean {label(contest.comparison.metric)}"),
        "shapes": _target_line(contest.comparison.target),
        "showlegend": True,
    }
    total = sum(len(one.tried) for one in contest.contestants)
    note = (
        f"{format.counted(total, 'configuration')}, each by its mean over seeds. Nothing of a side "
        "is both smaller and better than its line; the dashed line is the score at which costs "
        "are compared."
    )
    return Figure.of_views(views, layout, note, 380)


def _size_of(configuration: SeededConfiguration, size: str) -> int | None:
    """Parameters or multiply-adds of its network."""
    row = configuration.entries[0].row
    return row.parameters if size == "parameters" else row.macs


def _sizes(contest: Contest, size: str) -> list[float]:
    sizes = (_size_of(c, size) for one in contest.contestants for c in one.tried)
    return [float(value) for value in sizes if value]


def _size_traces(contest: Contest, size: str) -> list[Trace]:
    traces = []
    gain = contest.objective.gain
    for one in contest.contestants:
        known = sorted((c for c in one.tried if _size_of(c, size)), key=lambda c: -c.score)
        tried = draw.spread_out(known, _MOST_POINTS)
        front = fronts(one.tried)[size]
        marks = draw.points(
            (_size_of(c, size) for c in tried),
            (gain(c.score) for c in tried),
            {"color": one.color, "size": 7, "opacity": 0.5, "symbol": one.symbol},
            customdata=[contest.number_of(c.entries[0]) for c in tried],
            text=[_size_text(contest, one, c) for c in tried],
            **_legend(one, False),
        )
        stair = draw.lines(
            (cost for cost, _ in front),
            (gain(score) for _, score in front),
            {"color": one.color, "width": 2.5, "dash": one.dash},
            mode="lines+markers",
            marker={"color": one.color, "size": 9, "symbol": one.symbol},
            hoverinfo="skip",
            **_legend(one, True),
        )
        traces += [marks, stair]
    return traces


def _size_text(contest: Contest, one: Contestant, tried: SeededConfiguration) -> str:
    if len(tried.entries) == 1:
        return one.name
    mean = format.score_text(contest.objective.gain(tried.score))
    return f"{one.name}: mean {mean} over {len(tried.entries)} seeds; the first of them:"


# ---------------------------------------------------------------------- at equal score


def ratios_figure(contest: Contest) -> Figure | None:
    """What each side needs for the same score, as multiples of the baseline."""
    comparison = contest.comparison
    others = [side for side in comparison.sides if side.name != comparison.baseline]
    costs = [name for name in reversed(COSTS) if any(side.ratios[name] for side in others)]
    if comparison.target is None or not costs:
        return None
    by_name = {one.name: one for one in contest.contestants}
    known = [ratio for side in others for ratio in side.ratios.values() if ratio]
    layout: Layout = {
        "xaxis": _multiples_axis(f"multiple of {label(contest.baseline)}; left is cheaper", known),
        "yaxis": draw.names_axis([COST_NAMES[name] for name in costs], air=0.7),
        "shapes": [draw.line_at(1.0)],
        "showlegend": True,
    }
    traces = [
        _ratios(by_name[side.name], [side.ratios[name] for name in costs], place, len(others))
        for place, side in enumerate(others)
    ]
    score = f"{contest.metric} {format.score_text(comparison.target)}"
    note = f"For {score}, read off each side's best configurations. Missing: not reached or unknown"
    return Figure(traces, layout, f"{note}.", 130 + 40 * len(costs))


def _ratios(one: Contestant, ratios: Sequence[float | None], place: int, count: int) -> Trace:
    drawn = [(row, ratio) for row, ratio in enumerate(ratios) if ratio]
    shift = 0.36 * (place / (count - 1) - 0.5) if count > 1 else 0.0
    return draw.points(
        (ratio for _, ratio in drawn),
        (row - shift for row, _ in drawn),
        {"color": one.color, "size": 11, "symbol": one.symbol},
        mode="markers+text" if count <= _MOST_LABELLED else "markers",
        text=[f"{ratio:.3g}×" for _, ratio in drawn],
        textposition="middle right",
        textfont={"color": draw.INK, "size": 12},
        cliponaxis=False,
        name=label(one.name),
    )


def _multiples_axis(text: str, ratios: Sequence[float]) -> Layout:
    """A logarithmic axis on which a half is as far away as a double."""
    low, high = min(1.0, *ratios), max(1.0, *ratios)
    factors: tuple[float, ...] = (1, 1.25, 1.5, 2, 2.5, 4, 5, 6, 8)
    if high / low > 4:
        factors = (1, 2, 5) if high / low < 200 else (1,)
    steps = [10.0**exponent * factor for exponent in range(-6, 7) for factor in factors]
    ticks = [step for step in steps if 0.7 * low <= step <= 1.4 * high]
    return draw.number_axis(text, ticks, lambda step: f"{step:g}×")
