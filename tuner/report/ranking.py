"""Which trial is better: the one order that every table, summary and figure uses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tuner.ledger.records import FINISHED_STATES, RANKED_STATES, TrialRow


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
    ranked: list[tuple[float, int, TrialRow]] = []
    unranked: list[TrialRow] = []
    unfinished: list[TrialRow] = []
    sign = -1.0 if direction == "max" else 1.0
    for row in rows:
        if row.state not in FINISHED_STATES:
            unfinished.append(row)
        elif row.state not in RANKED_STATES or row.score is None or math.isnan(row.score):
            unranked.append(row)
        else:
            ranked.append((sign * row.score, row.number, row))
    ranked.sort(key=lambda item: item[:2])
    unranked.sort(key=lambda row: row.number)
    return Ranking(tuple(item[2] for item in ranked), tuple(unranked), tuple(unfinished))
