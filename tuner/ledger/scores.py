"""What a trial's score is: the best value of the objective over its epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuner.ledger.records import RANKED_STATES, EpochRow, Outcome


def best_of(
    epochs: Sequence[EpochRow], metric: str, direction: str
) -> tuple[int | None, float | None]:
    """The epoch with the best value of a metric and that value; NaN is never best."""
    found = [(row.metrics.get(metric, math.nan), row.epoch) for row in epochs]
    scored = [(value, epoch) for value, epoch in found if not math.isnan(value)]
    if not scored:
        return None, None
    sign = -1.0 if direction == "max" else 1.0
    value, epoch = min(scored, key=lambda item: (sign * item[0], item[1]))
    return epoch, value


def rankable_score(outcome: Outcome) -> float | None:
    """The score that the ledger keeps: none for failed and diverged trials, and never NaN."""
    if outcome.state not in RANKED_STATES or outcome.score is None:
        return None
    return None if math.isnan(outcome.score) else outcome.score
