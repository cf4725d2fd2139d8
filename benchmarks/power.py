"""Does the promised power hold? The rule itself is played over simulated experiments.

    python -m benchmarks.power [--runs 1000]

For each difference (in standard deviations between seeds) and number of seeds: how often
`tuner.report.statistics.paired` claims it, and what `power_of` promises. Exits with 1 where they
are more than five points apart.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from tuner.report.power import power_of, seeds_to_decide
from tuner.report.statistics import Verdict, paired

DIFFERENCES = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0)
SEEDS = (6, 7, 8, 10, 12, 13, 16, 24)
WITHIN = 0.05


def claimed(difference: float, n: int, runs: int) -> float:
    """How often the rule claims a difference of two sides of n normal scores."""
    rng = np.random.default_rng(round(1_000 * difference) + n)
    verdicts = (
        paired(rng.normal(difference, 1, n).tolist(), rng.normal(0, 1, n).tolist()).verdict
        for _ in range(runs)
    )
    return sum(verdict is Verdict.BETTER for verdict in verdicts) / runs


def main() -> int:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    runs = parser.parse_args().runs
    print("| difference | seeds | promised | claimed | apart |\n|---|---|---|---|---|")
    worst = 0.0
    for difference in DIFFERENCES:
        for n in SEEDS:
            promised, seen = power_of(difference, 1.0, n), claimed(difference, n, runs)
            worst = max(worst, abs(promised - seen))
            apart = f"{100 * (seen - promised):+.1f}"
            print(f"| {difference} | {n} | {promised:.1%} | {seen:.1%} | {apart} |", flush=True)
    for difference in DIFFERENCES:
        print(f"80 % of differences of {difference}: {seeds_to_decide(difference, 1.0)} seeds")
    print(f"largest distance: {100 * worst:.1f} points over {runs} runs")
    return 0 if worst <= WITHIN else 1


if __name__ == "__main__":
    sys.exit(main())
