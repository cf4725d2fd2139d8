"""What `tuner confirm` found: test figures of the leaders with intervals, and what holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.experiment.objective import Objective
from tuner.report import format
from tuner.report.render import Style, grid_lines, laid_out, plain, wrapped
from tuner.report.statistics import (
    ALPHA,
    Difference,
    Interval,
    Verdict,
    judged_known,
    paired_by_key,
    score_interval,
)
from tuner.report.table import Column, Table


@dataclass(frozen=True)
class SearchedLeader:
    """A leader as the search saw it: open values, mean score over so many replicates.

    `trials` are their numbers in the ledger of the search.
    """

    values: Mapping[str, Any]
    score: float
    n: int
    trials: tuple[int, ...] = ()


@dataclass(frozen=True)
class LeaderFigures:
    """A leader, best of the search first: its test figures by seed, and against the first.

    `interval` is that of their mean, None without a figure. `missing` counts seeds under which it
    diverged, failed or has not been trained yet.
    """

    searched: SearchedLeader
    test: Mapping[int, float]
    missing: int
    interval: Interval | None
    difference: Difference | None = None

    def value_text(self, name: str) -> str:
        """A searched value for people."""
        values = self.searched.values
        return format.value_text(values[name]) if name in values else format.NOTHING


@dataclass(frozen=True)
class Confirmation:
    """All leaders, in the order of the search. `trials` is how many the search ranked.

    `less_training` says in words by how much less they were trained than in the search: then the
    two scores do not compare. `readings` is how often the test set has been read for this search,
    `mixed_threads` what is said of trials that were trained with different numbers of them.
    """

    name: str
    metric: str
    objective: Objective
    trials: int
    leaders: tuple[LeaderFigures, ...]
    less_training: str = ""
    readings: int = 1
    mixed_threads: str = ""

    def __repr__(self) -> str:
        return to_text(self, width=100)


def confirmation(
    name: str,
    leaders: Sequence[SearchedLeader],
    test: Sequence[Mapping[int, float]],
    *,
    seeds: int,
    metric: str,
    objective: Objective,
    trials: int,
    images: int | None = None,
    less_training: str = "",
    readings: int = 1,
    mixed_threads: str = "",
) -> Confirmation:
    """Compares each leader with the search's first one, pair by pair over the seeds.

    The first one was chosen before the test set was read, so comparing with it favours nobody.
    p-values are Holm-corrected over all comparisons. `metric` is of the test set, `objective` the
    search's. `images` is how many test images there are; the rest is as `Confirmation` has it.
    """
    against_first = (paired_by_key(figures, test[0], objective=objective) for figures in test[1:])
    differences = judged_known([None, *against_first])
    confirmed = tuple(
        LeaderFigures(
            leader,
            figures,
            seeds - len(figures),
            score_interval(list(figures.values()), metric, images) if figures else None,
            difference,
        )
        for leader, figures, difference in zip(leaders, test, differences, strict=True)
    )
    known = (less_training, readings, mixed_threads)
    return Confirmation(name, metric, objective, trials, confirmed, *known)


def sentences(confirmation: Confirmation) -> list[str]:
    """What a person wants to know of it, with numbers."""
    first = confirmation.leaders[0]
    interval = first.interval
    if interval is None:
        return ["The search's best configuration has no test figure."]
    said = [
        f"The search's best scored {format.score_text(first.searched.score)} "
        f"{confirmation.objective.metric}, the best of "
        f"{format.counted(confirmation.trials, 'trial')}; on the test set it reaches {interval} "
        f"{confirmation.metric} over {format.counted(interval.n, 'seed')}.",
        _optimism(confirmation, first.searched.score, interval),
    ]
    compared = [leader.difference for leader in confirmation.leaders if leader.difference]
    if compared:
        said.append(_what_holds(compared))
    missing = sum(leader.missing for leader in confirmation.leaders)
    if missing:
        said.append(f"{format.counted(missing, 'trial')} of these diverged, failed or are not run.")
    if confirmation.readings > 1:
        said.append(readings_text(confirmation.readings))
    return [*said, *filter(None, [confirmation.mixed_threads])]


def readings_text(readings: int) -> str:
    """What more than one reading of the test set means for its figures."""
    return (
        f"The test set has been read {readings} times for this search, with other settings: what "
        "was seen before may have guided the choice, so only the first figures are unbiased."
    )


def _optimism(confirmation: Confirmation, searched: float, interval: Interval) -> str:
    if confirmation.less_training:
        return f"The two scores are not comparable: here it trained {confirmation.less_training}."
    gap = confirmation.objective.gain(searched - interval.mean)
    size = format.score_text(abs(gap))
    if interval.n < 2:
        return f"That is {size} {'worse' if gap > 0 else 'better'}, under a single seed."
    if interval.low <= searched <= interval.high:
        return f"The search's figure was about right: {size} is within the interval."
    word = "too optimistic" if gap > 0 else "too modest: it trained on fewer images, or held back"
    return f"The search's figure was {size} {word}."


def _what_holds(compared: Sequence[Difference]) -> str:
    verdicts = [difference.verdict for difference in compared]
    texts = {
        Verdict.WORSE: "worse than it",
        Verdict.BETTER: "better than it",
        Verdict.NOISE: "not to be told from it",
        Verdict.UNDECIDABLE: f"not decidable with {compared[0].n} seeds",
    }
    counts = {verdict: verdicts.count(verdict) for verdict in texts}
    told = format.joined([f"{counts[v]} {text}" for v, text in texts.items() if counts[v]])
    # The fewest seeds with which the sign-flip test can reach 0.05 in so many comparisons.
    enough = math.ceil(math.log2(2 * len(compared) / ALPHA))
    more = f"; {enough} seeds could decide" if counts[Verdict.UNDECIDABLE] else ""
    return f"Of the other {len(compared)}: {told} (paired by seed, Holm-corrected){more}."


def to_text(confirmation: Confirmation, width: int, style: Style = plain) -> str:
    """A line per leader, then what holds, at most `width` wide."""
    leaders = confirmation.leaders
    searched = dict.fromkeys(name for leader in leaders for name in leader.searched.values)
    short = format.short_names(searched)
    names = [n for n in short if len({leader.value_text(n) for leader in leaders}) > 1]
    # Values for which there is no room have lines of their own.
    columns = (
        Column("place", ""),
        *(Column(name, short[name], rank=1) for name in names),
        *(Column(head, head) for head in ("search", "n", confirmation.metric, "n")),
        Column("against", "against the best", numeric=False),
    )
    rows = (tuple(_cells(i, leader, names)) for i, leader in enumerate(leaders, start=1))
    table = Table("", columns, tuple(rows))
    shown = laid_out(table, width)
    title = f"{format.printable(confirmation.name)}: the search's best on the test set"
    lines = [style(title, "title"), "", *grid_lines(table, width=width, style=style, rule=False)]
    below = sentences(confirmation)
    if same := [f"{short[n]} {leaders[0].value_text(n)}" for n in short if n not in names]:
        below.insert(0, f"The same in all: {', '.join(same)}")
    if hidden := [name for place, name in enumerate(names, start=1) if place not in shown]:
        lines += ["", *_lines_of_values(leaders, hidden, short, width)]
    for sentence in below:
        lines += ["", *wrapped(sentence, width)]
    return "\n".join(lines) + "\n"


def _lines_of_values(
    leaders: Sequence[LeaderFigures], names: Sequence[str], short: Mapping[str, str], width: int
) -> Iterator[str]:
    """A line per leader: values that are too many for the width beside the figures."""
    for place, leader in enumerate(leaders, start=1):
        values = (f"{short[name]} {leader.value_text(name)}" for name in names)
        yield from wrapped(f"{place}  {', '.join(values)}", width, indent="   ")


def _cells(place: int, leader: LeaderFigures, names: Sequence[str]) -> list[str]:
    interval, difference = leader.interval, leader.difference
    against = "the search's best" if place == 1 else format.NOTHING
    if difference is not None:
        is_open = difference.verdict is Verdict.UNDECIDABLE
        against = f"{difference.mean:+.4f}  {'too few seeds' if is_open else difference.told()}"
    return [
        str(place),
        *(leader.value_text(name) for name in names),
        format.score_text(leader.searched.score),
        str(leader.searched.n),
        format.NOTHING if interval is None else str(interval),
        str(len(leader.test)),
        against,
    ]


def to_json(confirmation: Confirmation) -> dict[str, Any]:
    """Plain values with stable keys."""
    return {
        "experiment": confirmation.name,
        "metric": confirmation.metric,
        "searched_metric": confirmation.objective.metric,
        "direction": confirmation.objective.direction,
        "trials": confirmation.trials,
        "less_training": confirmation.less_training,
        "test_readings": confirmation.readings,
        "leaders": [_leader_json(leader) for leader in confirmation.leaders],
        "sentences": sentences(confirmation),
    }


def _leader_json(leader: LeaderFigures) -> dict[str, Any]:
    interval, difference = leader.interval, leader.difference
    return {
        "values": dict(leader.searched.values),
        "searched_score": leader.searched.score,
        "searched_n": leader.searched.n,
        "trials": list(leader.searched.trials),
        "test": {str(seed): value for seed, value in leader.test.items()},
        "test_mean": interval and interval.mean,
        "test_interval": interval and _ends(interval),
        "missing": leader.missing,
        "difference": difference
        and {
            "n": difference.n,
            "mean": difference.mean,
            "interval": _ends(difference.interval),
            "p": difference.p_adjusted,
            "verdict": difference.told(),
        },
    }


def _ends(interval: Interval) -> list[float] | None:
    return [interval.low, interval.high] if interval.is_bounded else None
