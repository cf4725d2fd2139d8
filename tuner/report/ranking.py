"""Which trial is better: the one order that every table, summary and figure uses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from tuner.ledger.records import FINISHED_STATES, RANKED_STATES, TrialRow

_RANKED, _FINISHED = frozenset(RANKED_STATES), frozenset(FINISHED_STATES)


@dataclass(frozen=True)
class Ranking:
    """Trials best first, and those that have no place: without a score, or not ended yet."""

    ranked: tuple[TrialRow, ...]
    unranked: tuple[TrialRow, ...]
    unfinished: tuple[TrialRow, ...]


def rank(rows: Iterable[TrialRow], direction: str) -> Ranking:
    """Orders trials by score.

    Only completed and stopped trials with a score that is a number are ranked: NaN is never best,
    nor anywhere. Ties go to the earlier trial.
    """
    ranked: list[TrialRow] = []
    unranked: list[TrialRow] = []
    unfinished: list[TrialRow] = []
    for row in rows:
        score = row.score
        if row.state in _RANKED and score is not None and not math.isnan(score):
            ranked.append(row)
        elif row.state in _FINISHED:
            unranked.append(row)
        else:
            unfinished.append(row)
    for group in (ranked, unranked):
        group.sort(key=attrgetter("number"))
    # Sorting keeps the order of equal ones, `reverse` too.
    ranked.sort(key=attrgetter("score"), reverse=direction == "max")
    return Ranking(tuple(ranked), tuple(unranked), tuple(unfinished))
