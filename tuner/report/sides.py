"""The sides of a comparison: whole experiments, or groups of trials that share a value."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuner.errors import InputError, Problem, nearest
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState, canonical
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.record import RunRecord
from tuner.report.statistics import Difference, paired_by_key, unpaired
from tuner.report.trial_fields import value_key

MOST_SIDES = 20
# Scores are of the same images only where these are equal: in a trial's context; hashes of a run.
DECISIVE = (
    *("data.dataset", "data.fingerprint", "data.validation", "data.seed"),
    *("data.content", "data.split", "data.validation_images"),
)
EPOCHS = "training.epochs"
_ABSENT = object()

# Of each epoch: the objective's metric and the seconds that it took.
Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ComparedExperiment:
    """One experiment as it enters a comparison: its record and its trials' curves by number."""

    record: RunRecord
    curves: Mapping[int, Curve]


@dataclass(frozen=True)
class ScoredTrial:
    """A trial with a score that is a finite number."""

    experiment: str
    row: TrialRow
    score: float
    curve: Curve


@dataclass(frozen=True)
class Side:
    """What is compared: its trials with a score, and how many others it has, by reason."""

    name: str
    entries: tuple[ScoredTrial, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Sides:
    """All of them, and the trials that are on none, by reason."""

    sides: tuple[Side, ...]
    left_out: Mapping[str, int]


def read_curves(folder: RunFolder, record: RunRecord, metric: str = "") -> ComparedExperiment:
    """A record with its curves; with `metric` each trial's score is its best value of that.

    Raises:
        InputError: the ledger is damaged, or no epoch has such a metric.
    """
    record = replace(record, objective=_objective(record, metric)) if metric else record
    curves: dict[int, list[tuple[float, float]]] = defaultdict(list)
    with Ledger.open_read_only(folder.ledger) as ledger:
        for epoch in ledger.epochs():
            value = epoch.metrics.get(record.metric, math.nan)
            curves[epoch.number].append((value, epoch.seconds))
    if metric:
        best = record.objective.best
        scores = {number: best(v for v, _ in curve) for number, curve in curves.items()}
        rows = tuple(replace(row, score=scores.get(row.number)) for row in record.rows)
        record = replace(record, rows=rows)
    return ComparedExperiment(record, {number: tuple(curve) for number, curve in curves.items()})


def _objective(record: RunRecord, metric: str) -> Objective:
    if metric in record.metric_names:
        return Objective(metric, "min" if metric.endswith("loss") else "max")
    guess = nearest(metric, record.metric_names)
    raise InputError(
        Problem(
            f"no epoch of {format.printable(record.name)} has such a metric",
            where="--metric",
            received=format.printable(metric),
            expected=format.printable(", ".join(record.metric_names)),
            mend=f"did you mean {guess}?" if guess else "",
        )
    )


# ---------------------------------------------------------------------- what compares at all


def check_objectives(records: Sequence[RunRecord]) -> None:
    """Scores of different meaning are not compared.

    Raises:
        InputError: two experiments differ in metric or direction; it names both.
    """
    first = records[0]
    for record in records[1:]:
        if record.objective != first.objective:
            names = [format.printable(r.name) for r in (first, record)]
            metrics = [f"{format.printable(r.metric)} ({r.direction})" for r in (first, record)]
            received = (f"{metric} in {name}" for metric, name in zip(metrics, names, strict=True))
            raise InputError(
                Problem(
                    "their scores mean different things",
                    where=" and ".join(names),
                    received=", ".join(received),
                    expected="one objective",
                    mend="continue one of them with the other's objective; scores are "
                    "computed again from the recorded epochs",
                )
            )


def data_differences(one: RunRecord, other: RunRecord) -> list[str]:
    """What says that scores of two experiments are not of the same images: names and values.

    By the trials' contexts; where an older tuner recorded none, by the hashes of the data that the
    last runs read. Files of equal content may have different names.
    """
    pairs = [(a, b) for a in _contexts(one) for b in _contexts(other)]
    return list(
        {
            name: f"{name} {_shortened(a[name])} and {_shortened(b[name])}"
            for a, b in pairs or [(_data_hashes(one), _data_hashes(other))]
            for name in DECISIVE
            if name in a and name in b and a[name] != b[name] and _decides(name, a, b)
        }.values()
    )


def _contexts(record: RunRecord) -> list[dict[str, Any]]:
    """The data of each kind of trial with a score: one kind, if all are current."""
    contexts = (row.context for row in record.ranking.ranked)
    kinds = dict.fromkeys(tuple(c.get(name) for name in DECISIVE) for c in contexts if c)
    return [dict(zip(DECISIVE, values, strict=True)) for values in kinds]


def _data_hashes(record: RunRecord) -> dict[str, Any]:
    hashes = record.environment.get("data")
    return {f"data.{n}": v for n, v in hashes.items()} if isinstance(hashes, Mapping) else {}


def _decides(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a difference of this name tells images apart, in the light of the rest."""
    if name == "data.dataset":  # a file may be the same under another name
        fingerprint = one.get("data.fingerprint")
        return not fingerprint or fingerprint != other.get("data.fingerprint")
    # The hash of the split is of both parts.
    return name != "data.split" or one.get("data.train_images") == other.get("data.train_images")


def _shortened(value: Any) -> str:
    """Of a path its end, which tells it from others; of a fingerprint its beginning."""
    text = format.value_text(value)
    if len(text) <= 20:
        return text
    return "…" + text[-19:] if "/" in text else text[:12] + "…"


# ---------------------------------------------------------------------- making sides


def whole_experiments(compared: Sequence[ComparedExperiment]) -> Sides:
    """One side per experiment.

    Raises:
        InputError: there is only one, or one is given twice.
    """
    records = [experiment.record for experiment in compared]
    name, count = Counter(record.name for record in records).most_common(1)[0]
    if count > 1:
        what = "this experiment is given twice"
        raise InputError(Problem(what, received=format.printable(name)))
    if len(records) < 2:
        searched = records[0].value_names
        raise InputError(
            Problem(
                "one experiment alone has nothing to be compared with",
                received=format.printable(name),
                expected="two or more names, or --by with a searched value",
                mend=f"--by {format.printable(searched[0])}" if searched else "",
            )
        )
    return Sides(
        tuple(
            _side(
                format.printable(record.name),
                list(_entries([experiment])),
                [_reason(row) for row in record.ranking.unranked],
                _unfinished([record]),
            )
            for experiment, record in zip(compared, records, strict=True)
        ),
        {},
    )


def groups(compared: Sequence[ComparedExperiment], name: str) -> Sides:
    """One side per value of a hyperparameter, over the trials of all experiments together.

    `name` is a full one. A trial that several experiments share counts once.

    Raises:
        InputError: it has one value only, or more than twenty; or the experiments' scores are of
            different images.
    """
    records = [experiment.record for experiment in compared]
    _check_one_data_set(records)
    values: dict[str, Any] = {}
    entries: dict[str, list[ScoredTrial]] = defaultdict(list)
    reasons: dict[str, list[str]] = defaultdict(list)
    for entry in _entries(compared):
        value = entry.row.value(name, _ABSENT)
        if value is _ABSENT:
            reasons[""].append(f"without {name}")
        else:
            key = canonical(value)
            values.setdefault(key, value)
            entries[key].append(entry)
    for row in (row for record in records for row in record.ranking.unranked):
        value = row.value(name, _ABSENT)
        reasons["" if value is _ABSENT else canonical(value)].append(_reason(row))
    _check_count(name, len(values))
    order = list(values)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values.values()):
        order.sort(key=values.__getitem__)
    labels = {key: format.value_text(value) for key, value in values.items()}
    if len({*labels.values()}) < len(labels):  # five digits do not tell them apart
        labels = {key: key for key in values}
    sides = [_side(labels[key], entries[key], reasons.pop(key, []), {}) for key in order]
    rest = Counter(reason for some in reasons.values() for reason in some)
    return Sides(tuple(sides), {**_unfinished(records), **rest})


def by_configuration(entries: Iterable[ScoredTrial]) -> list[list[ScoredTrial]]:
    """Trials that differ in nothing but their seed, together."""
    together: dict[str, list[ScoredTrial]] = defaultdict(list)
    for entry in entries:
        together[canonical(dict(entry.row.configuration))].append(entry)
    return list(together.values())


def _side(
    name: str, entries: Sequence[ScoredTrial], reasons: Sequence[str], more: Mapping[str, int]
) -> Side:
    left_out = {**Counter(reasons), **more}
    finite = tuple(entry for entry in entries if math.isfinite(entry.score))
    if len(finite) < len(entries):
        left_out["with an infinite score"] = len(entries) - len(finite)
    return Side(name, finite, left_out)


def _entries(compared: Sequence[ComparedExperiment]) -> Iterable[ScoredTrial]:
    seen: set[str] = set()
    for experiment in compared:
        record = experiment.record
        for row in sorted(record.ranking.ranked, key=lambda row: row.number):
            if row.key not in seen and row.score is not None:
                seen.add(row.key)
                curve = experiment.curves.get(row.number, ())
                yield ScoredTrial(record.name, row, row.score, curve)


def _reason(row: TrialRow) -> str:
    if row.score is None and not row.reason:
        return "without a score"
    return format.state_word(row.state)


def _unfinished(records: Sequence[RunRecord]) -> dict[str, int]:
    running = sum(record.counts.get(TrialState.RUNNING, 0) for record in records)
    missing = sum(record.missing for record in records)
    counts = {format.state_word(TrialState.RUNNING): running, "still to run": missing}
    return {reason: count for reason, count in counts.items() if count}


def _check_count(name: str, count: int) -> None:
    if not 2 <= count <= MOST_SIDES:
        raise InputError(
            Problem(
                "too many values to compare" if count > 1 else "there are not two values",
                where=f"--by {format.printable(name)}",
                received=f"{format.counted(count, 'value')} among trials with a score",
                expected=f"2 to {MOST_SIDES} values",
            )
        )


def _check_one_data_set(records: Sequence[RunRecord]) -> None:
    for record in records[1:]:
        if differences := data_differences(records[0], record):
            raise InputError(
                Problem(
                    "their trials cannot be grouped together: they were validated on other images",
                    where=" and ".join(format.printable(r.name) for r in (records[0], record)),
                    received=format.joined(differences),
                    expected="one data set and one validation split",
                    mend="compare each alone with --by",
                )
            )


# ---------------------------------------------------------------------- a side and the baseline


@dataclass(frozen=True)
class SideDifference:
    """A side's mean score less the baseline's; `difference` is None where nothing can be tested.

    `how` says in words what was paired, or why there is no test; `unit` is what is counted.
    `without_partner` counts trials of either side that have none and take no part.
    """

    side: str
    how: str
    unit: str = ""
    without_partner: int = 0
    difference: Difference | None = None

    @property
    def difference_text(self) -> str:
        """`+0.0312 [+0.0101, +0.0523]`, or `–`."""
        return self.difference.interval.signed_text if self.difference else format.NOTHING

    @property
    def alone_text(self) -> str:
        """How many trials take no part, if any."""
        alone = format.counted(self.without_partner, "trial")
        return f"{alone} without a partner left out" if self.without_partner else ""


def side_difference(
    side: Side, baseline: Side, names: Sequence[str], objective: Objective
) -> SideDifference:
    """Pairs by all searched values that both sides have and by seed, where the sides have them.

    `names` are the values that may be paired by. Where a side has several trials for one partner
    (settings that only it has), their mean stands for them. Pairs need two partners at least, and
    half of each side's trials among them; else the sides are compared as they are, each
    configuration by its mean over seeds.

    Only equal training is compared: where a rule has stopped trials, say, of each pair (without
    pairs, of all trials) only the epochs count that all of them have. What sets the sides apart
    may be the epochs themselves.
    """
    entries = (*side.entries, *baseline.entries)
    for empty in (baseline, side):
        if not empty.entries:
            return SideDifference(side.name, f"no trial of {empty.name} has a score")
    epochs = sorted({entry.row.epochs for entry in entries})
    is_equal = len(epochs) < 2 or _differ_in(EPOCHS, side, baseline)
    if not is_equal and any(len(entry.curve) < entry.row.epochs for entry in entries):
        how = f"no test: their trials were trained for {epochs[0]} to {epochs[-1]} epochs"
        return SideDifference(side.name, how)
    shared = [name for name in names if _is_shared(name, side, baseline)]
    seeds = [{entry.row.seed for entry in s.entries} for s in (side, baseline)]
    by_seed = bool(seeds[0] & seeds[1])
    if shared or (by_seed and all(len(by_configuration(s.entries)) == 1 for s in (side, baseline))):
        pairs = _paired(side, baseline, shared, by_seed, objective, is_equal)
        if pairs is not None:
            return pairs
    return _unpaired(side, baseline, objective, None if is_equal else epochs[0])


def _differ_in(name: str, one: Side, other: Side) -> bool:
    """Whether a value is what sets two sides apart: each has one, and not the other's."""
    values = [{_value_key(entry, name) for entry in side.entries} for side in (one, other)]
    return all(len(some) == 1 for some in values) and values[0] != values[1]


def _unpaired(
    side: Side, baseline: Side, objective: Objective, epochs: int | None
) -> SideDifference:
    """The sides as they are, or after so many epochs."""
    entries = [_first_epochs(s.entries, epochs, objective) for s in (side, baseline)]
    if not all(entries):
        return SideDifference(side.name, f"no test: no score in the first {epochs} epochs")
    units = [_units(some) for some in entries]
    is_by_trial = sum(map(len, units)) == sum(map(len, entries))
    how = "unpaired" if is_by_trial else "unpaired, each configuration by its mean over seeds"
    if epochs is not None:
        how += f"; in the first {format.counted(epochs, 'epoch')}, which every trial has"
    unit = "trial" if is_by_trial else "configuration"
    return SideDifference(side.name, how, unit, difference=unpaired(*units, objective=objective))


def _first_epochs(
    entries: Sequence[ScoredTrial], epochs: int | None, objective: Objective
) -> list[ScoredTrial]:
    """Their scores after so many epochs (None: at the end), of those that had one by then."""
    if epochs is None:
        return list(entries)
    best = ((e, objective.best(value for value, _ in e.curve[:epochs])) for e in entries)
    return [replace(e, score=s) for e, s in best if s is not None and math.isfinite(s)]


def mean(values: Sequence[float]) -> float:
    """The same whatever the order of the values."""
    return math.fsum(values) / len(values)


def _paired(
    side: Side,
    baseline: Side,
    shared: Sequence[str],
    by_seed: bool,
    objective: Objective,
    is_equal: bool,
) -> SideDifference | None:
    groups, others = (_by_key(s, shared, by_seed) for s in (side, baseline))
    common = [key for key in groups if key in others]
    counts = [sum(len(some[key]) for key in common) for some in (groups, others)]
    sizes = [len(side.entries), len(baseline.entries)]
    covered = all(2 * count >= size for count, size in zip(counts, sizes, strict=True))
    if len(common) < 2 or not covered:
        return None
    several = any(count > len(common) for count in counts)
    seeds = by_seed and len({entry.row.seed for entry in side.entries + baseline.entries}) > 1
    short = format.short_names(shared)
    parts = [format.printable(short[name]) for name in shared] + ["seed"] * seeds
    means = "; means over each side's other settings" if several else ""
    equal = "" if is_equal else "; each pair after equally many epochs"
    pairs = [
        (mean(one), mean(other))
        for key in common
        for one, other in [_pair_scores(groups[key], others[key], objective, is_equal)]
        if one and other
    ]
    if len(pairs) < 2:
        return None
    scores = [dict(enumerate(some)) for some in zip(*pairs, strict=True)]
    return SideDifference(
        side.name,
        f"paired by {format.joined(parts)}{means}{equal}",
        "pair" if shared else "seed",
        sum(sizes) - sum(counts),
        paired_by_key(*scores, objective=objective),
    )


def _pair_scores(
    one: Sequence[ScoredTrial], other: Sequence[ScoredTrial], objective: Objective, is_equal: bool
) -> list[list[float]]:
    """The scores of two partners, after as many epochs as all their trials have."""
    epochs = None if is_equal else min(entry.row.epochs for entry in (*one, *other))
    return [[e.score for e in _first_epochs(some, epochs, objective)] for some in (one, other)]


def _units(entries: Sequence[ScoredTrial]) -> list[float]:
    """Each configuration's mean; the trials themselves where there is one configuration only."""
    scores = [[entry.score for entry in some] for some in by_configuration(entries)]
    return scores[0] if len(scores) == 1 else [mean(some) for some in scores]


def _is_shared(name: str, one: Side, other: Side) -> bool:
    """Whether every trial has it, and it is not just what sets the sides apart."""
    values = [{_value_key(entry, name) for entry in side.entries} for side in (one, other)]
    return not any("" in some for some in values) and any(len(some) > 1 for some in values)


def _by_key(
    side: Side, shared: Sequence[str], by_seed: bool
) -> dict[tuple[str, ...], list[ScoredTrial]]:
    groups: dict[tuple[str, ...], list[ScoredTrial]] = defaultdict(list)
    for entry in side.entries:
        seed = str(entry.row.seed) if by_seed else ""
        groups[*(_value_key(entry, name) for name in shared), seed].append(entry)
    return groups


def _value_key(entry: ScoredTrial, name: str) -> str:
    """Of the value; empty where the trial does not have it."""
    value = entry.row.value(name, _ABSENT)
    return "" if value is _ABSENT else value_key(value)
