"""Which trial is better: the one order that every table, summary and figure uses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuner.experiment.objective import Objective
from tuner.ledger.queries import field_of, picked
from tuner.ledger.records import FINISHED_STATES, RANKED_STATES, TrialRow

_RANKED, _FINISHED = frozenset(RANKED_STATES), frozenset(FINISHED_STATES)


@dataclass(frozen=True)
class Ranking:
    """Trials best first, and those that have no place: without a score, or not ended yet."""

    ranked: Sequence[TrialRow]
    unranked: Sequence[TrialRow]
    unfinished: Sequence[TrialRow]


def rank(rows: Iterable[TrialRow], objective: Objective) -> Ranking:
    """Orders trials by score.

    Only completed and stopped trials with a score that is a number are ranked: NaN is never best,
    nor anywhere. Ties go to the earlier trial.
    """
    rows = rows if isinstance(rows, Sequence) else tuple(rows)
    scores, states, numbers = (field_of(rows, name) for name in ("score", "state", "number"))
    ranked: list[int] = []
    unranked: list[int] = []
    unfinished: list[int] = []
    for place, (score, state) in enumerate(zip(scores, states, strict=True)):
        if state in _RANKED and score is not None and not math.isnan(score):
            ranked.append(place)
        elif state in _FINISHED:
            unranked.append(place)
        else:
            unfinished.append(place)
    for group in (ranked, unranked):
        group.sort(key=numbers.__getitem__)
    # Sorting keeps the order of equal ones, `reverse` too.
    ranked.sort(key=scores.__getitem__, reverse=objective.sign > 0)
    return Ranking(*(picked(rows, group) for group in (ranked, unranked, unfinished)))
