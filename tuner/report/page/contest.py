"""What a comparison's page draws: its sides in their colours, and every trial's place.

Scores side by side: differences with intervals, distributions, best so far, and costs.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from tuner.experiment.objective import Objective
from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.comparison import Comparison, SideSummary
from tuner.report.cost_at_score import (
    COSTS,
    Front,
    SeededConfiguration,
    best_so_far,
    fronts,
    pareto,
)
from tuner.report.page import drawing as draw
from tuner.report.page.drawing import Figure, Layout, Trace, View
from tuner.report.page.html import label, number, tick
from tuner.report.page.learning import unit_of
from tuner.report.sides import ComparedExperiment, ScoredTrial, SideDifference
from tuner.report.statistics import Difference, Verdict

COLORS = 8
COST_NAMES = {
    "parameters": "parameters",
    "macs": "multiply-adds",
    "epochs": "epochs",
    "steps": "steps",
    "seconds": "seconds",
}
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "hexagon", "star", "pentagon")
_DASHES = ("solid", "dash", "dot")
_MOST_POINTS = 400  # a side
_MOST_STEPS = 80  # of a median over trials
_MOST_LABELLED = 3  # sides whose ratios are written beside their points
_ABSENT = object()

Steps = tuple[tuple[float, float], ...]  # (epochs or seconds, best so far), both rising


@dataclass(frozen=True)
class DrawnSide:
    """A side as figures draw it; after eight colours symbols and dashes tell sides apart too."""

    place: int
    summary: SideSummary

    @property
    def name(self) -> str:
        """As the comparison calls it."""
        return self.summary.name

    @property
    def color(self) -> str:
        """Its colour on the page, whatever the theme."""
        return f"@side{self.place % COLORS}"

    @property
    def symbol(self) -> str:
        """Its points' shape."""
        return _SYMBOLS[self.place % len(_SYMBOLS)]

    @property
    def dash(self) -> str:
        """Its lines' stroke."""
        return _DASHES[self.place // COLORS % len(_DASHES)]


@dataclass(frozen=True)
class ListedTrial:
    """A trial in the page's table. `side` is empty for one that is on none, `out` for one that
    takes part.
    """

    experiment: str
    row: TrialRow
    side: str
    out: str


@dataclass(frozen=True)
class Contest:
    """The comparison and all that it was made from."""

    sources: Sequence[ComparedExperiment]
    comparison: Comparison

    @cached_property
    def drawn_sides(self) -> tuple[DrawnSide, ...]:
        """The sides in their order, which decides their colours."""
        return tuple(DrawnSide(place, side) for place, side in enumerate(self.comparison.sides))

    @property
    def objective(self) -> Objective:
        """What the scores are, and which is better."""
        return self.comparison.objective

    @property
    def metric(self) -> str:
        """The objective's name, safe to print."""
        return self.comparison.metric

    @property
    def baseline(self) -> str:
        """The baseline in a sentence."""
        return self.named(self.comparison.baseline)

    def named(self, side: str) -> str:
        """A side in a sentence; a family says itself what it is."""
        return side if self.comparison.head == "family" else self.comparison.named(side)

    @cached_property
    def trials(self) -> tuple[ListedTrial, ...]:
        """Every trial: those that take part first and best first, ties to the earlier one."""
        side_of = {
            (entry.experiment, entry.row.number): side.name
            for side in self.comparison.sides
            for entry in side.entries
        }
        listed = [
            self._listed(source.record.name, row, side_of.get((source.record.name, row.number)))
            for source in self.sources
            for row in source.record.rows
        ]
        return tuple(sorted(listed, key=self._order))

    @cached_property
    def numbers(self) -> dict[tuple[str, int], int]:
        """By experiment and trial: the place by which figures and table know a trial."""
        return {(t.experiment, t.row.number): i for i, t in enumerate(self.trials)}

    def number_of(self, entry: ScoredTrial) -> int:
        """The same of a trial that takes part."""
        return self.numbers[entry.experiment, entry.row.number]

    def trial_text(self, experiment: str, number: int) -> str:
        """A trial's name: with its experiment where there are several."""
        return f"{experiment}/{number}" if len(self.sources) > 1 else str(number)

    def _order(self, trial: ListedTrial) -> tuple[bool, float]:
        score = trial.row.score
        if score is None or not math.isfinite(score):
            return bool(trial.out), math.inf
        return bool(trial.out), -self.objective.gain(score)

    def _listed(self, experiment: str, row: TrialRow, side: str | None) -> ListedTrial:
        if side is not None:
            return ListedTrial(experiment, row, side, "")
        by = self.comparison.by
        value = row.value(by, _ABSENT) if by else experiment
        if row.score is None:
            state = format.state_word(row.state)
            out = state if state not in ("completed", "stopped") else "without a score"
        elif value is _ABSENT:
            out = f"without {format.printable(by)}"
        elif not math.isfinite(row.score):
            out = "with an infinite score"
        else:
            out = "counted in another experiment"
        on = "" if value is _ABSENT else format.value_text(value)
        return ListedTrial(experiment, row, on, out)


def verdict_text(row: SideDifference) -> str:
    """The verdict with what it rests on: `better (n = 12, p = 0.004)`."""
    d = row.difference
    if d is None:
        return row.how
    if d.verdict is Verdict.UNDECIDABLE:
        return d.told(row.unit)
    return f"{d.told(row.unit)} (n = {d.n}, p = {d.p_adjusted:.2g})"


# ---------------------------------------------------------------------- differences


def forest_figure(contest: Contest) -> Figure | None:
    """A row for each side but the baseline: its difference, the interval, and the verdict.

    A filled point is a claim; a hollow one says that nothing may be claimed.
    """
    differences = contest.comparison.differences
    rows = [(row, row.difference) for row in reversed(differences) if row.difference is not None]
    if not rows:
        return None
    better = "right" if contest.objective.direction == "max" else "left"
    metric = label(contest.metric)
    layout: Layout = {
        "xaxis": draw.titled(f"difference in {metric}; {better} is better"),
        "yaxis": draw.names_axis([tick(row.side) for row, _ in rows], air=0.7),
        "shapes": [draw.line_at(0.0)],
        "annotations": [_verdict(place, *pair) for place, pair in enumerate(rows)],
    }
    colors = {side.name: side.color for side in contest.drawn_sides}
    traces = [_difference(i, row, d, colors[row.side]) for i, (row, d) in enumerate(rows)]
    note = _forest_note([difference for _, difference in rows], len(differences) - len(rows))
    return Figure(traces, layout, note, 90 + 58 * len(rows))


def _forest_note(drawn: Sequence[Difference], empty: int) -> str:
    note = (
        "Points are differences of means with 95 % intervals. Filled: claimed, because interval "
        "and permutation test agree at 0.05; hollow: not claimed."
    )
    if len(drawn) > 1:
        note += f" p is Holm's over {drawn[0].num_comparisons} comparisons."
    if not all(difference.interval.is_bounded for difference in drawn):
        note += " Where there is a single value there is no interval."
    return note + (f" Not drawn: {empty} without a score." if empty else "")


def _difference(place: int, row: SideDifference, d: Difference, color: str) -> Trace:
    shape = {"size": 13, "symbol": "circle" if d.is_claim else "circle-open"}
    marker = {"color": color, **shape, "line": {"width": 2.5, "color": color}}
    text = [f"{row.side}: {row.difference_text}; {verdict_text(row)}"]
    if not d.interval.is_bounded:
        return draw.points([d.mean], [place], marker, text=text)
    above, below = draw.arm(d.interval.high, d.mean), draw.arm(d.mean, d.interval.low)
    thickness = 2.5 if d.is_claim else 1.5
    bars = draw.whiskers([above], [below], color=color, thickness=thickness, width=6)
    return draw.points([d.mean], [place], marker, text=text, error_x=bars)


def _verdict(place: int, row: SideDifference, d: Difference) -> Layout:
    return {
        "x": number(d.mean),
        "y": place + 0.34,
        "text": label(verdict_text(row)),
        "showarrow": False,
        "font": {"color": draw.INK if d.is_claim else draw.MUTED, "size": 12},
    }


# ---------------------------------------------------------------------- distributions


def scores_figure(contest: Contest) -> Figure | None:
    """A column for each side: every score, the middle half as a box, the mean with its interval."""
    drawn = [side for side in contest.drawn_sides if side.summary.entries]
    if not drawn:
        return None
    traces: list[Trace] = []
    for side in drawn:
        scores = [entry.score for entry in side.summary.entries]
        traces += [draw.box(side.place, scores), _entries(contest, side), _mean(side)]
    layout: Layout = {
        "xaxis": draw.names_axis([tick(side.name) for side in contest.drawn_sides]),
        "yaxis": draw.titled(label(contest.metric)),
    }
    counts = (f"{side.name} {len(side.summary.entries):,}" for side in contest.drawn_sides)
    note = (
        f"Trials: {', '.join(counts)}. A box holds the middle half, its line is the median; a "
        "diamond is the mean with its 95 % interval."
    )
    if any(len(side.summary.entries) > _MOST_POINTS for side in drawn):
        note += f" At most {_MOST_POINTS} trials of a side are drawn, evenly over the ranks."
    return Figure(traces, layout, note, 400)


def _entries(contest: Contest, side: DrawnSide) -> Trace:
    ordered = sorted(side.summary.entries, key=lambda entry: -contest.objective.gain(entry.score))
    entries = draw.spread_out(ordered, _MOST_POINTS)
    marker = {"color": side.color, "size": 6, "opacity": 0.55, "symbol": side.symbol}
    trials = [contest.number_of(entry) for entry in entries]
    return draw.column(side.place, [entry.score for entry in entries], marker, customdata=trials)


def _mean(side: DrawnSide) -> Trace:
    interval = side.summary.mean
    assert interval is not None
    return draw.points(
        [side.place + 0.34],
        [interval.mean],
        {"color": draw.INK, "size": 9, "symbol": "diamond"},
        text=[f"{side.name}: mean {interval}"],
        error_y=draw.whiskers(*([arm] for arm in interval.arms)),
    )


# ---------------------------------------------------------------------- best so far


def so_far_figure(contest: Contest) -> Figure | None:
    """Of each side the best that any configuration has by then, and what its median trial has."""
    drawn = [side for side in contest.drawn_sides if any(c.curve for c in side.summary.tried)]
    if not drawn:
        return None
    target = contest.comparison.target
    longest = max(c.seconds[-1] for side in drawn for c in side.summary.tried if c.seconds)
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
        "yaxis": draw.titled(f"best {label(contest.metric)} so far"),
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


def _so_far_traces(contest: Contest, drawn: Sequence[DrawnSide], length: float) -> list[Trace]:
    """Against epochs where `length` is 0, else against time in units so many seconds long."""
    traces = []
    for side in drawn:
        tried = side.summary.tried
        best = pareto(point for c in tried for point in _steps(c.curve, c.seconds, length))
        curves = (best_so_far(entry, contest.objective) for entry in side.summary.entries)
        trials = median_steps(_steps(*curve, length) for curve in curves)
        traces.append(_side_line(contest, side, best, is_best=True))
        traces.append(_side_line(contest, side, trials, is_best=False))
    return traces


def _steps(gains: Iterable[float], seconds: Iterable[float], length: float) -> Steps:
    if not length:
        return tuple(enumerate(gains, start=1))
    return tuple(zip((second / length for second in seconds), gains, strict=True))


def _reached_by(steps: Steps, time: float) -> float:
    place = bisect.bisect_right(steps, time, key=lambda point: point[0])
    return steps[place - 1][1] if place else -math.inf


def _side_line(contest: Contest, side: DrawnSide, front: Front, *, is_best: bool) -> Trace:
    which = "best" if is_best else "median trial"
    ys = [contest.objective.gain(score) for _, score in front]
    dash, shape = (side.dash, "linear") if is_best else ("dot", "hv")
    return draw.lines(
        (time for time, _ in front),
        ys,
        {"color": side.color, "width": 3 if is_best else 1.5, "dash": dash, "shape": shape},
        mode="lines+markers" if is_best else "lines",
        text=[f"{side.name}, {which}: {format.score_text(y)}" for y in ys],
        marker={"color": side.color, "size": 6, "symbol": side.symbol},
        **_legend(side, is_best),
    )


def _legend(side: DrawnSide, is_shown: bool) -> Layout:
    """A side's entry in the legend, which shows and hides all that belongs to it."""
    return {"name": label(side.name), "legendgroup": str(side.place), "showlegend": is_shown}


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
        "yaxis": draw.titled(f"mean {label(contest.metric)}"),
        "shapes": _target_line(contest.comparison.target),
        "showlegend": True,
    }
    total = sum(len(side.summary.tried) for side in contest.drawn_sides)
    note = (
        f"{format.counted(total, 'configuration')}, each by its mean over seeds. Nothing of a side "
        "is both smaller and better than its line; the dashed line is the score at which costs "
        "are compared."
    )
    return Figure.of_views(views, layout, note, 380)


def _sizes(contest: Contest, size: str) -> list[float]:
    tried = (c for side in contest.drawn_sides for c in side.summary.tried)
    return [float(value) for c in tried if (value := getattr(c.row, size))]


def _size_traces(contest: Contest, size: str) -> list[Trace]:
    traces = []
    gain = contest.objective.gain
    for side in contest.drawn_sides:
        known = [c for c in side.summary.tried if getattr(c.row, size)]
        known.sort(key=lambda configuration: -configuration.score)
        tried = draw.spread_out(known, _MOST_POINTS)
        front = fronts(side.summary.tried)[size]
        marks = draw.points(
            (getattr(c.row, size) for c in tried),
            (gain(c.score) for c in tried),
            {"color": side.color, "size": 7, "opacity": 0.5, "symbol": side.symbol},
            customdata=[contest.number_of(c.entries[0]) for c in tried],
            text=[_size_text(contest, side, c) for c in tried],
            **_legend(side, False),
        )
        stair = draw.lines(
            (cost for cost, _ in front),
            (gain(score) for _, score in front),
            {"color": side.color, "width": 2.5, "dash": side.dash},
            mode="lines+markers",
            marker={"color": side.color, "size": 9, "symbol": side.symbol},
            hoverinfo="skip",
            **_legend(side, True),
        )
        traces += [marks, stair]
    return traces


def _size_text(contest: Contest, side: DrawnSide, tried: SeededConfiguration) -> str:
    if len(tried.entries) == 1:
        return side.name
    mean = format.score_text(contest.objective.gain(tried.score))
    return f"{side.name}: mean {mean} over {len(tried.entries)} seeds; the first of them:"


# ---------------------------------------------------------------------- at equal score


def ratios_figure(contest: Contest) -> Figure | None:
    """What each side needs for the same score, as multiples of the baseline."""
    comparison = contest.comparison
    others = [side for side in contest.drawn_sides if side.name != comparison.baseline]
    costs = [name for name in reversed(COSTS) if any(side.summary.ratios[name] for side in others)]
    if comparison.target is None or not costs:
        return None
    known = [ratio for side in others for ratio in side.summary.ratios.values() if ratio]
    layout: Layout = {
        "xaxis": _multiples_axis(f"multiple of {label(contest.baseline)}; left is cheaper", known),
        "yaxis": draw.names_axis([COST_NAMES[name] for name in costs], air=0.7),
        "shapes": [draw.line_at(1.0)],
        "showlegend": True,
    }
    traces = [_ratios(side, costs, place, len(others)) for place, side in enumerate(others)]
    score = f"{contest.metric} {format.score_text(comparison.target)}"
    note = f"For {score}, read off each side's best configurations. Missing: not reached or unknown"
    return Figure(traces, layout, f"{note}.", 130 + 40 * len(costs))


def _ratios(side: DrawnSide, costs: Sequence[str], place: int, count: int) -> Trace:
    ratios = ((row, side.summary.ratios[name]) for row, name in enumerate(costs))
    drawn = [(row, ratio) for row, ratio in ratios if ratio]
    shift = 0.36 * (place / (count - 1) - 0.5) if count > 1 else 0.0
    return draw.points(
        (ratio for _, ratio in drawn),
        (row - shift for row, _ in drawn),
        {"color": side.color, "size": 11, "symbol": side.symbol},
        mode="markers+text" if count <= _MOST_LABELLED else "markers",
        text=[f"{ratio:.3g}×" for _, ratio in drawn],
        textposition="middle right",
        textfont={"color": draw.INK, "size": 12},
        cliponaxis=False,
        name=label(side.name),
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
