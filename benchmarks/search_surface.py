"""Methods and stopping rules on a made-up surface with learning curves: what is found for how much.

python -m benchmarks.search_surface [--seeds N] [--quick] [--learning] [--only asha] [--output FILE]

Nothing is trained: an epoch is a number with noise (tests/search/surface.py). The grid has 448
configurations of 81 epochs, of which 64 diverge in their third. What a method has found is the
configuration with the best score, and it counts by its true value at the last epoch, which no
method sees. A seed is a draw of the noise and the seed of the search; all rows of a table have the
same seeds.

Searches that learn are compared at equal epochs (`--learning`: these alone), with and without a
stopping rule, each with `random` under the same rule and seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import common
from tests.search.surface import Simulation, Surface, experiment_of

EPOCHS = 81
ALL = "max_trials: 448, seed: SEED"
SEARCHES = {
    "grid": "method: grid",
    "random, 112 configurations": "method: random, max_trials: 112, seed: SEED",
    "random, 50 configurations": "method: random, max_trials: 50, seed: SEED",
    "asha, from epoch 1": f"method: random, {ALL}, stop: {{rule: asha}}",
    "asha, from epoch 3": f"method: random, {ALL}, stop: {{rule: asha, min_epochs: 3}}",
    "asha, from epoch 9": f"method: random, {ALL}, stop: {{rule: asha, min_epochs: 9}}",
    "asha from epoch 3, grid order": "method: grid, stop: {rule: asha, min_epochs: 3}",
    "median, from epoch 3": f"method: random, {ALL}, stop: {{rule: median, min_epochs: 3}}",
    "patience 8": f"method: random, {ALL}, stop: {{rule: patience, epochs: 8}}",
    "hyperband, from epoch 1": f"method: hyperband, {ALL}",
    "hyperband, from epoch 3": f"method: hyperband, {ALL}, min_epochs: 3",
    "hyperband, from epoch 9": f"method: hyperband, {ALL}, min_epochs: 9",
}
LEARNING = ("random", "bayesian", "tpe")
RULES = {"": "", "asha": ", stop: {rule: asha, min_epochs: 3}"}
SHARES = (0.01, 0.02, 0.03)
HEAD = (
    "search",
    "seeds",
    "epochs, % of 448 x 81",
    "below the grid's best, % (mean, 95 % interval)",
    "worst",
    "within 1 % (95 % interval)",
)


def row(name: str, search: str, surfaces: Sequence[Surface]) -> list[Any]:
    """One search under all seeds."""
    points = list(experiment_of("{method: grid}", EPOCHS).space)
    best = max(map(surfaces[0].truth, points))
    shares, losses = [], []
    for seed, surface in enumerate(surfaces):
        experiment = experiment_of(f"{{{search.replace('SEED', str(seed))}}}", EPOCHS)
        run = Simulation(experiment, surface).run()
        shares.append(100 * run.trained_epochs / (EPOCHS * len(points)))
        losses.append(100 * (1 - surface.truth(run.best()) / best))
    return [
        name,
        len(losses),
        f"{np.mean(shares):.1f}",
        _mean(losses),
        f"{max(losses):.2f}",
        _hits(losses),
    ]


def table(searches: dict[str, str], seeds: int, crossing: float) -> str:
    """All searches over a surface."""
    surfaces = [Surface(seed, EPOCHS, crossing=crossing) for seed in range(seeds)]
    rows = [row(name, search, surfaces) for name, search in searches.items()]
    return common.table(f"Curves cross: {crossing:g}", HEAD, rows)


def learning_table(seeds: int, crossing: float) -> str:
    """What searches that learn have found after some shares of the grid's epochs."""
    surfaces = [Surface(seed, EPOCHS, crossing=crossing) for seed in range(seeds)]
    points = list(experiment_of("{method: grid}", EPOCHS).space)
    best = max(map(surfaces[0].truth, points))
    budgets = [round(share * EPOCHS * len(points)) for share in SHARES]
    rows: list[list[Any]] = []
    for rule, stop in RULES.items():
        before: list[list[float]] = []
        for method in LEARNING:
            losses: list[list[float]] = []
            for seed, surface in enumerate(surfaces):
                search = f"{{method: {method}, max_trials: {len(points)}, seed: {seed}{stop}}}"
                run = Simulation(experiment_of(search, EPOCHS), surface)
                found = [run.run(epochs=budget).best() for budget in budgets]
                losses.append([100 * (1 - surface.truth(one) / best) for one in found])
            before = before or losses
            rows.append([f"{method} {rule}".strip(), len(losses)])
            for own, others in zip(
                zip(*losses, strict=True), zip(*before, strict=True), strict=True
            ):
                gains = [other - loss for other, loss in zip(others, own, strict=True)]
                rows[-1] += [_mean(own), _mean(gains) if losses is not before else ""]
            print(rows[-1], flush=True)
    head = ["search", "seeds"]
    for share, budget in zip(SHARES, budgets, strict=True):
        head += [
            f"{100 * share:.3g} % ({budget} epochs): below the best, %",
            "better than random by",
        ]
    return common.table(f"Searches that learn; curves cross: {crossing:g}", head, rows)


def _mean(losses: Sequence[float]) -> str:
    """By the bootstrap: losses have a bound at 0 and a long tail."""
    if max(losses) == min(losses):
        return f"{losses[0]:.2f}"
    found = stats.bootstrap((losses,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    return f"{np.mean(losses):.2f} ({found.low:.2f} to {found.high:.2f})"


def _hits(losses: Sequence[float]) -> str:
    """Wilson's interval."""
    hits = sum(loss < 1 for loss in losses)
    found = stats.binomtest(hits, len(losses)).proportion_ci(method="wilson")
    return f"{hits} of {len(losses)} ({100 * found.low:.0f} to {100 * found.high:.0f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="one surface, few seeds")
    parser.add_argument("--crossing", type=float, nargs="+", default=[0.0, 0.25, 0.5, 1.0])
    parser.add_argument("--learning", action="store_true", help="only the searches that learn")
    parser.add_argument("--only", default="", help="searches whose name has this")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    seeds = 4 if options.quick else options.seeds
    options.crossing = [0.25] if options.quick else options.crossing
    searches = {name: text for name, text in SEARCHES.items() if options.only in name}
    parts = [f"{common.environment()}", ""]
    for crossing in options.crossing:
        if not options.learning:
            parts.append(table(searches, seeds, crossing))
            print(parts[-1], flush=True)
        if options.only:
            continue
        parts.append(learning_table(seeds, crossing))
        print(parts[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
