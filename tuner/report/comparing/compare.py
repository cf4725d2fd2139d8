"""Sides against a baseline: scores, costs at equal score, and whether a difference is real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tuner.errors import InputError, Problem, nearest
from tuner.experiment.trial import TrialState
from tuner.report import words
from tuner.report.comparing.pairing import pairing
from tuner.report.comparing.reach import (
    Configuration,
    Reached,
    common_level,
    configurations,
    cost_at,
    fronts,
    pareto,
    ratios,
    reached,
    sign_of,
)
from tuner.report.comparing.sides import (
    Entry,
    Side,
    Source,
    check_objectives,
    groups,
    value_name,
    whole_experiments,
)
from tuner.report.record import RunRecord
from tuner.report.stats.statistics import (
    Difference,
    Interval,
    judged,
    mean_interval,
    paired,
    unpaired,
)


@dataclass(frozen=True)
class CompareOptions:
    """What a person asked for. Empty and None stand for the defaults."""

    by: str = ""
    baseline: str = ""
    target: float | None = None


@dataclass(frozen=True)
class FrontPoint:
    """A configuration that no other of its side beats with as few parameters."""

    parameters: int
    score: float
    trials: tuple[str, ...]


@dataclass(frozen=True)
class SideSummary:
    """One side in numbers. `costs` are at the target, `ratios` those to the baseline's."""

    name: str
    num_trials: int
    num_configurations: int
    mean: Interval | None
    best: Entry | None
    reached: Reached | None
    costs: Mapping[str, float | None]
    ratios: Mapping[str, float | None]
    front: tuple[FrontPoint, ...]
    stopped: int
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class SideDifference:
    """A side's mean score less the baseline's; `difference` is None where a side has no trial."""

    side: str
    how: str
    unit: str
    without_partner: int
    difference: Difference | None


@dataclass(frozen=True)
class Comparison:
    """Everything that `tuner compare` says.

    `target` is the score at which costs are compared; None where no side has a score. `left_out`
    counts trials that are on no side.
    """

    metric: str
    direction: str
    by: str
    baseline: str
    target: float | None
    target_is_given: bool
    sides: tuple[SideSummary, ...]
    differences: tuple[SideDifference, ...]
    left_out: Mapping[str, int]
    notes: tuple[str, ...]


def compare(sources: Sequence[Source], options: CompareOptions) -> Comparison:
    """Compares experiments, or the groups of their trials, with a baseline.

    Raises:
        InputError: the objectives differ, a name is unknown, or there are not two sides.
    """
    records = [source.record for source in sources]
    check_objectives(records)
    metric, direction = records[0].metric, records[0].direction
    by = value_name(records, options.by) if options.by else ""
    found = groups(sources, by) if by else whole_experiments(sources)
    sides = found.sides
    baseline = _baseline(sides, options.baseline)
    tried = [configurations(side.entries, direction) for side in sides]
    level = _level(tried, options.target, direction)
    names = dict.fromkeys(name for record in records for name in record.value_names)
    return Comparison(
        metric=metric,
        direction=direction,
        by=by,
        baseline=sides[baseline].name,
        target=None if level is None else sign_of(direction) * level,
        target_is_given=options.target is not None,
        sides=_summaries(sides, tried, level, baseline, direction),
        differences=_differences(sides, baseline, [n for n in names if n != by], direction),
        left_out=found.left_out,
        notes=tuple(_notes(records, sides)),
    )


def _baseline(sides: Sequence[Side], wanted: str) -> int:
    if not wanted:
        return 0
    names = [side.name for side in sides]
    if wanted in names:
        return names.index(wanted)
    guess = nearest(wanted, names)
    raise InputError(
        Problem(
            "no side has this name",
            where="--baseline",
            received=words.printable(wanted),
            expected=", ".join(names),
            mend=f"did you mean {guess}?" if guess else "",
        )
    )


def _level(
    tried: Sequence[Sequence[Configuration]], target: float | None, direction: str
) -> float | None:
    return common_level(tried) if target is None else sign_of(direction) * target


def _summaries(
    sides: Sequence[Side],
    tried: Sequence[Sequence[Configuration]],
    level: float | None,
    baseline: int,
    direction: str,
) -> tuple[SideSummary, ...]:
    costs = [_costs(side, level) for side in tried]
    return tuple(
        replace(
            _summary(side, found, level, direction),
            costs=cost,
            ratios=ratios(cost, costs[baseline]),
        )
        for side, found, cost in zip(sides, tried, costs, strict=True)
    )


def _costs(side: Sequence[Configuration], level: float | None) -> dict[str, float | None]:
    return {
        name: None if level is None else cost_at(front, level)
        for name, front in fronts(side).items()
    }


def _summary(
    side: Side, tried: Sequence[Configuration], level: float | None, direction: str
) -> SideSummary:
    sign = sign_of(direction)
    entries = side.entries
    return SideSummary(
        name=side.name,
        num_trials=len(entries),
        num_configurations=len(tried),
        mean=mean_interval([entry.score for entry in entries]) if entries else None,
        # `max` keeps the first of equal ones: the earlier trial.
        best=max(entries, key=lambda entry: sign * entry.score) if entries else None,
        reached=None if level is None else reached(entries, level, direction),
        costs={},
        ratios={},
        front=_front(tried, sign),
        stopped=sum(1 for entry in entries if entry.row.state is TrialState.STOPPED),
        left_out=side.left_out,
    )


def _front(tried: Sequence[Configuration], sign: float) -> tuple[FrontPoint, ...]:
    by_point: dict[tuple[float, float], Configuration] = {}
    for configuration in tried:
        parameters = configuration.entries[0].row.parameters
        if parameters is not None:
            by_point.setdefault((parameters, configuration.score), configuration)
    return tuple(
        FrontPoint(
            int(point[0]),
            sign * point[1],
            tuple(f"{e.experiment}/{e.row.number}" for e in by_point[point].entries),
        )
        for point in pareto(by_point)
    )


def _differences(
    sides: Sequence[Side], baseline: int, names: Sequence[str], direction: str
) -> tuple[SideDifference, ...]:
    others = [side for place, side in enumerate(sides) if place != baseline]
    found = [_difference(side, sides[baseline], names, direction) for side in others]
    together = iter(judged([f.difference for f in found if f.difference is not None]))
    return tuple(
        f if f.difference is None else replace(f, difference=next(together)) for f in found
    )


def _difference(side: Side, baseline: Side, names: Sequence[str], direction: str) -> SideDifference:
    if not side.entries or not baseline.entries:
        empty = baseline if not baseline.entries else side
        return SideDifference(side.name, f"no trial of {empty.name} has a score", "", 0, None)
    pairs = pairing(side, baseline, names)
    test = paired if pairs.is_paired else unpaired
    difference = test(pairs.one, pairs.other, direction=direction)
    return SideDifference(side.name, pairs.how, pairs.unit, pairs.without_partner, difference)


def _notes(records: Sequence[RunRecord], sides: Sequence[Side]) -> list[str]:
    """What makes the sides unequal before any of them was trained."""
    notes = []
    data = [found for record in records if (found := record.environment.get("data"))]
    if any(found != data[0] for found in data):
        notes.append("The experiments were trained or validated on different data.")
    devices = {str(d) for record in records if (d := record.environment.get("device"))}
    if len(devices) > 1:
        named = words.joined(sorted(words.printable(device) for device in devices))
        notes.append(f"Seconds are of different devices: {named}.")
    epochs = {side.name: _most_epochs(side) for side in sides if side.entries}
    if len(set(epochs.values())) > 1:
        listed = words.joined([f"{name} {count}" for name, count in epochs.items()])
        notes.append(f"The longest trials differ in epochs: {listed}.")
    return notes


def _most_epochs(side: Side) -> int:
    return max(entry.row.epochs for entry in side.entries)
