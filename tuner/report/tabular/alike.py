"""Which groups of trials cannot be told from the best one: where the statistics are asked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tuner.experiment.objective import Objective
from tuner.ledger.queries import field_of, value_of
from tuner.report.tabular.groups import Line

if TYPE_CHECKING:
    from tuner.report.statistics import Difference

MOST_COMPARED = 20  # a screenful: every further comparison makes each one harder to decide

# What the comparison with the best says of a line.
BEST, WORSE, NOISE, UNDECIDABLE = "best", "worse", "within noise", "not decidable"


def against_best(
    lines: Sequence[Line], objective: Objective, names: Sequence[str]
) -> dict[int, str]:
    """By place among the lines (best first), how each compares with the first.

    Compared value by value where both have the same other values (of `names`) and replicates,
    else as two groups; judged together. Lines beyond the first `MOST_COMPARED` are not compared;
    without a second trial in any line nothing is.
    """
    if len(lines) < 2 or all(line.score.n < 2 for line in lines):
        return {}
    from tuner.report import statistics  # late: needs numpy

    finite = [p for p in range(min(len(lines), MOST_COMPARED)) if _is_finite(lines[p])]
    if len(finite) < 2 or finite[0] != 0:
        return {}
    found = [difference(lines[0], lines[place], objective, names) for place in finite[1:]]
    verdicts = [judged.verdict for judged in statistics.judged(found)]
    words = {statistics.Verdict.BETTER: WORSE, statistics.Verdict.NOISE: NOISE}
    told = {p: words.get(v, UNDECIDABLE) for p, v in zip(finite[1:], verdicts, strict=True)}
    return {0: BEST, **told}


def difference(one: Line, other: Line, objective: Objective, names: Sequence[str]) -> Difference:
    """What `one` is against `other`, both with finite scores only; see `against_best`."""
    from tuner.report import statistics

    if pairs := _pairs(one, other, names):
        return statistics.paired(*pairs, objective=objective)
    scores = (field_of(one.trials, "score"), field_of(other.trials, "score"))
    return statistics.unpaired(*scores, objective=objective)


def _is_finite(line: Line) -> bool:
    return math.isfinite(line.score.mean)


def _pairs(one: Line, other: Line, names: Sequence[str]) -> tuple[list[float], list[float]] | None:
    """Scores side by side; None where the lines do not have the same partners, each once."""
    first, second = (dict(_partners(line, names)) for line in (one, other))
    if first.keys() != second.keys():
        return None
    if len(first) != one.score.n or len(second) != other.score.n:
        return None
    return [first[key] for key in first], [second[key] for key in first]


def _partners(line: Line, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """A trial's score under what must be equal in its partner."""
    others = [value_of(line.trials, name) for name in names if name not in line.values]
    replicates = field_of(line.trials, "replicate")
    keys = map(repr, zip(replicates, *others, strict=True))
    return zip(keys, field_of(line.trials, "score"), strict=True)
