"""The JAX program on a GPU: is it right, how fast is it, and how does a short search compare?

    python -m benchmarks.gpu [--minutes 12] [--output FILE.md]

Needs no TensorFlow. What was measured is printed and written after every row; what does not fit
into the minutes, start-up included, is named as not measured. On a machine without a GPU it runs in
a reduced form (fewer images, smaller networks), which shows that it works and measures nothing of
interest. Data: the file in $TUNER_NPZ, CIFAR-100 from $TUNER_DATA_DIR, or noise.

In this order, by worth:

1. The same short training on the CPU and on the GPU must agree (float32, highest matmul precision).
2. Six trials of one structure by `keras_tuner.GridSearch` and by tuner, in processes of their own.
3. Seconds per epoch and until the first step is done, operations a second beside the device's
   matrix rate, and peak memory: of published networks, of a DenseNet in plain Keras layers, which
   normalizes a channel anew for every layer that reads it, and of one that is memory-efficient.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import common, sweep

DENSENET = sweep.CASES["densenet"]["model"]
SMALL_DENSENET = {**DENSENET, "depth": 10}
NOISE_IMAGES = 30_000

Row = tuple[str, dict[str, Any]]


def _row(name: str, model: dict[str, Any], batch_size: int, precision: str, **more: Any) -> Row:
    return name, {"model": model, "batch_size": batch_size, "precision": precision, **more}


HALF = "mixed_bfloat16"
ROWS: list[Row] = [
    _row("ResNet-20", {"family": "resnet", "depth": 20}, 128, HALF),
    _row("DenseNet-BC-100-12", DENSENET, 64, HALF),
    _row("DenseNet-BC-100-12, plain Keras layers", DENSENET, 64, HALF, plain=True),
    _row("DenseNet-BC-100-12, memory-efficient", {**DENSENET, "memory_efficient": True}, 64, HALF),
    _row("WRN-28-10", {"family": "wide_resnet", "depth": 28, "widen_factor": 10}, 128, HALF),
    _row("ResNet-56", {"family": "resnet", "depth": 56}, 128, HALF),
    _row("ResNet-20", {"family": "resnet", "depth": 20}, 128, "float32"),
    _row("DenseNet-BC-100-12", DENSENET, 64, "float32"),
]
SMALL_ROWS: list[Row] = [
    _row("ResNet-8", {"family": "resnet", "depth": 8}, 64, HALF),
    _row("DenseNet-BC-10-12", SMALL_DENSENET, 64, "float32"),
    _row("DenseNet-BC-10-12, plain Keras layers", SMALL_DENSENET, 64, "float32", plain=True),
    _row(
        "DenseNet-BC-10-12, memory-efficient",
        {**SMALL_DENSENET, "memory_efficient": True},
        64,
        "float32",
    ),
]
EPOCH_IMAGES, SMALL_EPOCH_IMAGES = 25_000, 256
SEARCH_IMAGES, SMALL_SEARCH_IMAGES = 2560, 128
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
AUGMENT = ("crop", "flip")
HEAD = ["network", "precision", "first step s", "epoch s", "images/s"]
HEAD += ["TFLOP/s", "of the matrix rate", "peak MB", "loss, epoch 3"]


# ---------------------------------------------------------------- one side, in its own process


def make_program(case: dict[str, Any], data: Any, images: Any) -> Any:
    from tuner.training.jax import JaxProgram
    from tuner.training.program import Blueprint

    def build() -> Any:
        if not case.get("plain"):
            return sweep.network(case["model"], data)
        from benchmarks.counterparts import Counterpart, densenet_bc

        return Counterpart(data.image_shape, densenet_bc(case["model"]["depth"])).model

    return JaxProgram(Blueprint(build, "adam", case["batch_size"], case["precision"]), images)


def hyperparameters() -> Any:
    from tuner.training.program import Hyperparameters

    return Hyperparameters(TRAINING, {"dropout": 0.1}, seed=0)


def short_training(case: dict[str, Any], started: float) -> dict[str, Any]:
    """Two epochs of 512 images: the losses, and a few figures of the weights."""
    import jax
    import numpy as np

    from tuner.training.jax import JaxProgram

    data = sweep.load(512, AUGMENT)
    images = JaxProgram.place(data, AUGMENT)
    program = make_program({**CHECK, "precision": "float32"}, data, images)
    state, losses = program.initial(0), []
    for epoch in range(2):
        state, metrics = program.train_epoch(state, hyperparameters(), epoch)
        validation = program.evaluate(state, hyperparameters())
        losses += [metrics["loss"], validation["loss"]]
    weights = np.asarray(state.weights, np.float64)
    norm = float(np.sqrt((weights**2).sum()))
    device = jax.devices()[0]
    kind = {"device": device.device_kind, "platform": device.platform}
    return {"losses": losses, "norm": norm, **kind}


def epoch_times(case: dict[str, Any], started: float) -> dict[str, Any]:
    """First-step seconds, the median of a few epochs, and what the device could do."""
    import statistics

    from tuner.models import family_of
    from tuner.training.jax import JaxProgram
    from tuner.training.matrix_rate import matrix_flops

    data = sweep.load(case["images"], AUGMENT)
    images = JaxProgram.place(data, AUGMENT)
    begun = time.perf_counter()
    program = make_program(case, data, images)
    state, totals = program._train_steps(*_first_step(program, program.initial(0)))
    float(totals.loss)  # waits for it
    first = time.perf_counter() - begun
    state, seconds = program.initial(0), []
    for epoch in range(3):
        begun = time.perf_counter()
        state, metrics = program.train_epoch(state, hyperparameters(), epoch)
        seconds.append(time.perf_counter() - begun)
    peak = _peak_bytes(program)
    family = family_of(case["model"]["family"])
    cost = family.cost(family.config(**case["model"]), data.image_shape, data.num_classes)
    return {
        "first": first,
        "epoch": statistics.median(seconds[1:]),
        "flop": 3 * 2 * cost.macs * case["images"],  # an epoch's; a backward pass is two forward
        "rate": matrix_flops(case["precision"]),
        "peak": peak,
        "loss": metrics["loss"],
    }


def _first_step(program: Any, state: Any) -> tuple[Any, ...]:
    """Arguments of one step."""
    values = program._device_values(hyperparameters())
    plan = program.plan_epoch(hyperparameters(), 0)
    epoch = type(plan)(*program._to_device(tuple(plan)))
    return state, program._zero_totals(), values, epoch, 0, 1


def _peak_bytes(program: Any) -> int:
    """The most that the device has held; on a CPU, which does not tell, what a step works in."""
    import jax

    device = jax.devices()[0].memory_stats()
    if device and "peak_bytes_in_use" in device:
        return int(device["peak_bytes_in_use"])
    return int(program._train[program.blueprint.batch_size].memory_analysis().temp_size_in_bytes)


SIDES = {
    "short": short_training,
    "epochs": epoch_times,
    "keras_tuner": sweep.by_keras_tuner,
    "tuner": sweep.by_tuner,
}


# ---------------------------------------------------------------- all of it, within its minutes


class Report:
    """What was measured, written after every part; `deadline` is on the clock of `perf_counter`."""

    def __init__(self, heading: str, output: Path | None, deadline: float) -> None:
        self._parts, self._output, self._deadline = [heading], output, deadline
        self._put()

    def measured(self, side: str, case: dict[str, Any], **environ: str) -> dict[str, Any]:
        """One side in a process of its own.

        Raises:
            TimeoutError: the time is up, before or while it ran.
        """
        begun, arguments = time.perf_counter(), {"side": side, "case": case}
        if (left := self._deadline - begun) <= 0:
            raise TimeoutError
        try:
            found = common.in_process(
                __file__, arguments, timeout_seconds=left, KERAS_BACKEND="jax", **environ
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        return {**found, "whole": time.perf_counter() - begun}

    def add(self, title: str, make: Callable[[], str]) -> None:
        """A part; one for which there is no time is named."""
        try:
            self._parts.append(make())
        except (TimeoutError, SystemExit) as error:
            self._parts.append(f"### {title}\n\nNot measured: {_why(error)}\n")
        self._put()

    def add_rows(self, title: str, rows: list[Row], row: Callable[[str, Any], list[Any]]) -> None:
        """A table that grows row by row."""
        self._parts.append("")
        done: list[list[Any]] = []
        for name, case in rows:
            try:
                done.append(row(name, case))
            except (TimeoutError, SystemExit) as error:
                done.append([name, case["precision"], f"not measured: {_why(error)}"])
            self._parts[-1] = common.table(title, HEAD, done)
            self._put()

    def _put(self) -> None:
        print(self._parts[-1], flush=True)
        if self._output:
            self._output.write_text("\n".join(self._parts))


def _why(error: BaseException) -> str:
    """In a line that a table bears; a part that fails costs no other its time on the device."""
    said = str(error).strip().splitlines()
    return said[-1].replace("|", "/") if said else "the time was up"


def agreement(report: Report, *, full: bool) -> str:
    exact = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    cpu = report.measured("short", {}, JAX_PLATFORMS="cpu", **exact)
    here = report.measured("short", {}, **exact)
    if full and here["platform"] == "cpu":
        raise RuntimeError("there is a GPU, and JAX computes on the CPU: no figure would be of it")
    largest = max(abs(a - b) / a for a, b in zip(cpu["losses"], here["losses"], strict=True))
    verdict = "agree" if largest < 0.02 and math.isfinite(largest) else "DISAGREE"
    rows = [
        [name, *(f"{loss:.5f}" for loss in run["losses"]), f"{run['norm']:.4f}"]
        for name, run in (("CPU", cpu), (here["device"], here))
    ]
    head = ["", "loss 1", "val_loss 1", "loss 2", "val_loss 2", "norm of weights"]
    title = f"ResNet-8, 16 steps: {verdict}, largest relative difference {largest:.2g}"
    return common.table(title, head, rows)


def search(report: Report, model: dict[str, Any], num_images: int) -> str:
    case = {"model": model, "train_images": num_images, "batch_size": 128, "backend": "jax"}
    with tempfile.TemporaryDirectory() as cache:  # what an earlier run compiled would not be fair
        ours = report.measured("tuner", case, TUNER_CACHE_DIR=cache)
    theirs = report.measured("keras_tuner", case)
    rows = [
        [name, run["whole"], run["search"], _best(run["scores"])]
        for name, run in (("keras-tuner", theirs), ("tuner", ours))
    ]
    whole, alone = theirs["whole"] / ours["whole"], theirs["search"] / ours["search"]
    title = (
        f"6 trials x 1 epoch of {num_images:,} images: ratio {whole:.2f}; search alone {alone:.2f}"
    )
    head = ["", "whole process s", "search alone s", "best val_accuracy"]
    return common.table(title, head, rows)


def _best(scores: list[float | None]) -> str:
    known = [score for score in scores if score is not None]
    failed = f" ({len(scores) - len(known)} failed)" if len(known) < len(scores) else ""
    return f"{max(known, default=math.nan):.3f}{failed}"


def epoch_row(report: Report, name: str, case: dict[str, Any]) -> list[Any]:
    found = report.measured("epochs", case)
    pace = found["flop"] / found["epoch"]
    speed = [found["first"], found["epoch"], case["images"] / found["epoch"]]
    share = f"{pace / found['rate']:.1%}"
    return [
        name,
        case["precision"],
        *speed,
        pace / 1e12,
        share,
        f"{found['peak'] / 2**20:,.0f}",
        found["loss"],
    ]


def has_gpu() -> bool:
    from tuner.ledger.environment import gpus

    return bool(gpus())


def write_noise(folder: str) -> str:
    """Images that say nothing, as many as an epoch needs: made-up ones are too few."""
    import numpy as np

    rng = np.random.default_rng(0)
    path = f"{folder}/noise.npz"
    images = rng.integers(0, 256, (NOISE_IMAGES, 32, 32, 3), np.uint8)
    np.savez(path, x_train=images, y_train=np.arange(NOISE_IMAGES) % 100)
    return path


def measure(report: Report, *, full: bool) -> None:
    rows, num_images = (ROWS, EPOCH_IMAGES) if full else (SMALL_ROWS, SMALL_EPOCH_IMAGES)
    searched = SEARCH_IMAGES if full else SMALL_SEARCH_IMAGES
    model = rows[0][1]["model"]
    report.add("Agreement with the CPU", lambda: agreement(report, full=full))
    report.add("Six trials beside keras-tuner", lambda: search(report, model, searched))
    cases = [(name, {**case, "images": num_images}) for name, case in rows]
    title = f"Epochs of {num_images:,} images, crop and flip"
    report.add_rows(title, cases, lambda name, case: epoch_row(report, name, case))


def main() -> None:
    started = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=12.0)
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
    with tempfile.TemporaryDirectory() as folder:
        data = "a given .npz" if "TUNER_NPZ" in os.environ else common.dataset()
        if full and data == "synthetic":
            data, os.environ["TUNER_NPZ"] = "noise", write_noise(folder)
        heading = f"Form: {form}. Data: {data}. {common.environment()}\n"
        deadline = started + 60 * options.minutes
        measure(Report(heading, options.output, deadline), full=full)


if __name__ == "__main__":
    main()
