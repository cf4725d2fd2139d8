"""Every search method of ours, of Optuna and of keras-tuner on the same recorded learning curves.

    tuner run experiments/claim-adam.yaml                  # once: trains the whole grid
    python -m benchmarks.search_recorded --record results/claim-adam
    python -m benchmarks.search_recorded [--searches 20] [--output FILE.md]

Question: how many epochs does each need until it knows a configuration within a point of the best?
Nothing is trained: a trial of any tool reads its epochs from benchmarks/results/curves.csv (72
configurations of a LeNet x 5 epochs x 5 seeds on CIFAR-100's 20 superclasses). What a configuration
is worth is its mean score over all seeds, which no search sees. After each epoch a search knows
the configuration with the best score so far; it has arrived when that one is, and from then on
stays, within 0.01 of the best. Every tool may try all 72 configurations.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from tests.search.surface import Row, Simulation
from tuner.experiment import Experiment, load_experiment
from tuner.experiment.trial import Configuration

HERE = Path(__file__).parent
EXPERIMENT = HERE.parent / "experiments" / "claim-adam.yaml"
CURVES = HERE / "results" / "curves.csv"
NAMES = ("training.learning_rate", "training.beta_2", "training.l2")
EPOCHS, WITHIN = 5, 0.01

Point = tuple[float, ...]
"""The values of NAMES."""

OURS = {
    "grid": "method: grid",
    "random": "method: random, max_trials: 72",
    "sobol": "method: sobol, max_trials: 72",
    "bayesian": "method: bayesian, max_trials: 72",
    "tpe": "method: tpe, max_trials: 72",
    "hyperband": "method: hyperband, max_trials: 72",
    "grid + asha": "method: grid, stop: {rule: asha}",
    "random + asha": "method: random, max_trials: 72, stop: {rule: asha}",
    "random + median": "method: random, max_trials: 72, stop: {rule: median}",
    "bayesian + asha": "method: bayesian, max_trials: 72, stop: {rule: asha}",
    "tpe + asha": "method: tpe, max_trials: 72, stop: {rule: asha}",
}


class Curves:
    """The recorded curves of one seed, and what each configuration is worth over all of them."""

    def __init__(self, path: Path, seed: int) -> None:
        by_seed: dict[int, dict[Point, list[float]]] = {}
        with path.open() as file:
            for line in csv.DictReader(file):
                point = tuple(float(line[name]) for name in NAMES)
                curves = by_seed.setdefault(int(line["seed"]), {})
                curves.setdefault(point, []).append(float(line["val_accuracy"]))
        self.seeds = sorted(by_seed)
        self.curves = by_seed[self.seeds[seed]]
        self.worth = {
            point: statistics.mean(max(curves[point]) for curves in by_seed.values())
            for point in self.curves
        }
        self.best = max(self.worth.values())

    def curve(self, configuration: Configuration) -> list[float]:
        """For `Simulation`: what is observed."""
        return self.curves[point_of(configuration)]

    def seconds(self, configuration: Configuration, epoch: int) -> float:
        """For `Simulation`: all epochs take equally long."""
        return 1.0


def point_of(configuration: Configuration) -> Point:
    """The values of a configuration of ours."""
    flat = configuration.flat()
    return tuple(float(flat[name]) for name in NAMES)


@dataclass
class Course:
    """What a search has seen, epoch by epoch, whichever tool it is."""

    curves: Curves
    leaders: list[float] = field(default_factory=list)  # worth of the best so far, by epoch
    _best: tuple[float, float] = (-math.inf, 0.0)

    def see(self, point: Point, score: float) -> None:
        """An epoch was trained, and its score is known."""
        if score > self._best[0]:
            self._best = score, self.curves.worth[point]
        self.leaders.append(self._best[1])

    @property
    def arrived(self) -> float:
        """Epochs after which the leader stays within WITHIN of the best; infinite if never."""
        away = [self.curves.best - worth > WITHIN + 1e-9 for worth in self.leaders]
        if not away or away[-1]:
            return math.inf
        return len(away) - away[::-1].index(True) + 1 if True in away else 1


class _Watched(Simulation):
    """A run of ours that tells a course of every epoch."""

    def __init__(self, experiment: Experiment, course: Course) -> None:
        super().__init__(experiment, course.curves)  # type: ignore[arg-type]
        self.course = course

    def _train(self, row: Row) -> bool:
        goes_on = super()._train(row)
        self.course.see(point_of(row.configuration), row.curve[-1])
        return goes_on


def by_tuner(search: str) -> Callable[[Course, int], None]:
    """One of our searches."""

    def run(course: Course, seed: int) -> None:
        override = f"search={{{search}, seed: {seed}}}"
        _Watched(load_experiment(EXPERIMENT, [override]), course).run()

    return run


def by_optuna(sampler: str, pruner: str) -> Callable[[Course, int], None]:
    """Optuna over the same points, each value by its place on its scale."""

    def run(course: Course, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        axes = [sorted({point[axis] for point in course.curves.curves}) for axis in range(3)]

        def objective(trial: Any) -> float:
            places = [trial.suggest_int(n, 0, len(a) - 1) for n, a in zip(NAMES, axes, strict=True)]
            point = tuple(axis[place] for axis, place in zip(axes, places, strict=True))
            for epoch, score in enumerate(course.curves.curves[point], start=1):
                course.see(point, score)
                trial.report(score, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return max(course.curves.curves[point])

        samplers = {
            "random": lambda: optuna.samplers.RandomSampler(seed=seed),
            "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        }
        pruners = {
            "none": optuna.pruners.NopPruner,
            "asha": lambda: optuna.pruners.SuccessiveHalvingPruner(1, reduction_factor=3),
            "median": optuna.pruners.MedianPruner,
        }
        study = optuna.create_study(
            direction="maximize", sampler=samplers[sampler](), pruner=pruners[pruner]()
        )
        study.optimize(objective, n_trials=len(course.curves.curves))

    return run


def by_keras_tuner(method: str) -> Callable[[Course, int], None]:
    """keras-tuner's oracles, fed from the curves."""

    def run(course: Course, seed: int) -> None:
        import keras_tuner

        axes = [sorted({point[axis] for point in course.curves.curves}) for axis in range(3)]
        space = keras_tuner.HyperParameters()
        for name, axis in zip(NAMES, axes, strict=True):
            space.Choice(name, axis, ordered=True)
        common_options = {
            "objective": keras_tuner.Objective("val_accuracy", "max"),
            "hyperparameters": space,
            # 0 is taken as none. Each draw takes the next seed, so that searches with seeds side by
            # side try the same configurations, only shifted.
            "seed": 1 + 1_000 * seed,
        }
        most = len(course.curves.curves)
        oracles = {
            "grid": lambda: keras_tuner.oracles.GridSearchOracle(max_trials=most, **common_options),
            "random": lambda: keras_tuner.oracles.RandomSearchOracle(
                max_trials=most, **common_options
            ),
            "bayesian": lambda: keras_tuner.oracles.BayesianOptimizationOracle(
                max_trials=most, **common_options
            ),
            "hyperband": lambda: keras_tuner.oracles.HyperbandOracle(
                max_epochs=EPOCHS, factor=3, **common_options
            ),
        }

        class Recorded(keras_tuner.engine.base_tuner.BaseTuner):  # type: ignore[misc]
            def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
                values = trial.hyperparameters.values
                point = tuple(float(values[name]) for name in NAMES)
                first = values.get("tuner/initial_epoch", 0)
                scores = course.curves.curves[point][first : values.get("tuner/epochs", EPOCHS)]
                for score in scores:
                    course.see(point, score)
                return max(scores)

        with tempfile.TemporaryDirectory() as folder:
            tuner = Recorded(
                oracles[method](), lambda hp: None, directory=folder, project_name="recorded"
            )
            tuner.search(verbose=0)

    return run


def all_searches() -> Iterator[tuple[str, Callable[[Course, int], None]]]:
    """Each search with its name."""
    from tuner.search import METHODS

    for name, search in OURS.items():
        if search.split(",")[0].removeprefix("method: ") in METHODS:
            yield f"tuner: {name}", by_tuner(search)
    for sampler, pruner in (
        ("random", "asha"),
        ("tpe", "none"),
        ("tpe", "asha"),
        ("tpe", "median"),
    ):
        yield f"Optuna: {sampler}, pruner {pruner}", by_optuna(sampler, pruner)
    for method in ("grid", "random", "bayesian", "hyperband"):
        yield f"keras-tuner: {method}", by_keras_tuner(method)


HEAD = (
    "search",
    "runs",
    "arrived",
    "epochs until then: median (95 % interval)",
    "quartiles",
    "epochs in all",
    "regret at the end, points (95 % interval)",
)


def row(name: str, search: Callable[[Course, int], None], searches: int, path: Path) -> list[Any]:
    """One search on the curves of every seed, under several seeds of its own."""
    num_curves = len(Curves(path, 0).seeds)
    courses: list[list[Course]] = []  # by seed of the search, which decides where it begins
    for seed in range(searches):
        courses.append([Course(Curves(path, number)) for number in range(num_curves)])
        for course in courses[-1]:
            search(course, seed)
    arrived = np.array([[course.arrived for course in alike] for alike in courses])
    epochs = [len(course.leaders) for alike in courses for course in alike]
    regrets = np.array([[c.curves.best - c.leaders[-1] for c in alike] for alike in courses])
    low, middle, high = _quantiles(arrived, [0.25, 0.5, 0.75])
    return [
        name,
        arrived.size,
        int(np.isfinite(arrived).sum()),
        f"{_epochs(middle)} ({_ends(arrived, lambda a: _quantiles(a, [0.5])[0], _epochs)})",
        f"{_epochs(low)} to {_epochs(high)}",
        f"{statistics.median(epochs):.0f}",
        f"{regrets.mean() * 100:.2f} ({_ends(regrets * 100, np.mean, '{:.2f}'.format)})",
    ]


def _quantiles(values: np.ndarray[Any, Any], shares: Sequence[float]) -> list[float]:
    return list(np.quantile(values, shares, method="inverted_cdf"))


def _epochs(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "never"


def _ends(
    values: np.ndarray[Any, Any],
    statistic: Callable[[np.ndarray[Any, Any]], Any],
    text: Callable[[float], str],
) -> str:
    """Of a 95 % interval; seeds of the search are drawn again, as their runs are alike."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(values), (2_000, len(values)))
    low, high = _quantiles(np.array([statistic(values[rows]) for rows in drawn]), [0.025, 0.975])
    return f"{text(low)} to {text(high)}"


def record(folder: Path) -> None:
    """The epochs of a results folder as the file that the searches read."""
    import tuner

    results = tuner.open_results(folder)
    trials = results.trials().set_index("trial")
    with CURVES.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*NAMES, "seed", "epoch", "val_accuracy"])
        for epoch in results.epochs().itertuples():
            values = [trials.loc[epoch.trial, name] for name in (*NAMES, "seed")]
            writer.writerow([*values, epoch.epoch, f"{epoch.val_accuracy:.4f}"])


def main() -> None:
    """Record, or let every search run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=Path, metavar="FOLDER")
    parser.add_argument("--searches", type=int, default=20, help="seeds of each search")
    parser.add_argument("--only", default="", help="how its name begins")
    parser.add_argument("--curves", type=Path, default=CURVES)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.record:
        record(options.record)
        return
    rows = []
    for name, search in all_searches():
        if name.startswith(options.only):
            rows.append(row(name, search, options.searches, options.curves))
            print(rows[-1], flush=True)
    title = f"Epochs until a configuration within {WITHIN} of the best leads; the grid has 360"
    text = f"{common.environment()}\n\n{common.table(title, HEAD, rows)}"
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
