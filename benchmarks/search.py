"""Search methods and stopping rules on real CIFAR-100, on one space: what is found for how much.

python -m benchmarks.search [--seeds 0 1] [--quick] [--output FILE.md]

A small network on 2,000 images with the 20 coarse classes, 36 configurations of 9 epochs in the
grid (learning rate, beta_1, l2). Every search runs by itself, compiled and trained anew. What it
has found is the trial with the best score; the last column is that configuration's score in the
full grid under the same seed, so that a lucky or an early end does not count.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import tuner
from benchmarks import common

EXPERIMENT = """
name: {name}
backend: {backend}
data: {{dataset: {dataset}, validation: 1000, train_images: {images}}}
model: {{family: lenet}}
training:
  epochs: {epochs}
  batch_size: 50
  learning_rate: {{min: 1.0e-4, max: 3.0e-2, scale: log, count: 6}}
  beta_1: {{choice: [0.5, 0.9, 0.98]}}
  l2: {{choice: [0, 1.0e-3]}}
search: {{{search}, seed: {seed}}}
"""
SEARCHES = {
    "grid": "method: grid",
    "random, 12": "method: random, max_trials: 12",
    "sobol, 12": "method: sobol, max_trials: 12",
    "bayesian, 12": "method: bayesian, max_trials: 12",
    "asha over all": "method: random, max_trials: 36, stop: {rule: asha, min_epochs: 1}",
    "median over all": "method: random, max_trials: 36, stop: {rule: median}",
    "hyperband": "method: hyperband, max_trials: 36",
}
HEAD = (
    "search",
    "seed",
    "trials",
    "epochs",
    "% of the grid's",
    "s",
    "best score",
    "its score in the grid",
    "grid's best",
)


def run(name: str, seed: int, folder: Path, options: argparse.Namespace) -> Any:
    """One search from its beginning to its end: its results, and its seconds."""
    path = folder / "experiment.yaml"
    text = EXPERIMENT.format(
        name=f"{name.split(',')[0].replace(' ', '-')}-{seed}",
        backend=options.backend,
        dataset=options.dataset,
        images=options.images,
        epochs=options.epochs,
        search=SEARCHES[name],
        seed=seed,
    )
    path.write_text(text)
    return tuner.run(tuner.load_experiment(path), results_dir=folder / "results")


def measured(seed: int, folder: Path, options: argparse.Namespace) -> list[list[Any]]:
    """A row for each search."""
    rows: list[list[Any]] = []
    full: dict[tuple[Any, ...], float] = {}
    names = ["training.learning_rate", "training.beta_1", "training.l2"]
    for name in SEARCHES:
        results = run(name, seed, folder, options)
        trials = results.trials()
        if name == "grid":
            full = {tuple(row[n] for n in names): row["score"] for _, row in trials.iterrows()}
            grid_epochs = int(trials["epochs"].sum())
        best = results.best()
        epochs = int(trials["epochs"].sum())
        point = tuple(best.configuration[n] for n in names)
        seconds = trials["train_seconds"].sum() + trials["compile_seconds"].sum()
        rows.append(
            [
                name,
                seed,
                len(trials),
                epochs,
                round(100 * epochs / grid_epochs),
                round(float(seconds)),
                best.score,
                full.get(point, float("nan")),
                max(value for value in full.values() if value == value),
            ]
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--dataset", default="cifar100_coarse")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="three epochs of 500 images")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.images, options.epochs = [0], 500, 3
    rows = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(seed, Path(folder), options)
    title = f"Searches on real images ({options.images} of {options.dataset})"
    found = f"{common.environment()}\n\n{common.table(title, HEAD, rows)}"
    print(found)
    if options.output:
        options.output.write_text(found)


if __name__ == "__main__":
    main()
