"""Several trials as one line: mean, spread and number of those that share some values."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.record import RunRecord
from tuner.report.table import Column, MeanScore, mean_score, mean_text
from tuner.report.trial_fields import Field

if TYPE_CHECKING:
    from tuner.report.statistics import Difference

MOST_COMPARED = 20  # a screenful: every further comparison makes each one harder to decide

# What the comparison with the best says of a group, and its mark in a table.
BEST, WORSE, NOISE, UNDECIDABLE = "best", "worse", "within noise", "not decidable"
UNEQUAL = "unequal training"
MARKS = {BEST: "best", NOISE: "≈", UNDECIDABLE: "?", UNEQUAL: "≠", WORSE: "", "": ""}


@dataclass(frozen=True, eq=False)
class TrialGroup:
    """Ranked trials, best first, that share the values of the fields that they are grouped by.

    `verdict` is how it compares with the best group; empty where it was not compared.
    """

    values: Mapping[str, Any]
    trials: Sequence[TrialRow]
    score: MeanScore
    verdict: str = ""

    @property
    def is_unsure(self) -> bool:
        """Whether it cannot be told from the best."""
        return self.verdict in (NOISE, UNDECIDABLE, UNEQUAL)

    @property
    def num_stopped(self) -> int:
        """How many of its trials a rule has stopped."""
        return sum(row.state is TrialState.STOPPED for row in self.trials)

    @property
    def numbers(self) -> list[int]:
        """The numbers of its trials, in order."""
        return sorted(row.number for row in self.trials)

    @property
    def scores(self) -> list[float]:
        """The scores of its trials, best first; ranked ones have one."""
        return [row.score for row in self.trials if row.score is not None]


def trial_groups(record: RunRecord, by: Sequence[Field]) -> list[TrialGroup]:
    """The ranked trials in groups, best mean first; ties go to the group of the better trial."""
    members: dict[tuple[Any, ...], list[TrialRow]] = defaultdict(list)
    for row in record.ranking.ranked:
        members[tuple(exact_key(field.value(row)) for field in by)].append(row)
    groups = [
        TrialGroup({field.name: field.value(rows[0]) for field in by}, rows, mean_score("", scores))
        for rows in members.values()
        if (scores := [row.score for row in rows if row.score is not None])
    ]
    gain = record.objective.gain
    return sorted(
        groups, key=lambda g: math.inf if math.isnan(g.score.mean) else -gain(g.score.mean)
    )


def exact_key(value: Any) -> tuple[str, Any]:
    """1, 1.0 and true are three values, and lists have no hash."""
    return (type(value).__name__, value if isinstance(value, str | int) else repr(value))


# ---------------------------------------------------------------------- fields


def group_fields(
    record: RunRecord,
    by: Sequence[Field],
    rest: Sequence[Field],
    groups: Sequence[TrialGroup],
    *,
    apart: bool,
) -> list[Field]:
    """The fields of groups: what they are grouped by, the score, and the means of the rest.

    `apart` gives mean and spread a column each, for programs. Verdicts are there where anything
    was compared.
    """
    fields = [Field(replace(f.column, rank=1), _shared(f.name), is_news=f.is_news) for f in by]
    if apart:
        score, spread = (Column(n, t, format.score_text) for n, t in _SCORE_AND_SPREAD)
        fields.append(Field(score, lambda group: group.score.mean))
        fields.append(Field(spread, lambda group: group.score.spread))
    else:
        fields.append(Field(Column("score", "score", mean_text), lambda group: group.score))
    fields.append(Field(Column("n", "n"), lambda group: group.score.n))
    if apart or record.counts.get(TrialState.STOPPED):
        fields.append(Field(Column("stopped", "stopped", rank=2), lambda group: group.num_stopped))
    left = {field.name for field in by} | _NO_MEAN
    fields += [_mean_field(f) for f in rest if f.column.numeric and f.name not in left]
    if any(group.verdict for group in groups):
        column = Column("against_best", "vs best", MARKS.__getitem__, numeric=False)
        fields.append(Field(column, lambda group: group.verdict))
    column = Column("trials", "trials", _shortened, numeric=False, rank=3)
    return [*fields, Field(column, lambda group: ranges_text(group.numbers))]


def ranges_text(numbers: Sequence[int]) -> str:
    """`1-3, 7`: ascending numbers, runs as ranges."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


_SCORE_AND_SPREAD = (("score", "score"), ("score_spread", "spread"))
_NO_MEAN = {"trial", "score", "state", "seed", "replicate", "reason"}
_LONGEST = 16  # of the trials' numbers


def _shared(name: str) -> Callable[[TrialGroup], Any]:
    return lambda group: group.values[name]


def _mean_field(field: Field) -> Field:
    is_whole = field.column.text is str  # of a trial; a mean need not be

    def mean(group: TrialGroup) -> Any:
        values = [value for row in group.trials if (value := field.value(row)) is not None]
        if not values or values.count(values[0]) == len(values):
            return values[0] if values else None
        # Not `sum`, which rounds otherwise from Python 3.12 on; fsum refuses infinities.
        add = math.fsum if all(map(math.isfinite, values)) else sum
        return add(values) / len(values)

    def text(value: Any) -> str:
        is_fraction = isinstance(value, float) and not value.is_integer()
        return f"{value:.1f}" if is_fraction and is_whole else field.column.text(value)

    return replace(field, column=replace(field.column, text=text), value=mean)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(",")[0] + ", …"


# ---------------------------------------------------------------------- against the best


def against_best(groups: Sequence[TrialGroup], record: RunRecord) -> list[TrialGroup]:
    """The groups (best first) with what the comparison with the first says of each.

    Compared value by value where both have the same other values and replicates, else as two
    groups; judged together. Those beyond the first `MOST_COMPARED` are not compared; without a
    second trial in any group nothing is.
    """
    finite = [g for g in groups[:MOST_COMPARED] if math.isfinite(g.score.mean)]
    if len(finite) < 2 or finite[0] is not groups[0] or all(g.score.n < 2 for g in groups):
        return list(groups)
    from tuner.report import statistics  # late: needs numpy

    verdicts = {statistics.Verdict.BETTER: WORSE, statistics.Verdict.NOISE: NOISE}
    compared = statistics.judged_known([difference(finite[0], g, record) for g in finite[1:]])
    told = {groups[0]: BEST} | {
        group: verdicts.get(difference.verdict, UNDECIDABLE) if difference else UNEQUAL
        for group, difference in zip(finite[1:], compared, strict=True)
    }
    return [replace(group, verdict=told.get(group, "")) for group in groups]


def verdict_notes(groups: Sequence[TrialGroup]) -> list[str]:
    """What the marks beside the scores mean, of those that are used."""
    used = {group.verdict for group in groups}
    parts = []
    if NOISE in used:
        parts.append(f"{MARKS[NOISE]} within noise of the best")
    if UNDECIDABLE in used:
        parts.append(f"{MARKS[UNDECIDABLE]} too few trials to compare it with the best")
    if UNEQUAL in used:
        parts.append(f"{MARKS[UNEQUAL]} trained for other numbers of epochs, so not compared")
    if not parts:
        return []
    more = len(groups) > MOST_COMPARED
    among = f" Only the first {MOST_COMPARED} are compared." if more else ""
    return [f"{', '.join(parts)}: by interval and permutation test, p ≤ 0.05.{among}"]


def difference(one: TrialGroup, other: TrialGroup, record: RunRecord) -> Difference | None:
    """What `one`, the best, is against `other`, both with finite scores only; see `against_best`.

    Trials of `other` that a rule stopped early are left out, which favours it, so that a claim
    holds all the same. None where they are not of that one alone: training was not equal.
    """
    from tuner.report import statistics

    if one.num_stopped or other.num_stopped:
        longest = max(row.epochs for row in (*one.trials, *other.trials))
        full = [row for row in other.trials if row.epochs == longest]
        if not full or any(row.epochs < longest for row in one.trials):
            return None
        scores = [row.score for row in full if row.score is not None]
        other = replace(other, trials=full, score=mean_score("", scores))
    pairs = [dict(_partners(group, record.value_names)) for group in (one, other)]
    # Where both have the same partners, each once.
    if pairs[0].keys() == pairs[1].keys() and len(pairs[0]) == one.score.n == other.score.n:
        paired = statistics.paired_by_key(*pairs, objective=record.objective)
        if paired is not None:
            return paired
    return statistics.unpaired(one.scores, other.scores, objective=record.objective)


def _partners(group: TrialGroup, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """A trial's score under what must be equal in its partner."""
    others = [name for name in names if name not in group.values]
    for row, score in zip(group.trials, group.scores, strict=True):
        yield repr((row.replicate, *(row.value(name) for name in others))), score
