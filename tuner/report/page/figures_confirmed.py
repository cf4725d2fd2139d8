"""The search's leaders on the test set: each seed, their mean, and what the search had promised."""

from __future__ import annotations

from tuner.report import words
from tuner.report.page.confirmed import Confirmed, Leader, names_of
from tuner.report.page.figure import BEST, Figure, Layout, Trace, title
from tuner.report.page.text import label, number, numbers

_LONGEST_NAME = 44


def confirmed_figure(found: Confirmed) -> Figure:
    """A row for each leader, the search's best at the top, from its search score to its test mean.

    The line between the two is the search's optimism.
    """
    rows = list(enumerate(reversed(found.leaders)))
    names = list(reversed(names_of(found)))
    known = [(place, leader) for place, leader in rows if leader.mean is not None]
    layout: Layout = {
        "xaxis": {"title": title(label(f"{found.searched_metric}, {found.metric}"))},
        "yaxis": {
            "tickmode": "array",
            "tickvals": [place for place, _ in rows],
            "ticktext": [str(len(rows) - place) for place, _ in rows],
            "range": [-0.6, len(rows) - 0.2],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
        "annotations": [_name(place, name) for place, name in enumerate(names)],
        "showlegend": True,
        "hovermode": "closest",
    }
    traces = [_lines(known), _seeds(known), _means(known, found), _searched(rows, found)]
    return Figure(traces, layout, _note(found), 130 + 56 * len(rows))


def _name(place: int, name: str) -> Layout:
    """Above its line rather than beside it, where a name of values has no room."""
    values = name.partition(": ")[2]
    short = values if len(values) <= _LONGEST_NAME else values[: _LONGEST_NAME - 1] + "…"
    return {
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "y": place + 0.36,
        "text": label(short),
        "showarrow": False,
        "font": {"color": "@muted", "size": 11.5},
    }


def _note(found: Confirmed) -> str:
    counts = {len(leader.test) for leader in found.leaders}
    seeds = words.counted(max(counts), "seed")
    each = f"each under {seeds}" if len(counts) == 1 else f"each under up to {seeds}"
    return (
        f"{words.counted(len(found.leaders), 'configuration')}, {each} that the search never saw, "
        "trained anew. A diamond is the mean over the seeds with its 95 % interval; differences "
        "from the search's best are paired by seed and Holm-corrected."
    )


def _lines(known: list[tuple[int, Leader]]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for _, one in known for x in (number(one.searched), number(one.mean), None)],
        "y": [y for place, _ in known for y in (place, place, None)],
        "line": {"color": "@faint", "width": 2},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _seeds(known: list[tuple[int, Leader]]) -> Trace:
    scores = [(place, seed, score) for place, one in known for seed, score in one.test]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(score for _, _, score in scores),
        "y": [place - 0.2 for place, _, _ in scores],
        "text": [f"seed {seed}: {words.score_text(score)}" for _, seed, score in scores],
        "marker": {"color": "@trial", "size": 6, "opacity": 0.55},
        "name": "a seed on the test set",
    }


def _means(known: list[tuple[int, Leader]], found: Confirmed) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(one.mean for _, one in known),
        "y": [place for place, _ in known],
        "text": [_mean_text(one, found.metric) for _, one in known],
        "marker": {"color": BEST, "size": 11, "symbol": "diamond"},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [_reach(one.high, one.mean) for _, one in known],
            "arrayminus": [_reach(one.mean, one.low) for _, one in known],
            "color": BEST,
            "thickness": 1.8,
            "width": 5,
        },
        "name": "mean on the test set",
    }


def _searched(rows: list[tuple[int, Leader]], found: Confirmed) -> Trace:
    metric = found.searched_metric
    return {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(one.searched for _, one in rows),
        "y": [place for place, _ in rows],
        "text": [f"search: {metric} {words.score_text(one.searched)}" for _, one in rows],
        "marker": {"color": "@ink", "size": 10, "symbol": "circle-open", "line": {"width": 2}},
        "name": "score in the search",
    }


def _mean_text(one: Leader, metric: str) -> str:
    verdict = f"; {one.verdict}" if one.verdict else ""
    return f"{metric} {mean_text(one)}, n = {len(one.test)}{verdict}"


def mean_text(one: Leader) -> str:
    """The mean and the half width of its interval."""
    if one.mean is None or one.low is None or one.high is None:
        return words.score_text(one.mean)
    return f"{words.score_text(one.mean)} ± {words.score_text((one.high - one.low) / 2)}"


def _reach(high: float | None, low: float | None) -> float | int | None:
    return 0 if high is None or low is None else number(max(0.0, high - low))
