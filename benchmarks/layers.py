"""Our layers and networks beside the same in plain Keras layers: time of a step.

    python -m benchmarks.layers [--quick] [--only NAME ...] [--memory] [-o FILE.md]

TensorFlow on the CPU, inside `tf.function`, both sides in one process in alternating rounds.
Forward is prediction; forward and backward is a training step's: training mode, gradients with
respect to every trainable weight and to the inputs. The ratio is the median over rounds of ours /
theirs (below 1: ours is faster); the goal, at most 1.05, is met where the upper quartile meets it
and missed where the lower one misses it. About 6 minutes on 2 cores; --memory apart 2 minutes.

That it is the same work is checked: the same weights, and with equal values the same outputs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import common

GOAL = 1.05
HEAD = ["", "batch", "weights", "work", "ours ms", "Keras ms", "ratio", "quartiles", "n", "goal"]
DENSENET_MEMORY = {
    "depth": 100,
    "growth_rate": 12,
    "bottleneck": True,
    "compression": 0.5,
}
MEMORY_BATCH = 64


@dataclass(frozen=True)
class Effort:
    """How long one measurement takes: blocks of calls in turn, until the time is used up."""

    block_seconds: float = 0.1
    seconds: float = 2.5
    min_rounds: int = 9
    max_rounds: int = 25


QUICK = Effort(block_seconds=0.005, seconds=0.1, min_rounds=3, max_rounds=3)


# ---------------------------------------------------------------- one pair


def compare(pair: Any, effort: Effort) -> list[list[Any]]:
    """A row for forward, and one for forward and backward."""
    import numpy as np
    import tensorflow as tf

    ours, counterpart = pair.ours(), pair.theirs()
    check_same_work(pair, ours, counterpart)
    draw = np.random.default_rng(0).normal
    images = tf.constant(draw(size=(pair.batch, *pair.input_shape)), tf.float32)
    direction = tf.constant(draw(size=(pair.batch, *ours.output.shape[1:])), tf.float32)
    weights = sum(int(np.prod(v.shape)) for v in ours.trainable_variables)
    rows = []
    for work in pair.works:
        make = WORKS[work]
        calls = [make(model, images, direction) for model in (ours, counterpart.model)]
        timed = alternate(*calls, effort)
        rows.append([pair.name, pair.batch, f"{weights:,}", work, *_cells(timed)])
        print(*rows[-1], sep="  ", flush=True)
    return rows


def check_same_work(pair: Any, ours: Any, counterpart: Any) -> None:
    """Equal weights in equal order, and from equal values equal outputs."""
    import numpy as np

    mine, other = ours.trainable_variables, counterpart.trainable_variables
    shapes = [[tuple(v.shape) for v in variables] for variables in (mine, other)]
    assert shapes[0] == shapes[1], (pair.name, *shapes)
    assert len(other) == len(counterpart.model.trainable_variables), pair.name
    rng = np.random.default_rng(1)
    for a, b in zip(mine, other, strict=True):
        # Not the initial values: gamma = 1 and beta = 0 would hide a layer in a wrong place.
        value = a.numpy() + rng.normal(0, 0.05, a.shape)
        a.assign(value)
        b.assign(value)
    images = rng.normal(size=(2, *pair.input_shape)).astype("float32")
    found, expected = (np.asarray(model(images)) for model in (ours, counterpart.model))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4, err_msg=pair.name)


def forward_of(model: Any, images: Any, direction: Any) -> Callable[[], Any]:
    import tensorflow as tf

    step = tf.function(lambda x: model(x, training=False))
    return lambda: step(images)


def backward_of(model: Any, images: Any, direction: Any) -> Callable[[], Any]:
    import tensorflow as tf

    variables = [v.value for v in model.trainable_variables]

    @tf.function
    def step(x: Any, seed: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(model(x, training=True) * seed)
        return loss, tape.gradient(loss, [x, *variables])

    return lambda: step(images, direction)


WORKS = {"forward": forward_of, "+ backward": backward_of}


def alternate(ours: Callable[[], Any], theirs: Callable[[], Any], effort: Effort) -> list[Any]:
    """Seconds per call of (ours, theirs), round by round, each time in the other order."""
    num_calls = max(1, round(effort.block_seconds / max(_warm(theirs), _warm(ours))))
    started, rounds = time.perf_counter(), []
    while len(rounds) < effort.max_rounds:
        if len(rounds) >= effort.min_rounds and time.perf_counter() - started > effort.seconds:
            break
        if len(rounds) % 2:
            b, a = _block(theirs, num_calls), _block(ours, num_calls)
        else:
            a, b = _block(ours, num_calls), _block(theirs, num_calls)
        rounds.append((a, b))
    return rounds


def _warm(call: Callable[[], Any]) -> float:
    """Trace, run a few times, and say how long a call then takes."""
    for _ in range(3):
        seconds = _block(call, 1)
    return seconds


def _block(call: Callable[[], Any], num_calls: int) -> float:
    begun = time.perf_counter()
    for _ in range(num_calls):
        call()
    return (time.perf_counter() - begun) / num_calls


def _cells(rounds: Sequence[tuple[float, float]]) -> list[Any]:
    ratios = [a / b for a, b in rounds]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    ours, theirs = (statistics.median(side) * 1000 for side in zip(*rounds, strict=True))
    times = f"{ours:.3g}", f"{theirs:.3g}"
    return [*times, f"{ratio:.3f}", f"{low:.2f}-{high:.2f}", len(rounds), _verdict(low, high)]


def _verdict(low: float, high: float) -> str:
    if high <= GOAL:
        return "met"
    return "missed" if low > GOAL else "within noise"


# ---------------------------------------------------------------- memory of a DenseNet


def memory_table() -> str:
    """Peak memory of one training step, a fresh process each."""
    rows = []
    for efficient in (False, True):
        arguments = {"memory_efficient": efficient}
        found = common.in_process(__file__, arguments, KERAS_BACKEND="tensorflow")
        rows.append([str(efficient).lower(), found["built"], found["peak"], found["seconds"]])
    head = ["memory_efficient", "MB before the step", "peak MB", "s of a second step"]
    title = f"DenseNet-BC-100-12, a step of {MEMORY_BATCH} images, host memory"
    return common.table(title, head, rows)


def memory_side(memory_efficient: bool) -> dict[str, Any]:
    import numpy as np
    import tensorflow as tf

    from benchmarks import pairs as known

    values = {**DENSENET_MEMORY, "memory_efficient": memory_efficient}
    model = known.network("densenet", (32, 32, 3), 100, **values)
    images = tf.zeros((MEMORY_BATCH, 32, 32, 3))
    step = backward_of(model, images, tf.constant(np.ones((MEMORY_BATCH, 100)), tf.float32))
    built = _peak_megabytes()
    step()
    return {"built": built, "seconds": _block(step, 1), "peak": _peak_megabytes()}


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def has_memory_efficient() -> bool:
    from tuner.models import FAMILIES

    return "memory_efficient" in FAMILIES["densenet"].config.model_fields


# ---------------------------------------------------------------- command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only", nargs="+", default=[""], help="pairs whose names contain one")
    parser.add_argument("--quick", action="store_true", help="small pairs, few rounds: no figures")
    parser.add_argument("--memory", action="store_true", help="memory of a DenseNet instead")
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if options.side:
        options.answer.write_text(json.dumps(memory_side(**options.side)))
        os._exit(0)
    text = memory_page() if options.memory else layers_page(options.only, options.quick)
    print(text)
    if options.output:
        options.output.write_text(text)


def memory_page() -> str:
    if not has_memory_efficient():
        raise SystemExit("densenet has no field memory_efficient")
    return f"{common.environment()}\n\n{memory_table()}"


def layers_page(names: list[str], quick: bool) -> str:
    from benchmarks import pairs as known

    effort = QUICK if quick else Effort()
    pairs = [pair for pair in known.all_pairs() if pair.quick or not quick]
    pairs = [pair for pair in pairs if any(name.lower() in pair.name.lower() for name in names)]
    rows = [row for pair in pairs for row in compare(pair, effort)]
    alone = ", ".join(known.without_counterpart())
    form = "Smoke check: the times mean nothing. " if quick else ""
    note = f"{form}float32, TensorFlow, tf.function. {common.environment()}"
    title = f"Ours / Keras (goal {GOAL}; quartiles over n rounds)"
    return f"{note}\n\nWithout a counterpart: {alone}.\n\n{common.table(title, HEAD, rows)}"


if __name__ == "__main__":
    main()
