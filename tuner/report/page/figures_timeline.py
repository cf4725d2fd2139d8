"""The time line: which worker trained which trial when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tuner.experiment.trial import TrialState
from tuner.report import words
from tuner.report.page.clock import Stretch, stretches
from tuner.report.page.figure import BEST, STATE_COLORS, Figure, Layout, Trace, coverage
from tuner.report.page.source import Source

_STATES = (TrialState.COMPLETED, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED)


@dataclass(frozen=True)
class Timeline:
    """Stretches of ended trials, and the workers in the order of their numbers.

    `busy` is the share of the time between the first start and the last end in which a worker had
    a trial, over all workers.
    """

    stretches: tuple[Stretch, ...]
    workers: tuple[int, ...]
    busy: float


def timeline_of(source: Source) -> Timeline:
    """Who was busy when; of a trial that was tried again, the last attempt."""
    found = tuple(stretch for stretch in stretches(source) if stretch.row.worker is not None)
    workers = tuple(sorted({s.row.worker for s in found if s.row.worker is not None}))
    if not found:
        return Timeline((), (), 0.0)
    span = max(s.end for s in found) - min(s.start for s in found)
    worked = sum(s.end - s.start for s in found)
    return Timeline(found, workers, worked / (span * len(workers)) if span > 0 else 1.0)


def timeline_figure(source: Source, found: Timeline) -> Figure | None:
    """A bar for each trial, coloured by how it ended; the part that compiled is lighter."""
    if not found.stretches:
        return None
    others = [s for s in found.stretches if not source.is_best(s.row)]
    traces = [_bars([s for s in others if s.row.state is state], state) for state in _STATES]
    traces.append(_named([s for s in found.stretches if source.is_best(s.row)], "best trial", BEST))
    traces.append(_compiling(found.stretches))
    rows = {f"worker {worker}": None for worker in found.workers}
    layout: Layout = {
        "xaxis": {"type": "date"},
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": list(reversed(rows)),
            "showgrid": False,
            "automargin": True,
        },
        "barmode": "overlay",
        "bargap": 0.35,
        "showlegend": True,
        "hovermode": "closest",
    }
    note = coverage(source, [stretch.row for stretch in found.stretches])
    note += f" Times are in UTC. Workers were busy {found.busy:.0%} of the time."
    height = min(620, 150 + 34 * len(found.workers))
    return Figure([trace for trace in traces if trace["x"]], layout, note, height)


def _bars(chosen: Sequence[Stretch], state: TrialState) -> Trace:
    return _named(chosen, words.state_word(state), STATE_COLORS[state])


def _named(chosen: Sequence[Stretch], name: str, color: str) -> Trace:
    few = len(chosen) <= 150  # else the gaps between bars would hide the bars
    return {
        "type": "bar",
        "orientation": "h",
        "base": [_iso(stretch.start) for stretch in chosen],
        "x": [round((stretch.end - stretch.start) * 1000) for stretch in chosen],
        "y": [f"worker {stretch.row.worker}" for stretch in chosen],
        "customdata": [stretch.row.number for stretch in chosen],
        "marker": {"color": color, "line": {"color": "@paper", "width": 1 if few else 0.3}},
        "name": name,
    }


def _compiling(chosen: Sequence[Stretch]) -> Trace:
    """The first part of a trial; a program that is compiled already costs nothing."""
    compiled = [s for s in chosen if (s.row.compile_seconds or 0) >= 0.02 * (s.end - s.start) > 0]
    return {
        "type": "bar",
        "orientation": "h",
        "base": [_iso(stretch.start) for stretch in compiled],
        "x": [
            round(min(stretch.row.compile_seconds or 0.0, stretch.end - stretch.start) * 1000)
            for stretch in compiled
        ],
        "y": [f"worker {stretch.row.worker}" for stretch in compiled],
        "customdata": [stretch.row.number for stretch in compiled],
        "marker": {
            "color": "@compiling",
            "line": {"width": 0},
            "pattern": {"shape": "/", "size": 5, "solidity": 0.35, "fgcolor": "@ink"},
        },
        "name": "of which compiling",
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
