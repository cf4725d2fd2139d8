"""The JAX program on a GPU: is it right, how fast is it, and how does a short search compare?

    python -m benchmarks.gpu [--output FILE.md]

Needs no TensorFlow. On a machine without a GPU it runs in a reduced form (fewer images, smaller
networks), which shows that it works and measures nothing of interest. Data: the file in
$TUNER_NPZ, CIFAR-100 from $TUNER_DATA_DIR, or made-up images.

1. The same short training on the CPU and on the GPU must agree (float32, highest matmul precision).
2. Seconds per epoch and until the first step is done, per network and precision.
3. Six trials of one structure by `keras_tuner.GridSearch` and by tuner, in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from benchmarks import common, sweep

NETWORKS: dict[str, dict[str, Any]] = {
    "ResNet-20, batch 128": {"model": {"family": "resnet", "depth": 20}, "batch_size": 128},
    "DenseNet-BC-100-12, batch 64": {
        "model": sweep.CASES["densenet"]["model"],
        "batch_size": 64,
    },
}
SMALL_NETWORKS: dict[str, dict[str, Any]] = {
    "ResNet-8, batch 64": {"model": {"family": "resnet", "depth": 8}, "batch_size": 64},
    "DenseNet-BC-10-6, batch 64": {
        "model": {
            "family": "densenet",
            "depth": 10,
            "growth_rate": 6,
            "bottleneck": True,
            "compression": 0.5,
        },
        "batch_size": 64,
    },
}
PRECISIONS = ("float32", "mixed_bfloat16")
EPOCH_IMAGES, SMALL_EPOCH_IMAGES = 25_000, 512
CHECK = {"model": {"family": "resnet", "depth": 8, "dropout": 0.1}, "batch_size": 64}
TRAINING = {
    "schedule": "cosine",
    "learning_rate": 1e-3,
    "epochs": 10,
    "warmup_epochs": 0,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-7,
    "l2": 1e-4,
    "label_smoothing": 0.1,
}


def make_program(case: dict[str, Any], data: Any, images: Any, precision: str) -> Any:
    from tuner.training.jax import JaxProgram
    from tuner.training.program import Blueprint

    build = lambda: sweep.network(case["model"], data)  # noqa: E731
    return JaxProgram(Blueprint(build, "adam", case["batch_size"], precision), images)


def hyperparameters() -> Any:
    from tuner.training.program import Hyperparameters

    return Hyperparameters(TRAINING, {"dropout": 0.1}, seed=0)


def short_training(case: dict[str, Any], started: float) -> dict[str, Any]:
    """Two epochs of 512 images: the losses, and a few figures of the weights."""
    import numpy as np

    from tuner.training.jax import JaxProgram

    data = sweep.load(512, ("crop", "flip"))
    images = JaxProgram.place(data, ("crop", "flip"))
    program = make_program(CHECK, data, images, "float32")
    state, losses = program.initial(0), []
    for epoch in range(2):
        state, metrics = program.train_epoch(state, hyperparameters(), epoch)
        validation = program.evaluate(state, hyperparameters())
        losses += [metrics["loss"], validation["loss"]]
    weights = np.asarray(state.weights, np.float64)
    return {"losses": losses, "norm": float(np.sqrt((weights**2).sum()))}


def epoch_times(case: dict[str, Any], started: float) -> dict[str, Any]:
    """First-step seconds, and the median of a few epochs."""
    import statistics

    from tuner.training.jax import JaxProgram

    data = sweep.load(case["images"], ("crop", "flip"))
    images = JaxProgram.place(data, ("crop", "flip"))
    begun = time.perf_counter()
    program = make_program(case, data, images, case["precision"])
    state = program.initial(0)
    state, _ = program._train_steps(*_first_step(program, state))
    first = time.perf_counter() - begun
    state, seconds = program.initial(0), []
    for epoch in range(3):
        begun = time.perf_counter()
        state, metrics = program.train_epoch(state, hyperparameters(), epoch)
        seconds.append(time.perf_counter() - begun)
    return {
        "first": first,
        "epoch": statistics.median(seconds[1:]),
        "loss": metrics["loss"],
        "traces": program.num_traces,
    }


def _first_step(program: Any, state: Any) -> tuple[Any, ...]:
    """Arguments of one step, whose totals are then read so that it has happened."""
    values = program._device_values(hyperparameters())
    plan = program.plan_epoch(hyperparameters(), 0)
    epoch = type(plan)(*program._to_device(tuple(plan)))
    return state, program._zero_totals(), values, epoch, 0, 1


SIDES = {
    "short": short_training,
    "epochs": epoch_times,
    "keras_tuner": sweep.by_keras_tuner,
    "tuner": sweep.by_tuner,
}


def measured(side: str, case: dict[str, Any], **environ: str) -> dict[str, Any]:
    begun = time.perf_counter()
    arguments = {"side": side, "case": case}
    found = common.in_process(__file__, arguments, KERAS_BACKEND="jax", **environ)
    return {**found, "whole": time.perf_counter() - begun}


def agreement_table() -> str:
    exact = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    cpu = measured("short", {}, JAX_PLATFORMS="cpu", **exact)
    here = measured("short", {}, **exact)
    largest = max(abs(a - b) / a for a, b in zip(cpu["losses"], here["losses"], strict=True))
    verdict = "agree" if largest < 0.02 and math.isfinite(largest) else "DISAGREE"
    rows = [
        [name, *(f"{loss:.5f}" for loss in run["losses"]), f"{run['norm']:.4f}"]
        for name, run in (("CPU", cpu), ("this device", here))
    ]
    head = ["", "loss 1", "val_loss 1", "loss 2", "val_loss 2", "norm of weights"]
    title = f"ResNet-8, 16 steps: {verdict}, largest relative difference {largest:.2g}"
    return common.table(title, head, rows)


def speed_table(networks: dict[str, dict[str, Any]], num_images: int) -> str:
    rows = []
    for name, case in networks.items():
        for precision in PRECISIONS:
            found = measured("epochs", {**case, "images": num_images, "precision": precision})
            pace = num_images / found["epoch"]
            rows.append([name, precision, found["first"], found["epoch"], pace, found["loss"]])
            print(rows[-1], flush=True)
    head = ["network", "precision", "first step s", "epoch s", "images/s", "loss, epoch 3"]
    return common.table(f"Epochs of {num_images:,} images, crop and flip", head, rows)


def search_table(model: dict[str, Any], num_images: int) -> str:
    case = {"model": model, "train_images": num_images, "batch_size": 128, "backend": "jax"}
    theirs, ours = measured("keras_tuner", case), measured("tuner", case)
    rows = [
        [name, run["whole"], run["search"], f"{max(run['scores']):.3f}"]
        for name, run in (("keras-tuner", theirs), ("tuner", ours))
    ]
    whole, search = theirs["whole"] / ours["whole"], theirs["search"] / ours["search"]
    title = (
        f"6 trials x 1 epoch of {num_images:,} images: ratio {whole:.2f}; search alone {search:.2f}"
    )
    head = ["", "whole process s", "search alone s", "best val_accuracy"]
    return common.table(title, head, rows)


def has_gpu() -> bool:
    from tuner.ledger.environment import gpus

    return bool(gpus())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        found = SIDES[options.side["side"]](options.side["case"], time.perf_counter())
        options.answer.write_text(json.dumps(found))
        os._exit(0)
    full = has_gpu()
    form = "full" if full else "REDUCED (no GPU): shows that it works, measures nothing"
    data = "a given .npz" if "TUNER_NPZ" in os.environ else common.dataset()
    parts = [f"Form: {form}. Data: {data}. {common.environment()}", ""]
    print(parts[0], flush=True)
    networks, num_images = (
        (NETWORKS, EPOCH_IMAGES) if full else (SMALL_NETWORKS, SMALL_EPOCH_IMAGES)
    )
    tables = (
        agreement_table,
        lambda: speed_table(networks, num_images),
        lambda: search_table(next(iter(networks.values()))["model"], 2560 if full else 256),
    )
    for make in tables:
        parts.append(make())
        print(parts[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
