"""Several experiments side by side: all scores of each, so that best and typical are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.report import words
from tuner.report.page.figure import BEST, TRIAL, Figure, Layout, Trace, title
from tuner.report.page.source import Source
from tuner.report.page.text import label, number, numbers, tick

_MAX_POINTS = 500  # an experiment
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Scores:
    """An experiment's scores, best first; of very many, evenly chosen over their ranks."""

    name: str
    scores: tuple[float, ...]
    num_ranked: int


def scores_of(source: Source, most: int = _MAX_POINTS) -> Scores:
    """What one column of the figure shows."""
    scores = [row.score for row in source.ranked if row.score is not None]
    if len(scores) > most:
        chosen = [scores[round(i * (len(scores) - 1) / (most - 1))] for i in range(most)]
    else:
        chosen = scores
    return Scores(source.record.name, tuple(chosen), len(scores))


def scores_figure(found: Sequence[Scores], metric: str) -> Figure | None:
    """A column of points for each experiment, its best on top and its middle half as a box."""
    if not any(one.scores for one in found):
        return None
    traces: list[Trace] = []
    for place, one in enumerate(found):
        if one.scores:
            traces += [_box(place, one), _points(place, one), _best(place, one)]
    layout: Layout = {
        "xaxis": {
            "tickmode": "array",
            "tickvals": list(range(len(found))),
            "ticktext": [tick(one.name) for one in found],
            "range": [-0.6, len(found) - 0.4],
            "showgrid": False,
            "zeroline": False,
        },
        "yaxis": {"title": title(label(metric))},
        "hovermode": "closest",
    }
    parts = [f"{words.printable(one.name)} {one.num_ranked:,}" for one in found]
    note = f"Ranked trials: {', '.join(parts)}. Boxes hold the middle half, lines are medians."
    return Figure(traces, layout, note, 380)


def _points(place: int, one: Scores) -> Trace:
    spread = [(i * _GOLDEN) % 1.0 - 0.5 for i in range(len(one.scores))]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [number(place + 0.44 * share) for share in spread],
        "y": numbers(one.scores),
        "text": [words.score_text(score) for score in one.scores],
        "marker": {"color": TRIAL, "size": 6, "opacity": 0.55},
    }


def _best(place: int, one: Scores) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [place],
        "y": [number(one.scores[0])],
        "text": [words.score_text(one.scores[0])],
        "textposition": "top center",
        "textfont": {"color": "@ink", "size": 13},
        "marker": {"color": BEST, "size": 14, "symbol": "star"},
        "cliponaxis": False,
    }


def _box(place: int, one: Scores) -> Trace:
    return {
        "type": "box",
        "x": [place] * len(one.scores),
        "y": numbers(one.scores),
        "boxpoints": False,
        "width": 0.6,
        "line": {"color": "@muted", "width": 1.2},
        "fillcolor": "@veil",
        "hoverinfo": "skip",
    }
