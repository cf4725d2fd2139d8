"""What a trial's score is: the best value of the objective over its epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuner.experiment.objective import Objective
from tuner.ledger.records import RANKED_STATES, EpochRow, Outcome


def best_of(epochs: Sequence[EpochRow], objective: Objective) -> tuple[int | None, float | None]:
    """The epoch with the best value of the objective's metric, and that value."""
    metric = objective.metric
    return objective.best_epoch((row.epoch, row.metrics.get(metric, math.nan)) for row in epochs)


def rankable_score(outcome: Outcome) -> float | None:
    """The score that the ledger keeps: none for failed and diverged trials, and never NaN."""
    if outcome.state not in RANKED_STATES or outcome.score is None:
        return None
    return None if math.isnan(outcome.score) else outcome.score
