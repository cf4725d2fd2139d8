"""A rehearsal of a trial: some seconds of its steps, to know how fast they are."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from statistics import median

from tuner.execution.estimate.speeds import spread
from tuner.execution.messages import Rehearsal
from tuner.training.program import Hyperparameters, OnProgress, Program
from tuner.training.steps import State

_VALIDATION_SHARE = 0.3  # of the time for training
_LEARNING_RATE = 1e-6  # no weight moves far, so that no loss ends it early
_WARM_UP_CALLS = 2  # of a program: the first of one step, the second at the pace of that one


class _Enough(Exception):
    """Seen enough of an epoch."""


def rehearse(
    program: Program, hyperparameters: Hyperparameters, *, seed: int, seconds: float
) -> Rehearsal:
    """Train for about so many seconds, after a warm-up, and validate for a part of that."""
    training = {**hyperparameters.training, "learning_rate": _LEARNING_RATE}
    values = dataclasses.replace(hyperparameters, training=training)
    program.initial(seed)
    started = time.perf_counter()
    program.initial(seed)
    start_seconds = time.perf_counter() - started

    def train(state: State, on_progress: OnProgress) -> None:
        program.train_epoch(state, values, 0, on_progress)

    def validate(state: State, on_progress: OnProgress) -> None:
        program.evaluate(state, values, on_progress)

    def fresh() -> State:  # training uses its state up
        return program.initial(seed)

    steps = _paces(train, fresh, seconds)
    batches = _paces(validate, fresh, seconds * _VALIDATION_SHARE)
    images = program.images.num_validation / program.evaluation_steps
    return Rehearsal(median(steps), median(batches) / images, start_seconds, spread(steps))


def _paces(
    run: Callable[[State, OnProgress], None], fresh: Callable[[], State], seconds: float
) -> list[float]:
    """Seconds per step in each call of a program, epoch after epoch, without the warm-up."""
    paces: list[float] = []
    last_step, last_time = 0, time.perf_counter()
    deadline = last_time + seconds

    def on_progress(step: int, steps: int, loss: float) -> None:
        nonlocal last_step, last_time
        now = time.perf_counter()
        paces.append((now - last_time) / (step - last_step))
        last_step, last_time = step, now
        if now >= deadline and len(paces) > _WARM_UP_CALLS:
            raise _Enough

    try:
        while time.perf_counter() < deadline or len(paces) <= _WARM_UP_CALLS:
            state = fresh()
            last_step, last_time = 0, time.perf_counter()
            run(state, on_progress)
    except _Enough:
        pass
    return paces[_WARM_UP_CALLS:]
