"""What mattered: the weight of each hyperparameter, with its method and its uncertainty."""

from __future__ import annotations

from tuner.report.page.figure import TRIAL, Figure, Layout, Trace, coverage, title
from tuner.report.page.source import Source
from tuner.report.page.text import label, number, tick
from tuner.report.page.weights import Weight, Weights

MAX_BARS = 14


def importance_figure(source: Source, found: Weights) -> Figure | None:
    """Bars, the largest at the top, each with its interval; the note names the method."""
    if not found.weights:
        return None
    rows = list(reversed(found.weights[:MAX_BARS]))
    places = list(range(len(rows)))
    layout: Layout = {
        "xaxis": {"title": title(_axis_title(source, found)), "rangemode": "tozero"},
        "yaxis": {
            "tickmode": "array",
            "tickvals": places,
            "ticktext": [tick(row.title) for row in rows],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
            "range": [-0.6, len(rows) - 0.4],
        },
        "bargap": 0.5,
    }
    if found.method:
        layout["xaxis"]["tickformat"] = ".0%"
    return Figure([_bars(rows, found)], layout, _note(source, found), 90 + 30 * len(rows))


def _bars(rows: list[Weight], found: Weights) -> Trace:
    known = any(row.has_interval for row in rows)
    trace: Trace = {
        "type": "bar",
        "orientation": "h",
        "x": [number(row.share) for row in rows],
        "y": list(range(len(rows))),
        "text": [_text(row, found) for row in rows],
        "textposition": "none" if known else "outside",
        "cliponaxis": False,
        "marker": {"color": [TRIAL if len(row.names) == 1 else "@faint" for row in rows]},
    }
    if known:
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [_beyond(row.high, row.share) for row in rows],
            "arrayminus": [_beyond(row.share, row.low) for row in rows],
            "color": "@ink",
            "thickness": 1.4,
            "width": 4,
        }
    return trace


def _text(row: Weight, found: Weights) -> str:
    if not found.method:
        return f"{row.share:.2g}"
    if not row.has_interval:
        return f"{row.share:.1%}"
    return f"{row.share:.1%} ({row.low:.1%} to {row.high:.1%})"


def _axis_title(source: Source, found: Weights) -> str:
    if found.method:
        return "share, with its 95 % interval" if _has_intervals(found) else "share"
    return f"distance between the best and the worst mean {label(source.record.metric)}"


def _has_intervals(found: Weights) -> bool:
    return any(weight.has_interval for weight in found.weights)


def _note(source: Source, found: Weights) -> str:
    note = coverage(source, source.ranked)
    if not found.method:
        note += " Method: plain means over everything else, which few trials allow; no interval."
        return note
    note += f" Method: {found.method}."
    if found.uncertainty:
        note += f" Interval: {found.uncertainty}."
    left_out = found.weights[MAX_BARS:]
    if left_out:
        note += f" Not drawn: {len(left_out)} with smaller shares."
    if any(len(weight.names) > 1 for weight in found.weights):
        note += " Grey bars are what two explain together beyond their own shares."
    return note


def _beyond(high: float | None, low: float | None) -> float | int | None:
    return 0 if high is None or low is None else number(max(0.0, high - low))
