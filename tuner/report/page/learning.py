"""How trials came to their scores, and what that took: curves, best so far, cost, time line.

For each figure one function computes what it shows and another draws it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tuner.experiment.trial import TrialState
from tuner.ledger.records import EpochRow, TrialRow
from tuner.report import format
from tuner.report.cost_at_score import pareto
from tuner.report.page import drawing as draw
from tuner.report.page.drawing import Figure, Layout, Trace, View
from tuner.report.page.html import label, number, numbers
from tuner.report.page.source import PageSource, Stretch

MAX_CURVES = 1_000
MAX_POINTS = 160_000  # over all metrics; eight bytes each
MAX_METRICS = 8
_SHADES = 6
# Whose last epoch is marked in the learning curves, and how.
_END_SYMBOLS = {
    TrialState.DIVERGED: "x",
    TrialState.FAILED: "triangle-down",
    TrialState.RUNNING: "circle-open",
    TrialState.STOPPED: "square",
}
_ENDED = (TrialState.COMPLETED, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED)


# ---------------------------------------------------------------------- learning curves


@dataclass(frozen=True)
class Curve:
    """One trial's values of every metric over its epochs; `shade` is 0 for the worst trials.

    `shade` is None for trials that are not ranked. A value that is missing or no number is None.
    """

    trial: int
    state: TrialState
    shade: int | None
    epochs: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]

    def last(self, metric: int) -> float | None:
        """The last value that is a number: where a diverged curve leaves the figure."""
        return next((y for y in reversed(self.values[metric]) if y is not None), None)


@dataclass(frozen=True)
class Curves:
    """All curves, worst first and the best last; `metrics` begins with the objective."""

    metrics: tuple[str, ...]
    curves: tuple[Curve, ...]
    shown: tuple[TrialRow, ...]
    thinned: int


def curves_of(
    source: PageSource, max_curves: int = MAX_CURVES, max_points: int = MAX_POINTS
) -> Curves:
    """The curves of all trials that have epochs; of very many, evenly chosen over their ranks."""
    ranked = [row for row in reversed(source.ranked) if row.number in source.epochs]
    others = [row for row in source.unplaced if row.number in source.epochs]
    metrics = _metrics(source)
    rows = draw.spread_out(ranked, max_curves) + draw.spread_out(others, max_curves // 4)
    total = sum(len(source.epochs[row.number]) for row in rows) * max(1, len(metrics))
    stride = max(1, math.ceil(total / max_points))
    shades = {row.number: place * _SHADES // len(ranked) for place, row in enumerate(ranked)}
    curves = (
        _curve(row, source.epochs[row.number], metrics, shades.get(row.number), stride)
        for row in rows
    )
    return Curves(metrics, tuple(curves), tuple(rows), len(ranked) + len(others) - len(rows))


def curves_figure(source: PageSource, curves: Curves) -> Figure | None:
    """Thin lines coloured by rank, the best one on top, the last epoch of odd ones marked."""
    if not curves.curves:
        return None
    groups = _groups(curves, source.best.number if source.best else None)
    marks = [
        (state, ended)
        for state in _END_SYMBOLS
        if (ended := [curve for curve in curves.curves if curve.state is state])
    ]
    traces = [_curve_lines(group, shade) for shade, group in groups]
    traces += [_ends(ended, state) for state, ended in marks]
    views = tuple(
        View(
            format.printable(metric),
            [
                *({"y": _joined(group, place)} for _, group in groups),
                *({"y": [curve.last(place) for curve in ended]} for _, ended in marks),
            ],
            {"yaxis": draw.titled(label(metric), **_range(curves, place))},
        )
        for place, metric in enumerate(curves.metrics)
    )
    longest = max(curve.epochs[-1] for curve in curves.curves)
    layout: Layout = {"xaxis": draw.epoch_axis("epoch", longest), "showlegend": True}
    thinned = {"thinned out, evenly over the ranks": curves.thinned}
    note = draw.coverage(source.rows, curves.shown, thinned)
    note += " Point at a curve to see its trial; double-click to see the whole axis."
    return Figure(traces, layout, note, 440, views)


def _metrics(source: PageSource) -> tuple[str, ...]:
    seen = dict.fromkeys([source.objective.metric])
    for epochs in source.epochs.values():
        seen.update(dict.fromkeys(epochs[0].metrics))
        if len(seen) > MAX_METRICS:
            break
    return tuple(seen)[:MAX_METRICS]


def _curve(
    row: TrialRow,
    epochs: Sequence[EpochRow],
    metrics: Sequence[str],
    shade: int | None,
    stride: int,
) -> Curve:
    kept = [e for i, e in enumerate(epochs) if i % stride == 0 or i == len(epochs) - 1]
    values = tuple(tuple(numbers(e.metrics.get(metric) for e in kept)) for metric in metrics)
    return Curve(row.number, row.state, shade, tuple(e.epoch for e in kept), values)


def _groups(curves: Curves, best: int | None) -> list[tuple[int | None, list[Curve]]]:
    """Curves that are drawn alike, from the back to the front; the best alone, as shade -1."""
    groups: dict[int | None, list[Curve]] = {shade: [] for shade in (None, *range(_SHADES), -1)}
    for curve in curves.curves:
        groups[-1 if curve.trial == best else curve.shade].append(curve)
    return [(shade, group) for shade, group in groups.items() if group]


def _curve_lines(curves: Sequence[Curve], shade: int | None) -> Trace:
    """Many curves as one trace with gaps between them: a thousand traces would take seconds."""
    is_best = shade == -1
    color = draw.BEST if is_best else draw.FAINT if shade is None else f"@shade{shade}"
    many = len(curves) > 60
    dots = is_best or any(len(curve.epochs) == 1 for curve in curves)
    return draw.lines(
        (x for curve in curves for x in (*curve.epochs, None)),
        _joined(curves, 0),
        {"color": color, "width": 3 if is_best else 1 if many else 1.5},
        mode="lines+markers" if dots else "lines",
        marker={"color": color, "size": 6 if is_best else 4},
        opacity=1 if is_best else 0.55 if many else 0.8,
        name="best trial" if is_best else "without a score" if shade is None else "ranked",
        showlegend=shade is None or is_best,
        meta={
            "trials": [curve.trial for curve in curves],
            "lengths": [len(curve.epochs) for curve in curves],
        },
    )


def _joined(curves: Iterable[Curve], metric: int) -> list[float | None]:
    return [y for curve in curves for y in (*curve.values[metric], None)]


def _ends(curves: Sequence[Curve], state: TrialState) -> Trace:
    return draw.points(
        (curve.epochs[-1] for curve in curves),
        (curve.last(0) for curve in curves),
        {"color": draw.STATE_COLORS[state], "symbol": _END_SYMBOLS[state], "size": 7},
        customdata=[curve.trial for curve in curves],
        name=format.state_word(state),
    )


def _range(curves: Curves, metric: int) -> Layout:
    """What ranked trials reach; a few huge losses of the first epochs may lie outside."""
    ranked = (curve for curve in curves.curves if curve.shade is not None)
    values = sorted(y for curve in ranked for y in curve.values[metric] if y is not None)
    if len(values) < 8:
        return {"autorange": True}
    low, high = values[len(values) // 100], values[-1 - len(values) // 100]
    air = (high - low) * 0.5
    ends = (max(values[0], low - air), min(values[-1], high + air))
    if ends == (values[0], values[-1]) or high == low:
        return {"autorange": True}
    pad = (ends[1] - ends[0]) * 0.04
    return {"autorange": False, "range": [number(ends[0] - pad), number(ends[1] + pad)]}


# ---------------------------------------------------------------------- best so far


@dataclass(frozen=True)
class BestSoFar:
    """Ended trials in the order of their ends, ranked ones only.

    `seconds` count from the first start of all, pauses included; `epochs` are those of all trials
    that had ended by then, whether they are ranked or not.
    """

    rows: tuple[TrialRow, ...]
    seconds: tuple[float, ...]
    epochs: tuple[int, ...]
    best: tuple[float, ...]


def progress_of(source: PageSource) -> BestSoFar:
    """How the best score rose (or fell, where lower is better)."""
    objective, ranked = source.objective, {row.number for row in source.ranked}
    begin = min((stretch.start for stretch in source.stretches), default=0.0)
    steps: list[tuple[TrialRow, float, int, float]] = []
    trained, best = 0, None
    for stretch in source.stretches:
        row, score = stretch.row, stretch.row.score
        trained += row.epochs
        if row.number in ranked and score is not None:
            best = score if best is None or objective.is_better(score, best) else best
            steps.append((row, stretch.end - begin, trained, best))
    rows, seconds, epochs, bests = zip(*steps, strict=True) if steps else ((),) * 4
    return BestSoFar(rows, seconds, epochs, bests)


def progress_figure(source: PageSource, progress: BestSoFar) -> Figure | None:
    """A stair, and each trial as a point below it."""
    if len(progress.rows) < 2:
        return None
    unit, length = unit_of(progress.seconds[-1])
    by_time = [second / length for second in progress.seconds]
    views = [
        View(name, _progress_traces(progress, xs), {"xaxis": draw.titled(text, rangemode="tozero")})
        for name, xs, text in (
            ("time", by_time, f"{unit} since the first trial began"),
            ("epochs", progress.epochs, "epochs trained, over all trials"),
        )
    ]
    layout: Layout = {"yaxis": draw.titled(label(source.objective.metric)), "showlegend": True}
    return Figure.of_views(views, layout, draw.coverage(source.rows, progress.rows), 340)


def unit_of(seconds: float) -> tuple[str, float]:
    """The unit in which a span of time reads well, and its length."""
    for name, length in (("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return name, length
    return "seconds", 1.0


def _progress_traces(progress: BestSoFar, xs: Sequence[float]) -> list[Trace]:
    best = progress.best
    steps = [i for i, score in enumerate(best) if i == 0 or score != best[i - 1]] + [-1]
    return [
        draw.cloud(progress.rows, xs, 7),
        draw.lines(
            (xs[i] for i in steps),
            (best[i] for i in steps),
            {"color": draw.BEST, "width": 2.5, "shape": "hv"},
            hoverinfo="skip",
            name="best so far",
        ),
    ]


# ---------------------------------------------------------------------- what a score costs


@dataclass(frozen=True)
class Tradeoff:
    """Ranked trials with a known cost, best first, and those that no other one beats in both."""

    name: str
    axis: str
    rows: tuple[TrialRow, ...]
    costs: tuple[float, ...]
    front: tuple[int, ...]


def tradeoffs_of(source: PageSource) -> list[Tradeoff]:
    """One for each cost that differs between trials."""
    ranked, tradeoffs = source.ranked, []
    for name, axis, costs in (
        ("parameters", "parameters", [row.parameters for row in ranked]),
        ("multiply-adds", "multiply-adds per image", [row.macs for row in ranked]),
        ("training time", "seconds of training", [row.train_seconds for row in ranked]),
    ):
        known = [(r, float(c)) for r, c in zip(ranked, costs, strict=True) if c and c > 0]
        if len({cost for _, cost in known}) > 1:
            rows, paid = zip(*known, strict=True)
            tradeoffs.append(Tradeoff(name, axis, rows, paid, pareto_front(paid)))
    return tradeoffs


def pareto_front(costs: Sequence[float]) -> tuple[int, ...]:
    """Places of those that none beats in both, cheapest first; `costs` are in the order of rank.

    Of trials that cost the same, the best is on the front, and of equal scores the cheapest.
    """
    points = ((cost, -place) for place, cost in enumerate(costs))
    return tuple(-int(gain) for _, gain in pareto(points))


def tradeoff_figure(source: PageSource, tradeoffs: Sequence[Tradeoff]) -> Figure | None:
    """Points, and the front as a stair; what lies above it nobody has reached."""
    if not tradeoffs:
        return None
    views = []
    for tradeoff in tradeoffs:
        unknown = {"of unknown cost": len(source.ranked) - len(tradeoff.rows)}
        note = draw.coverage(source.rows, tradeoff.rows, unknown)
        note += " Nothing is both cheaper and better than a trial on the front."
        axis = draw.cost_axis(tradeoff.axis, tradeoff.costs)
        views.append(View(tradeoff.name, _tradeoff_traces(tradeoff), {"xaxis": axis}, note))
    layout: Layout = {"yaxis": draw.titled(label(source.objective.metric)), "showlegend": True}
    return Figure.of_views(views, layout, "", 340)


def _tradeoff_traces(tradeoff: Tradeoff) -> list[Trace]:
    rows, costs = tradeoff.rows, tradeoff.costs
    return [
        draw.cloud(rows, costs, 8),
        draw.trial_points(
            [rows[place] for place in tradeoff.front],
            (costs[place] for place in tradeoff.front),
            {"color": draw.BEST, "size": 10, "symbol": "diamond"},
            mode="lines+markers",
            line={"color": draw.BEST, "width": 2, "shape": "hv"},
            name="Pareto front",
        ),
    ]


# ---------------------------------------------------------------------- time line


@dataclass(frozen=True)
class Timeline:
    """Stretches of ended trials, and the workers in the order of their numbers.

    `busy` is the share of the time between the first start and the last end in which a worker had
    a trial, over all workers.
    """

    stretches: tuple[Stretch, ...]
    workers: tuple[int, ...]
    busy: float


def timeline_of(source: PageSource) -> Timeline:
    """Who was busy when; of a trial that was tried again, the last attempt."""
    stretches = tuple(s for s in source.stretches if s.row.worker is not None)
    if not stretches:
        return Timeline((), (), 0.0)
    workers = tuple(sorted({s.row.worker for s in stretches if s.row.worker is not None}))
    span = max(s.end for s in stretches) - min(s.start for s in stretches)
    worked = sum(s.end - s.start for s in stretches)
    return Timeline(stretches, workers, worked / (span * len(workers)) if span > 0 else 1.0)


def timeline_figure(source: PageSource, timeline: Timeline) -> Figure | None:
    """A bar for each trial, coloured by how it ended; the part that compiled is hatched."""
    if not timeline.stretches:
        return None
    others = [s for s in timeline.stretches if not source.is_best(s.row)]
    best = [s for s in timeline.stretches if source.is_best(s.row)]
    traces = [
        *(
            _bars([s for s in others if s.row.state is state], format.state_word(state), color)
            for state, color in draw.STATE_COLORS.items()
            if state in _ENDED
        ),
        _bars(best, "best trial", draw.BEST),
        _compiling(timeline.stretches),
    ]
    layout: Layout = {
        "xaxis": {"type": "date"},
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [f"worker {worker}" for worker in reversed(timeline.workers)],
            "showgrid": False,
        },
        "barmode": "overlay",
        "bargap": 0.35,
        "showlegend": True,
    }
    note = draw.coverage(source.rows, [stretch.row for stretch in timeline.stretches])
    note += f" Times are in UTC. Workers were busy {timeline.busy:.0%} of the time."
    height = min(620, 150 + 34 * len(timeline.workers))
    return Figure([trace for trace in traces if trace["x"]], layout, note, height)


def _bars(stretches: Sequence[Stretch], name: str, color: str) -> Trace:
    few = len(stretches) <= 150  # else the gaps between bars would hide the bars
    marker = {"color": color, "line": {"color": "@paper", "width": 1 if few else 0.3}}
    return _worker_bars(stretches, [s.end - s.start for s in stretches], marker, name)


def _compiling(stretches: Iterable[Stretch]) -> Trace:
    """The first part of a trial; a program that is compiled already costs nothing."""
    parts = [(s, min(s.row.compile_seconds or 0.0, s.end - s.start)) for s in stretches]
    seen = [(s, seconds) for s, seconds in parts if seconds >= 0.02 * (s.end - s.start) > 0]
    hatch = {"shape": "/", "size": 5, "solidity": 0.35, "fgcolor": draw.INK}
    marker = {"color": "@compiling", "line": {"width": 0}, "pattern": hatch}
    return _worker_bars(
        [s for s, _ in seen], [seconds for _, seconds in seen], marker, "of which compiling"
    )


def _worker_bars(
    stretches: Sequence[Stretch], seconds: Sequence[float], marker: Layout, name: str
) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "base": [_utc(stretch.start) for stretch in stretches],
        "x": [round(1000 * length) for length in seconds],
        "y": [f"worker {stretch.row.worker}" for stretch in stretches],
        "customdata": [stretch.row.number for stretch in stretches],
        "marker": marker,
        "name": name,
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
