"""What `tuner confirm` has left beside an experiment: read with care, then drawn and listed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.report import format
from tuner.report.page import drawing as draw
from tuner.report.page.drawing import Figure, Layout
from tuner.report.page.html import clean, label, shortened

CONFIRMED = Path("confirm") / "confirmation.json"
"""The document's place in the folder of the experiment that was searched."""

_DAMAGE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip
_LONGEST = 1_000_000  # characters; a real one has some thousands
_MOST_LEADERS = 100
_MOST_SENTENCES = 10
_LONGEST_NAME = 44


@dataclass(frozen=True)
class ConfirmedLeader:
    """A configuration on the test set. `test` holds its seeds' figures, `low` and `high` the 95 %
    interval of their mean; `verdict` is against the search's best, and empty for that itself.
    """

    values: Mapping[str, Any]
    searched: float
    searched_n: int
    test: tuple[tuple[str, float], ...]
    mean: float | None
    low: float | None
    high: float | None
    difference: float | None
    verdict: str

    @property
    def mean_text(self) -> str:
        """The mean and the half width of its interval."""
        if self.mean is None or self.low is None or self.high is None:
            return format.score_text(self.mean)
        return f"{format.score_text(self.mean)} ± {format.score_text((self.high - self.low) / 2)}"

    def text_of(self, name: str) -> str:
        """A value as people read it."""
        return format.value_text(self.values[name]) if name in self.values else format.NOTHING


@dataclass(frozen=True)
class Confirmed:
    """All leaders, in the order of the search, and what it means in sentences."""

    metric: str
    searched_metric: str
    leaders: tuple[ConfirmedLeader, ...]
    sentences: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """What tells the leaders apart: their places, and the values in which they differ."""
        every = dict.fromkeys(name for leader in self.leaders for name in leader.values)
        short = format.short_names(every)
        differing = [n for n in every if len({leader.text_of(n) for leader in self.leaders}) > 1]
        named = []
        for place, leader in enumerate(self.leaders, start=1):
            parts = [
                f"{'' if short[n] == 'family' else short[n] + ' '}{leader.text_of(n)}"
                for n in differing
                if n in leader.values
            ]
            named.append(clean(f"{place}: {', '.join(parts)}" if parts else str(place)))
        return named


def read_confirmed(path: Path, name: str) -> Confirmed | None:
    """The document of an experiment of this name; None where it is missing, damaged or foreign."""
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if len(text) <= _LONGEST else None
        if not isinstance(document, dict) or document["experiment"] != name:
            return None
        leaders = tuple(_leader(entry) for entry in document["leaders"][:_MOST_LEADERS])
        sentences = tuple(clean(str(said)) for said in document["sentences"][:_MOST_SENTENCES])
        metric, searched = clean(str(document["metric"])), clean(str(document["searched_metric"]))
    except _DAMAGE:
        return None
    if not any(leader.test for leader in leaders):
        return None
    return Confirmed(metric, searched, leaders, sentences)


def _leader(entry: Mapping[str, Any]) -> ConfirmedLeader:
    test = tuple((clean(str(seed)), _finite(score)) for seed, score in entry["test"].items())
    ends = entry["test_interval"]
    low, high = (None, None) if ends is None else (_finite(ends[0]), _finite(ends[1]))
    difference = entry["difference"]
    return ConfirmedLeader(
        {str(name): value for name, value in entry["values"].items()},
        _finite(entry["searched_score"]),
        int(entry["searched_n"]),
        test,
        _finite(entry["test_mean"]) if test else None,
        low,
        high,
        None if difference is None else _finite(difference["mean"]),
        "" if difference is None else clean(str(difference["verdict"])),
    )


def _finite(value: Any) -> float:
    """Raises ValueError for what is no finite number."""
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r:.80} is no number")
    return float(value)


# ---------------------------------------------------------------------- the table


def confirmed_heads(confirmed: Confirmed) -> tuple[str, ...]:
    """What stands above each of the texts of a row."""
    searched, tested = confirmed.searched_metric, confirmed.metric
    return ("configuration", searched, "n", tested, "n", "against the best")


def confirmed_rows(confirmed: Confirmed) -> list[tuple[str, ...]]:
    """A row for each leader."""
    return [
        (
            name,
            format.score_text(leader.searched),
            str(leader.searched_n),
            leader.mean_text,
            str(len(leader.test)),
            "the search's best" if place == 0 else _against(leader),
        )
        for place, (name, leader) in enumerate(zip(confirmed.names, confirmed.leaders, strict=True))
    ]


def _against(leader: ConfirmedLeader) -> str:
    if leader.difference is None:
        return format.NOTHING
    sign = "+" if leader.difference > 0 else ""
    return f"{sign}{format.score_text(leader.difference)}: {leader.verdict}"


# ---------------------------------------------------------------------- the figure


def confirmed_figure(confirmed: Confirmed) -> Figure:
    """A row for each leader, the search's best at the top, from its search score to its test mean.

    The line between the two is the search's optimism; small points are the seeds.
    """
    rows = list(enumerate(reversed(confirmed.leaders)))
    known = [(place, leader) for place, leader in rows if leader.mean is not None]
    seeds = [(place, seed, score) for place, one in known for seed, score in one.test]
    metric, searched, text = confirmed.metric, confirmed.searched_metric, format.score_text
    traces = [
        draw.lines(
            (x for _, one in known for x in (one.searched, one.mean, None)),
            (y for place, _ in known for y in (place, place, None)),
            {"color": draw.FAINT, "width": 2},
            hoverinfo="skip",
            showlegend=False,
        ),
        draw.points(
            (score for _, _, score in seeds),
            (place - 0.2 for place, _, _ in seeds),
            {"color": draw.TRIAL, "size": 6, "opacity": 0.55},
            text=[f"seed {seed}: {text(score)}" for _, seed, score in seeds],
            name="a seed on the test set",
        ),
        draw.points(
            (one.mean for _, one in known),
            (place for place, _ in known),
            {"color": draw.BEST, "size": 11, "symbol": "diamond"},
            text=[_mean_text(one, metric) for _, one in known],
            error_x=draw.whiskers(
                (draw.reach(one.high, one.mean) for _, one in known),
                (draw.reach(one.mean, one.low) for _, one in known),
                color=draw.BEST,
            ),
            name="mean on the test set",
        ),
        draw.points(
            (one.searched for _, one in rows),
            (place for place, _ in rows),
            {"color": draw.INK, "size": 10, "symbol": "circle-open", "line": {"width": 2}},
            text=[f"search: {searched} {text(one.searched)}" for _, one in rows],
            name="score in the search",
        ),
    ]
    layout: Layout = {
        "xaxis": draw.titled(label(f"{searched}, {metric}")),
        "yaxis": draw.names_axis([str(len(rows) - place) for place, _ in rows], air=0.8),
        "annotations": [_name(place, name) for place, name in enumerate(confirmed.names[::-1])],
        "showlegend": True,
    }
    return Figure(traces, layout, _note(confirmed.leaders), 130 + 56 * len(rows))


def _mean_text(leader: ConfirmedLeader, metric: str) -> str:
    verdict = f"; {leader.verdict}" if leader.verdict else ""
    return f"{metric} {leader.mean_text}, n = {len(leader.test)}{verdict}"


def _name(place: int, name: str) -> Layout:
    """Above its line rather than beside it, where a name of values has no room."""
    return {
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "y": place + 0.36,
        "text": label(shortened(name.partition(": ")[2], _LONGEST_NAME)),
        "showarrow": False,
        "font": {"color": draw.MUTED, "size": 11.5},
    }


def _note(leaders: Sequence[ConfirmedLeader]) -> str:
    counts = {len(leader.test) for leader in leaders}
    up_to = "" if len(counts) == 1 else "up to "
    return (
        f"{format.counted(len(leaders), 'configuration')}, each under {up_to}"
        f"{format.counted(max(counts), 'seed')} that the search never saw, trained anew. A diamond "
        "is the mean over the seeds with its 95 % interval; differences from the search's best "
        "are paired by seed and Holm-corrected."
    )
