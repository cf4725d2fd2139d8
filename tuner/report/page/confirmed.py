"""What `tuner confirm` has left beside an experiment: read with care, then drawn and listed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, FiniteFloat, ValidationError

from tuner.ledger.folder import CONFIRMATION
from tuner.report import format
from tuner.report.page import drawing as draw
from tuner.report.page.drawing import Figure, Layout
from tuner.report.page.html import clean, label, numbers, shortened
from tuner.report.statistics import Interval

CONFIRMED = Path(CONFIRMATION) / "confirmation.json"
"""The document's place in the folder of the experiment that was searched."""

_LONGEST = 1_000_000  # characters; a real one has some thousands
_LONGEST_NAME = 44


Text = Annotated[str, AfterValidator(clean)]
_STRICT = ConfigDict(frozen=True, strict=True)


class TestedDifference(BaseModel):
    """From the search's best, as `confirmation.to_json` writes it."""

    model_config = _STRICT

    mean: FiniteFloat
    verdict: Text


class ConfirmedLeader(BaseModel):
    """A configuration on the test set: figures by seed, and the 95 % interval of their mean.

    `difference` is from the search's best, and None for that itself. `trials` are the numbers that
    it had in the search; older documents do not say them.
    """

    model_config = _STRICT

    values: dict[str, Any]
    searched_score: FiniteFloat
    searched_n: int
    trials: list[int] = []
    test: dict[Text, FiniteFloat]
    test_mean: FiniteFloat | None
    test_interval: tuple[FiniteFloat, FiniteFloat] | None
    difference: TestedDifference | None

    @property
    def mean_text(self) -> str:
        """The mean and its interval."""
        if self.test_interval is None or self.test_mean is None:
            return format.score_text(self.test_mean)
        return str(Interval(self.test_mean, *self.test_interval, len(self.test)))

    @property
    def arms(self) -> tuple[float, float]:
        """How far the interval reaches above and below the mean."""
        low, high = self.test_interval or (None, None)
        return draw.arm(high, self.test_mean), draw.arm(self.test_mean, low)

    def text_of(self, name: str) -> str:
        """A value as people read it."""
        return format.value_text(self.values[name]) if name in self.values else format.NOTHING


class Confirmed(BaseModel):
    """All leaders, in the order of the search, and what it means in sentences."""

    model_config = _STRICT

    experiment: str
    metric: Text
    searched_metric: Text
    leaders: list[ConfirmedLeader]
    sentences: list[Text]

    def still_holds(self, metric: str, current: Collection[int]) -> bool:
        """Whether the search still has this objective, and its leaders are current trials of it."""
        numbers = {number for leader in self.leaders for number in leader.trials}
        return self.searched_metric == metric and numbers.issubset(current)

    @property
    def names(self) -> list[str]:
        """What tells the leaders apart: their places, and the values in which they differ."""
        return self._named(self._differing)

    @property
    def short_names(self) -> list[str]:
        """The same with as few values as tell all of them apart, for places with little room."""
        return self._named(self._telling)

    @property
    def _every(self) -> dict[str, None]:
        return dict.fromkeys(name for leader in self.leaders for name in leader.values)

    @property
    def _differing(self) -> list[str]:
        return [n for n in self._every if len({leader.text_of(n) for leader in self.leaders}) > 1]

    @property
    def _telling(self) -> list[str]:
        """One name after the other, always that with which most leaders differ from all others."""
        chosen: list[str] = []
        rest = self._differing
        while rest and self._num_told_apart(chosen) < self._num_told_apart(self._differing):
            chosen.append(max(rest, key=lambda name: self._num_told_apart([*chosen, name])))
            rest = [name for name in rest if name not in chosen]
        return [name for name in self._differing if name in chosen]

    def _num_told_apart(self, names: Sequence[str]) -> int:
        return len({tuple(map(leader.text_of, names)) for leader in self.leaders})

    def _named(self, names: Sequence[str]) -> list[str]:
        short = format.short_names(self._every)
        named = []
        for place, leader in enumerate(self.leaders, start=1):
            parts = [
                f"{'' if short[n] == 'family' else short[n] + ' '}{leader.text_of(n)}"
                for n in names
                if n in leader.values
            ]
            named.append(clean(f"{place}: {', '.join(parts)}" if parts else str(place)))
        return named


def read_confirmed(path: Path, names: Collection[str]) -> Confirmed | None:
    """The document of an experiment that has or had one of these names; None where it is missing,
    damaged or foreign.
    """
    try:
        text = path.read_text(encoding="utf-8")
        confirmed = Confirmed.model_validate_json(text if len(text) <= _LONGEST else "")
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    has_figures = any(leader.test for leader in confirmed.leaders)
    return confirmed if confirmed.experiment in names and has_figures else None


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
            format.score_text(leader.searched_score),
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
    return f"{format.signed_text(leader.difference.mean)}: {leader.difference.verdict}"


# ---------------------------------------------------------------------- the figure


def confirmed_figure(confirmed: Confirmed) -> Figure:
    """A row for each leader, the search's best at the top, from its search score to its test mean.

    The line between the two is the search's optimism; small points are the seeds.
    """
    rows = list(enumerate(reversed(confirmed.leaders)))
    known = [(place, leader) for place, leader in rows if leader.test]
    seeds = [(place, seed, score) for place, leader in known for seed, score in leader.test.items()]
    metric, searched, text = confirmed.metric, confirmed.searched_metric, format.score_text
    traces = [
        draw.lines(
            (x for _, leader in known for x in (leader.searched_score, leader.test_mean, None)),
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
            (leader.test_mean for _, leader in known),
            (place for place, _ in known),
            {"color": draw.BEST, "size": 11, "symbol": "diamond"},
            text=[_mean_text(leader, metric) for _, leader in known],
            error_x=draw.whiskers(
                (leader.arms[0] for _, leader in known),
                (leader.arms[1] for _, leader in known),
                color=draw.BEST,
            ),
            name="mean on the test set",
        ),
        draw.points(
            (leader.searched_score for _, leader in rows),
            (place for place, _ in rows),
            {"color": draw.INK, "size": 10, "symbol": "circle-open", "line": {"width": 2}},
            text=[
                _with_values(leader, f"search: {searched} {text(leader.searched_score)}")
                for _, leader in rows
            ],
            name="score in the search",
        ),
    ]
    layout: Layout = {
        "xaxis": draw.titled(label(f"{searched}, {metric}"), range=_range(confirmed)),
        "yaxis": draw.names_axis([str(len(rows) - place) for place, _ in rows], air=0.8),
        "annotations": [_name(i, name) for i, name in enumerate(confirmed.short_names[::-1])],
        "showlegend": True,
    }
    return Figure(traces, layout, _note(confirmed.leaders), 130 + 56 * len(rows))


def _range(confirmed: Confirmed) -> list[float | int | None]:
    """All that is drawn with some air, but for values that there are not: accuracies below 0."""
    leaders = confirmed.leaders
    seen = [score for one in leaders for score in (one.searched_score, *one.test.values())]
    tested = [one for one in leaders if one.test_mean is not None]
    ends = [(one.test_mean or 0.0) + one.arms[0] for one in tested]
    ends += [(one.test_mean or 0.0) - one.arms[1] for one in tested]
    low, high = min([*seen, *ends]), max([*seen, *ends])
    air = 0.06 * (high - low) or 0.05
    floor, ceiling = draw.possible(confirmed.metric, seen)
    return numbers((max(floor, low - air), min(ceiling, high + air)))


def _mean_text(leader: ConfirmedLeader, metric: str) -> str:
    verdict = f"; {leader.difference.verdict}" if leader.difference else ""
    return _with_values(leader, f"{metric} {leader.mean_text}, n = {len(leader.test)}{verdict}")


def _with_values(leader: ConfirmedLeader, text: str) -> str:
    """What is written when one points at it: all its values, of which the figure shows a few."""
    return clean(f"{text}; {format.values_text(leader.values)}" if leader.values else text)


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
        f"{format.counted(max(counts), 'seed')} that the search never saw. A diamond "
        "is the mean over the seeds with its 95 % interval; differences from the search's best "
        "are paired by seed and Holm-corrected."
    )
