"""Learning curves: how each trial came to its score, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuner.experiment.trial import TrialState
from tuner.ledger.records import EpochRow, TrialRow
from tuner.report import words
from tuner.report.page.figure import (
    BEST,
    STATE_COLORS,
    STATE_SYMBOLS,
    Figure,
    Layout,
    Trace,
    View,
    coverage,
    spread_out,
    title,
)
from tuner.report.page.source import Source
from tuner.report.page.text import label, number, numbers

MAX_CURVES = 1_000
MAX_POINTS = 160_000  # over all metrics; eight bytes each
MAX_METRICS = 8
_SHADES = 6
_STATES = (TrialState.DIVERGED, TrialState.FAILED, TrialState.RUNNING)


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


@dataclass(frozen=True)
class Curves:
    """All curves, worst first and the best last; `metrics` begins with the objective."""

    metrics: tuple[str, ...]
    curves: tuple[Curve, ...]
    shown: tuple[TrialRow, ...]
    thinned: int


def curves_of(source: Source, max_curves: int = MAX_CURVES, max_points: int = MAX_POINTS) -> Curves:
    """The curves of all trials that have epochs; of very many, evenly chosen over their ranks."""
    ranked = [row for row in reversed(source.ranked) if row.number in source.epochs]
    places = {row.number: place for place, row in enumerate(ranked)}
    others = [r for r in source.rows if r.number in source.epochs and r.number not in places]
    metrics = _metrics(source)
    rows = spread_out(ranked, max_curves) + spread_out(others, max_curves // 4)
    total = sum(len(source.epochs[row.number]) for row in rows) * max(1, len(metrics))
    stride = max(1, math.ceil(total / max_points))
    curves = tuple(
        _curve(row, source.epochs[row.number], metrics, _shade(places, row, len(ranked)), stride)
        for row in rows
    )
    return Curves(metrics, curves, tuple(rows), len(ranked) + len(others) - len(rows))


def curves_figure(source: Source, found: Curves) -> Figure | None:
    """Thin lines coloured by rank, the best one on top, the last epoch of odd ones marked."""
    if not found.curves:
        return None
    best = source.best
    groups = _groups(found, best.number if best else None)
    traces = [_lines(curves, shade) for shade, curves in groups]
    marks = [
        (state, chosen)
        for state in (*_STATES, TrialState.STOPPED)
        if (chosen := [curve for curve in found.curves if curve.state is state])
    ]
    traces += [_ends(curves, state) for state, curves in marks]
    views = [
        View(
            words.printable(metric),
            [
                *({"y": _joined(curves, place)} for _, curves in groups),
                *({"y": [_last(curve, place) for curve in curves]} for _, curves in marks),
            ],
            {"yaxis": {"title": title(label(metric)), **_range(found, place)}},
        )
        for place, metric in enumerate(found.metrics)
    ]
    last = max(curve.epochs[-1] for curve in found.curves)
    layout: Layout = {
        "xaxis": {
            "title": title("epoch"),
            "tickformat": "d",
            **({"dtick": 1} if last < 13 else {}),
        },
        "yaxis": {"title": title(label(found.metrics[0]))},
        "showlegend": True,
        "hovermode": "closest",
    }
    return Figure(traces, layout, _note(source, found), 440, tuple(views))


def _metrics(source: Source) -> tuple[str, ...]:
    seen = dict.fromkeys([source.record.metric])
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


def _shade(places: dict[int, int], row: TrialRow, count: int) -> int | None:
    place = places.get(row.number)
    return None if place is None else min(_SHADES - 1, place * _SHADES // count)


def _groups(found: Curves, best: int | None) -> list[tuple[int | None, list[Curve]]]:
    """Curves that are drawn alike, from the back to the front; the best alone, as shade -1."""
    wanted: list[int | None] = [None, *range(_SHADES)]
    groups: list[tuple[int | None, list[Curve]]] = [
        (shade, [c for c in found.curves if c.shade == shade and c.trial != best])
        for shade in wanted
    ]
    groups.append((-1, [curve for curve in found.curves if curve.trial == best]))
    return [(shade, curves) for shade, curves in groups if curves]


def _lines(curves: Sequence[Curve], shade: int | None) -> Trace:
    """Many curves as one trace with gaps between them: a thousand traces would take seconds."""
    is_best = shade == -1
    one = any(len(curve.epochs) == 1 for curve in curves)
    name = "best trial" if is_best else "without a score" if shade is None else "ranked"
    color = BEST if is_best else "@faint" if shade is None else f"@shade{shade}"
    many = len(curves) > 60
    line = {"color": color, "width": 3 if is_best else 1 if many else 1.5}
    return {
        "type": "scatter",
        "mode": "lines+markers" if one or is_best else "lines",
        "x": [x for curve in curves for x in (*curve.epochs, None)],
        "y": _joined(curves, 0),
        "line": line,
        "marker": {"color": color, "size": 6 if is_best else 4},
        "opacity": 1 if is_best else 0.55 if many else 0.8,
        "name": name,
        "showlegend": shade is None or is_best,
        "meta": {
            "trials": [curve.trial for curve in curves],
            "lengths": [len(curve.epochs) for curve in curves],
        },
    }


def _joined(curves: Iterable[Curve], metric: int) -> list[float | None]:
    return [y for curve in curves for y in (*curve.values[metric], None)]


def _last(curve: Curve, metric: int) -> float | None:
    """The last value that is a number: where a diverged curve leaves the figure."""
    return next((y for y in reversed(curve.values[metric]) if y is not None), None)


def _ends(curves: Sequence[Curve], state: TrialState) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [curve.epochs[-1] for curve in curves],
        "y": [_last(curve, 0) for curve in curves],
        "customdata": [curve.trial for curve in curves],
        "marker": {"color": STATE_COLORS[state], "symbol": STATE_SYMBOLS[state], "size": 7},
        "name": words.state_word(state),
    }


def _range(found: Curves, metric: int) -> Layout:
    """What ranked trials reach; a few huge losses of the first epochs may lie outside."""
    values = sorted(
        y for c in found.curves if c.shade is not None for y in c.values[metric] if y is not None
    )
    if len(values) < 8:
        return {"autorange": True}
    low, high = values[len(values) // 100], values[-1 - len(values) // 100]
    air = (high - low) * 0.5
    ends = (max(values[0], low - air), min(values[-1], high + air))
    if ends == (values[0], values[-1]) or high == low:
        return {"autorange": True}
    pad = (ends[1] - ends[0]) * 0.04
    return {"autorange": False, "range": [number(ends[0] - pad), number(ends[1] + pad)]}


def _note(source: Source, found: Curves) -> str:
    reasons = {"thinned out, evenly over the ranks": found.thinned}
    note = coverage(source, found.shown, reasons)
    return f"{note} Point at a curve to see its trial; double-click to see the whole axis."
