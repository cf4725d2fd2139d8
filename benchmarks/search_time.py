"""Seconds until a search knows its best configuration, whole processes: ours and other tools.

    python -m benchmarks.search_time [--rounds 3] [--only tuner "Optuna: tpe, asha"] [--images 2560]

Question: how long after typing the command does each tool know a configuration within a point of
the best? The grid: ResNets of 8 and 14 layers, learning rates and beta_1, on real CIFAR-100 (20
superclasses, 1,024 images to train, 1,000 to validate), 9 epochs. Each search runs in a process of
its own, all tools in turn; its clock starts with the process, so imports, compilation and ends
count. keras-tuner and Optuna train plain Keras layers with `model.fit`, as their users do; ours
are the same networks (`shortcut: projection`). The other tools train one trial at a time with all
cores, and so does ours, except in rows that say two workers, where each has half of the cores.

What a configuration is worth is the mean of its best scores over all searches that trained it to
the end. After each epoch a search knows the configuration with the best score so far; it has
arrived when that one is, and from then on stays, within 0.01 of the best.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import common

Point = tuple[float, ...]
"""Depth, learning rate, beta_1."""
Seen = list[tuple[float, Point, int, float]]
"""Seconds since the process began, the configuration, its epoch, and its score."""

FULL = {
    "depths": [8, 14],
    "rates": [1e-4, 1e-3, 1e-2, 1e-1],
    "betas": [0.5, 0.9, 0.98],
    "epochs": 9,
    "images": 1024,
    "validation": 1000,
    "few": 12,
}
QUICK = FULL | {"depths": [8], "rates": [1e-3, 1e-2], "betas": [0.9], "epochs": 3, "few": 2}
WITHIN = 0.01
BATCH = 64
TWO_WORKERS = ", two workers"

OURS = {
    "grid": "method: grid",
    "grid + asha": "method: grid, stop: {rule: asha}",
    "random + asha": "method: random, max_trials: ALL, stop: {rule: asha}",
    "hyperband": "method: hyperband, max_trials: ALL",
    "bayesian": "method: bayesian, max_trials: FEW",
    "tpe": "method: tpe, max_trials: FEW",
}


# ---------------------------------------------------------------- one search, in its own process


def by_tuner(case: dict[str, Any], began: float) -> Seen:
    import tuner

    search = OURS[case["search"].removesuffix(TWO_WORKERS)]
    points = len(case["depths"]) * len(case["rates"]) * len(case["betas"])
    search = search.replace("ALL", str(points)).replace("FEW", str(case["few"]))
    document = {
        "name": "search-time",
        "data": {
            "dataset": "cifar100_coarse",
            "train_images": case["images"],
            "validation": case["validation"],
        },
        "model": {
            "family": "resnet",
            "depth": {"choice": case["depths"]},
            "shortcut": "projection",
        },
        "training": {
            "epochs": case["epochs"],
            "batch_size": BATCH,
            "learning_rate": {"choice": case["rates"]},
            "beta_1": {"choice": case["betas"]},
        },
    }
    values: dict[int, Point] = {}
    seen: Seen = []

    def listen(event: Any) -> None:
        if isinstance(event, tuner.events.TrialStarted):
            values[event.number] = (
                event.values["model.depth"],
                event.values["training.learning_rate"],
                event.values["training.beta_1"],
            )
        if isinstance(event, tuner.events.EpochEnded):
            score = event.metrics["val_accuracy"]
            seen.append((time.time() - began, values[event.number], event.epoch, score))

    override = f"search={{{search}, seed: {case['seed']}}}"
    from tuner.experiment import load_experiment

    with tempfile.TemporaryDirectory() as folder:
        tuner.run(
            load_experiment(document, [override]),
            results_dir=folder,
            data_dir=common.data_dir(),
            workers=2 if case["search"].endswith(TWO_WORKERS) else 1,
            on_event=listen,
            progress=False,
        )
    return seen


class KerasSide:
    """What users of the other tools write: arrays, a function that builds, and `model.fit`."""

    def __init__(self, case: dict[str, Any], began: float) -> None:
        import keras

        from tuner.data.config import DataConfig
        from tuner.data.images import load_images

        keras.utils.set_random_seed(case["seed"])
        config = DataConfig(
            dataset="cifar100_coarse", validation=case["validation"], train_images=case["images"]
        )
        data = load_images(config, common.data_dir())
        scale = lambda x: ((x - data.mean) / data.std).astype("float32")  # noqa: E731
        self.train = scale(data.x_train), data.y_train
        self.validation = scale(data.x_validation), data.y_validation
        self._shape, self._classes = data.image_shape, data.num_classes
        self._began = began
        self.case = case
        self.seen: Seen = []

    def build(self, point: Point) -> Any:
        """The compiled model of a configuration."""
        import keras

        from benchmarks.counterparts import Counterpart, resnet

        depth, rate, beta = point
        model = Counterpart(self._shape, resnet(int(depth), self._classes)).model
        model.compile(
            keras.optimizers.Adam(rate, beta_1=beta),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        return model

    def watcher(self, point: Point) -> Any:
        """A callback that notes every epoch."""
        import keras

        note = lambda epoch, logs: self.seen.append(  # noqa: E731
            (time.time() - self._began, point, epoch + 1, float(logs["val_accuracy"]))
        )
        return keras.callbacks.LambdaCallback(on_epoch_end=note)


def by_keras_tuner(case: dict[str, Any], began: float) -> Seen:
    import keras_tuner

    side = KerasSide(case, began)

    def point_of(hp: Any) -> Point:
        return (
            hp.Choice("depth", case["depths"]),
            hp.Choice("learning_rate", case["rates"]),
            hp.Choice("beta_1", case["betas"]),
        )

    class Model(keras_tuner.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            return side.build(point_of(hp))

        def fit(self, hp: Any, model: Any, *args: Any, callbacks: Any, **kwargs: Any) -> Any:
            watched = [*callbacks, side.watcher(point_of(hp))]
            return model.fit(*args, callbacks=watched, **kwargs)

    options = {"objective": "val_accuracy", "seed": case["seed"] + 1, "project_name": "x"}
    with tempfile.TemporaryDirectory() as folder:
        options["directory"] = folder
        search = {
            "grid": lambda: keras_tuner.GridSearch(Model(), max_trials=999, **options),
            "hyperband": lambda: keras_tuner.Hyperband(
                Model(), max_epochs=case["epochs"], factor=3, **options
            ),
            "bayesian": lambda: keras_tuner.BayesianOptimization(
                Model(), max_trials=case["few"], **options
            ),
        }[case["search"]]()
        search.search(
            *side.train,
            validation_data=side.validation,
            epochs=case["epochs"],
            batch_size=BATCH,
            verbose=0,
        )
    return side.seen


def by_optuna(case: dict[str, Any], began: float) -> Seen:
    import keras
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    side = KerasSide(case, began)

    def objective(trial: Any) -> float:
        point = (
            trial.suggest_categorical("depth", case["depths"]),
            case["rates"][trial.suggest_int("learning_rate", 0, len(case["rates"]) - 1)],
            case["betas"][trial.suggest_int("beta_1", 0, len(case["betas"]) - 1)],
        )
        pruned = False

        def prune(epoch: int, logs: Any) -> None:
            nonlocal pruned
            trial.report(float(logs["val_accuracy"]), epoch + 1)
            if trial.should_prune():
                model.stop_training = pruned = True

        model = side.build(point)
        model.fit(
            *side.train,
            validation_data=side.validation,
            epochs=case["epochs"],
            batch_size=BATCH,
            callbacks=[side.watcher(point), keras.callbacks.LambdaCallback(on_epoch_end=prune)],
            verbose=0,
        )
        if pruned:
            raise optuna.TrialPruned
        return max(score for _, p, _, score in side.seen if p == point)

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=case["seed"], multivariate=True),
        pruner=optuna.pruners.SuccessiveHalvingPruner(1, reduction_factor=3),
    )
    points = len(case["depths"]) * len(case["rates"]) * len(case["betas"])
    study.optimize(objective, n_trials=points)
    return side.seen


SIDES: dict[str, Callable[[dict[str, Any], float], Seen]] = {
    "tuner": by_tuner,
    "keras-tuner": by_keras_tuner,
    "Optuna": by_optuna,
}
SEARCHES = [
    ("keras-tuner", "grid"),
    ("tuner", "grid"),
    ("tuner", "grid" + TWO_WORKERS),
    ("tuner", "grid + asha"),
    ("keras-tuner", "hyperband"),
    ("tuner", "hyperband"),
    ("tuner", "hyperband" + TWO_WORKERS),
    ("Optuna", "tpe, asha"),
    ("tuner", "random + asha"),
    ("tuner", "random + asha" + TWO_WORKERS),
    ("keras-tuner", "bayesian"),
    ("tuner", "bayesian"),
    ("tuner", "bayesian" + TWO_WORKERS),
    ("tuner", "tpe"),
]


# ---------------------------------------------------------------- all searches, in turn


def measured(tool: str, search: str, case: dict[str, Any], seed: int) -> dict[str, Any]:
    began = time.time()
    arguments = {
        "side": tool,
        "case": {**case, "search": search, "seed": seed},
        "began": began,
    }
    answer = common.in_process(__file__, arguments, KERAS_BACKEND="tensorflow")
    seen = [
        (seconds, tuple(point), epoch, score) for seconds, point, epoch, score in answer["seen"]
    ]
    return {"tool": tool, "search": search, "seen": seen, "whole": time.time() - began}


def worths(runs: list[dict[str, Any]], epochs: int) -> dict[Point, float]:
    """Mean of the best scores of each configuration, over the runs that trained it to the end."""
    scores: dict[Point, list[float]] = {}
    for run in runs:
        best: dict[Point, float] = {}
        for _, point, _, score in run["seen"]:
            best[point] = max(score, best.get(point, -math.inf))
        for point in {point for _, point, epoch, _ in run["seen"] if epoch == epochs}:
            scores.setdefault(point, []).append(best[point])
    return {point: statistics.mean(found) for point, found in scores.items()}


def arrived(seen: Seen, worth: dict[Point, float]) -> float:
    """Seconds after which the leader stays within WITHIN of the best; infinite if never."""
    best, leading, since = -math.inf, False, math.inf
    for seconds, point, _, score in seen:
        if score > best:
            best = score
            is_good = max(worth.values()) - worth.get(point, 0.0) <= WITHIN + 1e-9
            since = since if is_good and leading else seconds
            leading = is_good
    return since if leading else math.inf


def table(runs: list[dict[str, Any]], case: dict[str, Any]) -> str:
    worth = worths(runs, case["epochs"])
    rows = []
    for tool, search in SEARCHES:
        found = [run for run in runs if (run["tool"], run["search"]) == (tool, search)]
        if found:
            times = sorted(arrived(run["seen"], worth) for run in found)
            median = times[(len(times) - 1) // 2]
            rows.append(
                [
                    f"{tool}: {search}",
                    len(found),
                    f"{median:.0f}" if math.isfinite(median) else "never",
                    sum(map(math.isfinite, times)),
                    statistics.median(run["whole"] for run in found),
                    statistics.median(len(run["seen"]) for run in found),
                ]
            )
    head = ["search", "runs", "median s until the best is known", "arrived", "whole s", "epochs"]
    title = f"{len(worth)} configurations x {case['epochs']} epochs of {case['images']} images"
    return common.table(title, head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="of the first round")
    parser.add_argument("--quick", action="store_true", help="two configurations")
    parser.add_argument("--images", type=int, help="to train on, instead of 1,024")
    parser.add_argument("--only", nargs="+", help="tools, or searches as `tool: search`")
    parser.add_argument(
        "--keep", type=Path, help="add what is seen to this file, and start from it"
    )
    parser.add_argument("--output", type=Path)
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        asked = options.side
        seen = SIDES[asked["side"]](asked["case"], asked["began"])
        options.answer.write_text(json.dumps({"seen": seen}))
        return
    case = QUICK if options.quick else FULL
    if options.images:
        case = case | {"images": options.images}
    names = {tool for tool, _ in SEARCHES} | {f"{tool}: {search}" for tool, search in SEARCHES}
    if unknown := set(options.only or ()) - names:
        parser.error(f"--only {', '.join(sorted(unknown))}: expected {', '.join(sorted(names))}")
    runs = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else []
    for run in runs:
        run["seen"] = [(s, tuple(point), e, score) for s, point, e, score in run["seen"]]
    for seed in range(options.first_seed, options.first_seed + options.rounds):
        for tool, search in SEARCHES:
            if options.only and not {tool, f"{tool}: {search}"} & set(options.only):
                continue
            runs.append(measured(tool, search, case, seed))
            print(f"{tool}: {search}: {runs[-1]['whole']:.1f} s", flush=True)
            if options.keep:
                options.keep.write_text(json.dumps(runs))
    text = f"{common.environment()}\n\n{table(runs, case)}"
    print(text)
    if options.output:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
