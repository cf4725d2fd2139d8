"""Sides against a baseline: scores, costs at equal score, and whether a difference is real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tuner.errors import InputError, Problem, nearest
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.threads import mixed_threads
from tuner.report import format, notebook, render
from tuner.report.comparison_tables import sections
from tuner.report.cost_at_score import (
    Costs,
    SeededConfiguration,
    TrialsAtScore,
    common_level,
    configurations,
    costs_at,
    pareto,
    ratios,
    trials_at,
)
from tuner.report.record import RunRecord
from tuner.report.sides import (
    ComparedExperiment,
    ScoredTrial,
    Side,
    SideDifference,
    check_objectives,
    data_differences,
    groups,
    side_difference,
    whole_experiments,
)
from tuner.report.statistics import Interval, judged_known, score_interval
from tuner.report.trial_fields import value_name


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
class SideSummary(Side):
    """One side in numbers. `costs` are at the target, `ratios` those to the baseline's.

    `metric` is what its scores are, `num_images` how many images they were measured on.
    """

    metric: str
    num_images: int | None
    tried: tuple[SeededConfiguration, ...]
    best: ScoredTrial | None
    reached: TrialsAtScore | None
    costs: Costs
    ratios: Costs
    front: tuple[FrontPoint, ...]

    @property
    def mean(self) -> Interval | None:
        """The mean score with its interval; None without a trial."""
        if not self.entries:
            return None
        return score_interval([e.score for e in self.entries], self.metric, self.num_images)

    @property
    def mean_text(self) -> str:
        """`0.9012 ± 0.0034`, or `–`."""
        return str(self.mean or format.NOTHING)

    @property
    def stopped(self) -> int:
        """How many of its trials a rule has stopped."""
        return sum(entry.row.state is TrialState.STOPPED for entry in self.entries)


@dataclass(frozen=True)
class Comparison:
    """Everything that `tuner compare` says.

    `target` is the score at which costs are compared; None where no side has a score. `left_out`
    counts trials that are on no side. `incomparable` says why scores of some sides are not of the
    same images; then nothing is claimed of those, and no side is best.
    """

    objective: Objective
    by: str
    baseline: str
    target: float | None
    target_is_given: bool
    sides: tuple[SideSummary, ...]
    differences: tuple[SideDifference, ...]
    left_out: Mapping[str, int]
    incomparable: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def metric(self) -> str:
        """The objective's metric, safe to print."""
        return format.printable(self.objective.metric)

    @property
    def head(self) -> str:
        """What sides are called: the value that sets them apart."""
        return format.printable(self.by.rpartition(".")[2]) if self.by else "side"

    @property
    def others(self) -> list[SideSummary]:
        """The sides that are compared with the baseline."""
        return [side for side in self.sides if side.name != self.baseline]

    @property
    def top_score(self) -> float | None:
        """The best score of all; None where sides do not compare."""
        scores = [side.best.score for side in self.sides if side.best]
        return None if self.incomparable else self.objective.best(scores)

    def __repr__(self) -> str:
        return render.to_text(*sections(self), width=100)

    def _repr_html_(self) -> str:
        return notebook.to_html(*sections(self))

    def named(self, side: str) -> str:
        """A side in a sentence: `resnet-grid`, or `depth 20`."""
        return f"{self.head} {side}" if self.by else side


def compare(compared: Sequence[ComparedExperiment], options: CompareOptions) -> Comparison:
    """Compares experiments, or the groups of their trials, with a baseline.

    Experiments whose scores are of other images than the baseline's are shown beside it, but
    neither tested against it nor set in relation to its costs.

    Raises:
        InputError: the objectives differ, a name is unknown, or there are not two sides.
    """
    records = [experiment.record for experiment in compared]
    check_objectives(records)
    objective = records[0].objective
    by = value_name(records, options.by) if options.by else ""
    made = groups(compared, by) if by else whole_experiments(compared)
    baseline = _baseline(made.sides, options.baseline)
    others = {} if by else _other_data(records, baseline)
    tried = [configurations(side.entries, objective) for side in made.sides]
    level = None if others else common_level(tried)
    if options.target is not None:
        level = objective.gain(options.target)
    costs = [costs_at(configurations, level) for configurations in tried]
    summaries = (
        SideSummary(
            **vars(side),
            metric=objective.metric,
            num_images=(records[0] if by else records[place]).num_images,
            tried=tuple(tried[place]),
            # The earlier of equal ones.
            best=max(side.entries, key=lambda entry: objective.gain(entry.score), default=None),
            reached=None if level is None else trials_at(side.entries, level, objective),
            costs=costs[place],
            ratios=ratios({} if place in others else costs[place], costs[baseline]),
            front=_front(tried[place], objective),
        )
        for place, side in enumerate(made.sides)
    )
    names = dict.fromkeys(name for record in records for name in record.value_names if name != by)
    return Comparison(
        objective=objective,
        by=by,
        baseline=made.sides[baseline].name,
        target=None if level is None else objective.gain(level),
        target_is_given=options.target is not None,
        sides=tuple(summaries),
        differences=_differences(made.sides, baseline, others, list(names), objective),
        left_out=made.left_out,
        incomparable=tuple(
            f"{made.sides[place].name} and {made.sides[baseline].name} do not compare: their "
            f"scores are of different data ({why})."
            for place, why in others.items()
        ),
        notes=tuple(_notes(records, made.sides)),
    )


def _baseline(sides: Sequence[Side], wanted: str) -> int:
    names = [side.name for side in sides]
    if not wanted or wanted in names:
        return names.index(wanted) if wanted else 0
    guess = nearest(wanted, names)
    raise InputError(
        Problem(
            "no side has this name",
            where="--baseline",
            received=format.printable(wanted),
            expected=", ".join(names),
            mend=f"did you mean {guess}?" if guess else "",
        )
    )


def _other_data(records: Sequence[RunRecord], baseline: int) -> dict[int, str]:
    """Which sides were scored on other images than the baseline, and what differs."""
    differences = [data_differences(record, records[baseline]) for record in records]
    return {place: format.joined(some) for place, some in enumerate(differences) if some}


def _front(tried: Sequence[SeededConfiguration], objective: Objective) -> tuple[FrontPoint, ...]:
    by_point: dict[tuple[float, float], SeededConfiguration] = {}
    for configuration in tried:
        if (parameters := configuration.row.parameters) is not None:
            by_point.setdefault((parameters, configuration.score), configuration)
    return tuple(
        FrontPoint(
            int(parameters),
            objective.gain(score),
            tuple(f"{e.experiment}/{e.row.number}" for e in by_point[parameters, score].entries),
        )
        for parameters, score in pareto(by_point)
    )


def _differences(
    sides: Sequence[Side],
    baseline: int,
    others: Mapping[int, str],
    names: Sequence[str],
    objective: Objective,
) -> tuple[SideDifference, ...]:
    differences = [
        SideDifference(side.name, "no test: the scores are of different data")
        if place in others
        else side_difference(side, sides[baseline], names, objective)
        for place, side in enumerate(sides)
        if place != baseline
    ]
    known = judged_known([row.difference for row in differences])
    return tuple(replace(row, difference=d) for row, d in zip(differences, known, strict=True))


def _notes(records: Sequence[RunRecord], sides: Sequence[Side]) -> list[str]:
    """What makes the sides unequal before any of them was trained."""
    notes = [f"Only trials with {r.filtered_by}." for r in records[:1] if r.filtered_by]
    data = [hashes for record in records if (hashes := record.environment.get("data"))]
    if any(hashes != data[0] for hashes in data):
        notes.append("The experiments were trained or validated on different data.")
    devices = {str(d) for record in records if (d := record.environment.get("device"))}
    if len(devices) > 1:
        named = format.joined(sorted(format.printable(device) for device in devices))
        notes.append(f"Seconds are of different devices: {named}.")
    epochs = {s.name: max(e.row.epochs for e in s.entries) for s in sides if s.entries}
    if len(set(epochs.values())) > 1:
        listed = format.joined([f"{name} {count}" for name, count in epochs.items()])
        notes.append(f"The longest trials differ in epochs: {listed}.")
    if mixed := mixed_threads(e.row.threads for side in sides for e in side.entries):
        notes.append(mixed)
    return notes
