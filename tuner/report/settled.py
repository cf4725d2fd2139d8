"""Whether more seeds would decide between the first two configurations of a search."""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping

from tuner.experiment.objective import Objective
from tuner.report import format

HOPELESS = 0.2
"""With what is planned, a lead that would be decided less often than that is not waited for."""


def settles(
    first: Mapping[int, float], second: Mapping[int, float], objective: Objective, planned: int
) -> str:
    """Why the scores by replicate are enough of so many that are planned; empty if they are not.

    Either the comparison that `report` makes claims a difference; or the lead is so small beside
    the spread of the pairs that all planned replicates would hardly decide it.
    """
    from tuner.report.power import power_of  # late: these need numpy
    from tuner.report.statistics import paired_by_key

    common = [seed for seed in first if seed in second]
    difference = paired_by_key(first, second, objective=objective)
    if difference is None:
        return "the first two configurations have no seed in common"
    seeds = format.counted(len(common), "seed")
    if difference.is_claim:
        low, high = sorted((abs(difference.interval.low), abs(difference.interval.high)))
        ends = f"{format.score_text(low)} to {format.score_text(high)}"
        return f"the first is better than the second by {ends} (95 %, {seeds})"
    spread = plain.stdev([first[seed] - second[seed] for seed in common]) if len(common) > 1 else 0
    power = power_of(difference.mean, spread / 2**0.5, planned)
    if power >= HOPELESS:
        return ""
    lead = format.score_text(abs(difference.mean))
    return f"{planned} seeds would hardly decide a lead of {lead} ({power:.0%} after {seeds})"
