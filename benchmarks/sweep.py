"""The same grid by keras-tuner and by tuner: same network, same images, same values.

    python -m benchmarks.sweep [--rounds 3] [--case resnet] [--output FILE.md]

Sweeps of six trials (learning rate x beta_1), TensorFlow on the CPU: two of one epoch, one that is
long enough to compare what is reached, and one long trial against plain `model.fit`. Sweeps run by
tuner as usual, with one worker, and a second time with two workers of one thread. Each side runs in
a process of its own, in turn, so that all see the same noise; seconds are of whole processes,
imports included, and of the search alone (after imports and loading). The ratio is the median over
rounds of pairwise ratios.

keras-tuner side: `keras_tuner.GridSearch`, whose `build` makes our network with Keras' Adam, fed by
`model.fit` with normalized float32 arrays. It needs the package tensorboard to run at all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import common

LEARNING_RATES = [1e-4, 1e-3, 1e-2]
BETAS = [0.9, 0.8]
CASES: dict[str, dict[str, Any]] = {
    "resnet": {
        "title": "6 trials x 1 epoch of 2,560 images, ResNet-20, batch 128",
        "model": {"family": "resnet", "depth": 20},
        "train_images": 2560,
        "batch_size": 128,
        "goal": 2.8,
    },
    "densenet": {
        "title": "6 trials x 1 epoch of 640 images, DenseNet-BC-100-12, batch 64",
        "model": {
            "family": "densenet",
            "depth": 100,
            "growth_rate": 12,
            "bottleneck": True,
            "compression": 0.5,
        },
        "train_images": 640,
        "batch_size": 64,
        "goal": 4.0,
    },
    "accuracy": {
        "title": "6 trials x 6 epochs of 2,560 images, ResNet-8, batch 64",
        "model": {"family": "resnet", "depth": 8},
        "train_images": 2560,
        "batch_size": 64,
        "epochs": 6,
        "goal": "equal accuracies",
    },
}
Runs = list[dict[str, Any]]
VALIDATION = 500
LONG = {"epochs": 6, "train_images": 2560, "batch_size": 128, "goal": 1.05}


# ---------------------------------------------------------------- one side, in its own process


def load(train_images: int, augment: tuple[str, ...] = ()) -> Any:
    from tuner.data.config import DataConfig
    from tuner.data.images import load_images

    config = DataConfig(
        dataset=common.dataset(),
        validation=VALIDATION,
        train_images=train_images,
        augment=augment,
    )
    return load_images(config, common.data_dir())


def network(model: dict[str, Any], data: Any) -> Any:
    from tuner.models import family_of

    family = family_of(model["family"])
    return family.build(family.config(**model), data.image_shape, data.num_classes)


def by_keras_tuner(case: dict[str, Any], started: float) -> dict[str, Any]:
    import keras
    import keras_tuner

    keras.utils.set_random_seed(case.get("seed", 0))
    data = load(case["train_images"])
    normalize = lambda x: ((x - data.mean) / data.std).astype("float32")  # noqa: E731
    train = normalize(data.x_train), data.y_train
    validation = normalize(data.x_validation), data.y_validation

    def build(hp: Any) -> Any:
        model = network(case["model"], data)
        model.compile(
            keras.optimizers.Adam(
                hp.Choice("learning_rate", LEARNING_RATES), beta_1=hp.Choice("beta_1", BETAS)
            ),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5)],
        )
        return model

    with tempfile.TemporaryDirectory() as folder:
        search = keras_tuner.GridSearch(
            build,
            objective="val_accuracy",
            directory=folder,
            project_name="x",
            max_trials=6,
            seed=case.get("seed", 0) + 1,
        )
        begun = time.perf_counter()
        search.search(
            *train,
            validation_data=validation,
            epochs=case.get("epochs", 1),
            batch_size=case["batch_size"],
            verbose=0,
        )
        seconds = time.perf_counter() - begun
        scores = [trial.score for trial in search.oracle.trials.values()]
    return {"search": seconds, "scores": scores}


def by_tuner(case: dict[str, Any], started: float) -> dict[str, Any]:
    from tuner.execution.events import WorkerReady
    from tuner.execution.run import run_experiment
    from tuner.experiment.experiment import parse_experiment
    from tuner.ledger.ledger import Ledger

    document = {
        "name": "sweep",
        "backend": case.get("backend", "tensorflow"),
        "data": {
            "dataset": common.dataset(),
            "validation": VALIDATION,
            "train_images": case["train_images"],
        },
        "model": case["model"],
        "training": {
            "epochs": case.get("epochs", 1),
            "batch_size": case["batch_size"],
            "optimizer": "adam",
            "learning_rate": {"choice": LEARNING_RATES},
            "beta_1": {"choice": BETAS},
        },
    }
    document["search"] = {"seed": case.get("seed", 0)}
    workers = case.get("workers", 1)
    if workers > 1:
        document["resources"] = {"cpu": 1}
    experiment = parse_experiment(json.dumps(document), "sweep.yaml")
    ready = 0.0

    def listener(event: object) -> None:
        nonlocal ready
        if isinstance(event, WorkerReady):
            ready = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        run_experiment(
            experiment,
            results_dir=Path(folder),
            data_dir=common.data_dir(),
            workers=workers,
            listener=listener,
        )
        seconds = time.perf_counter() - ready
        with Ledger.open_read_only(Path(folder) / "sweep" / "ledger.sqlite") as ledger:
            scores = [row.score for row in ledger.rows()]
    return {"search": seconds, "scores": scores}


def by_two_workers(case: dict[str, Any], started: float) -> dict[str, Any]:
    """Two trials at a time, each with one thread, where otherwise one has all."""
    return by_tuner({**case, "workers": 2}, started)


def long_fit(case: dict[str, Any], started: float) -> dict[str, Any]:
    """Plain Keras: tf.data from memory, the same crop and flip done on whole batches."""
    import keras
    import tensorflow as tf

    data = load(LONG["train_images"])
    model = network({"family": "resnet", "depth": 20}, data)
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(5)],
    )
    size = LONG["batch_size"]

    def augment(images: Any, labels: Any) -> tuple[Any, Any]:
        x = (tf.cast(images, tf.float32) - data.mean) / data.std
        x = tf.pad(x, [[0, 0], [4, 4], [4, 4], [0, 0]])
        offsets = tf.random.uniform((size, 2), 0, 9, tf.int32)
        rows = offsets[:, :1] + tf.range(32)
        columns = offsets[:, 1:] + tf.range(32)
        flipped = tf.random.uniform((size, 1)) < 0.5
        columns = tf.where(flipped, columns[:, ::-1], columns)
        x = tf.gather(x, rows, axis=1, batch_dims=1)
        return tf.gather(x, columns, axis=2, batch_dims=1), labels

    batches = (
        tf.data.Dataset.from_tensor_slices((data.x_train, data.y_train))
        .cache()
        .shuffle(LONG["train_images"])
        .batch(size, drop_remainder=True)
        .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )
    model.fit(batches, epochs=1, verbose=0)
    begun = time.perf_counter()
    model.fit(batches, epochs=LONG["epochs"], verbose=0)
    return {"search": time.perf_counter() - begun, "scores": []}


def long_program(case: dict[str, Any], started: float) -> dict[str, Any]:
    """Our program on the same work."""
    from tuner.training.program import Blueprint, Hyperparameters
    from tuner.training.tensorflow import TensorFlowProgram

    if case.get("deterministic", True):
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    data = load(LONG["train_images"], ("crop", "flip"))
    images = TensorFlowProgram.place(data, ("crop", "flip"))
    build = lambda: network({"family": "resnet", "depth": 20}, data)  # noqa: E731
    program = TensorFlowProgram(Blueprint(build, "adam", LONG["batch_size"], "float32"), images)
    training = {
        "schedule": "constant",
        "learning_rate": 1e-3,
        "epochs": LONG["epochs"] + 1,
        "warmup_epochs": 0,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-7,
    }
    values = Hyperparameters(training, {}, seed=0)
    state, _ = program.train_epoch(program.initial(0), values, 0)
    begun = time.perf_counter()
    for epoch in range(1, LONG["epochs"] + 1):
        state, _ = program.train_epoch(state, values, epoch)
    return {"search": time.perf_counter() - begun, "scores": []}


SIDES = {
    "keras_tuner": by_keras_tuner,
    "tuner": by_tuner,
    "two_workers": by_two_workers,
    "fit": long_fit,
    "program": long_program,
}


def side(arguments: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    found = SIDES[arguments["side"]](arguments["case"], started)
    usage = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {**found, "memory_mb": usage / 1024}


# ---------------------------------------------------------------- both sides, in turn


def measured(name: str, case: dict[str, Any]) -> dict[str, Any]:
    begun = time.perf_counter()
    found = common.in_process(__file__, {"side": name, "case": case}, KERAS_BACKEND="tensorflow")
    return {**found, "whole": time.perf_counter() - begun}


def compare(names: tuple[str, ...], case: dict[str, Any], rounds: int) -> list[Runs]:
    found: list[Runs] = [[] for _ in names]
    for seed in range(rounds):
        for runs, name in zip(found, names, strict=True):
            runs.append(measured(name, {**case, "seed": seed}))
            print(f"  {name}: {runs[-1]['whole']:.1f} s", flush=True)
    return found


def sweep_table(case: dict[str, Any], rounds: int) -> str:
    sides = ("keras_tuner", "tuner", "two_workers")
    theirs, ours, two = compare(sides, case, rounds)
    names = ("keras-tuner", "tuner", "tuner, two workers of one thread (`-j 2`)")
    rows = [_sweep_row(*row) for row in zip(names, (theirs, ours, two), strict=True)]
    whole, search = (_ratio(theirs, ours, key) for key in ("whole", "search"))
    verdict = f"ratio {whole:.2f} (goal {case['goal']}); search alone {search:.2f}; "
    verdict += f"two workers of one thread {_ratio(theirs, two, 'whole'):.2f}"
    head = ["", "whole process s", "search alone s", "best val_accuracy"]
    head += ["all six, first round", "peak MB"]
    return common.table(f"{case['title']}: {verdict}", head, rows)


def _sweep_row(name: str, runs: Runs) -> list[Any]:
    best = [max(run["scores"]) for run in runs]
    return [
        name,
        _median(runs, "whole"),
        _median(runs, "search"),
        f"{statistics.median(best):.3f} ({min(best):.3f}-{max(best):.3f})",
        " ".join(f"{score:.3f}" for score in sorted(runs[0]["scores"], reverse=True)),
        f"{_median(runs, 'memory_mb'):.0f}",
    ]


def long_table(rounds: int) -> str:
    theirs, ours = compare(("fit", "program"), {}, rounds)
    images = LONG["epochs"] * LONG["train_images"]
    rows = [
        [name, _median(runs, "search"), images / _median(runs, "search")]
        for name, runs in (("model.fit", theirs), ("tuner", ours))
    ]
    title = f"One long trial, ResNet-20, crop and flip: ratio {_ratio(theirs, ours, 'search'):.2f}"
    head = ["", f"s for {LONG['epochs']} epochs", "images/s"]
    return common.table(f"{title} (goal {LONG['goal']})", head, rows)


def _median(runs: Runs, key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _ratio(theirs: Runs, ours: Runs, key: str) -> float:
    return statistics.median(a[key] / b[key] for a, b in zip(theirs, ours, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=[*CASES, "long"], action="append")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        options.answer.write_text(json.dumps(side(options.side)))
        os._exit(0)
    parts = [f"Data: {common.dataset()}. Rounds: {options.rounds}. {common.environment()}", ""]
    for name in options.case or [*CASES, "long"]:
        print(name, flush=True)
        rounds = options.rounds
        parts.append(long_table(rounds) if name == "long" else sweep_table(CASES[name], rounds))
        print(parts[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
