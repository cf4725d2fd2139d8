"""Whether another number of workers would train more in the same time on a CPU.

Threads of a small network wait for each other at every operation; workers of one thread do not.
Where this machine has trained the same networks with two numbers of workers, it is said which was
faster; where it has not, only that it may be so, and how to know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tuner.execution.estimate import (
    Here,
    Speed,
    SpeedRecord,
    families_of,
    is_long,
    times_as_fast,
)
from tuner.experiment.experiment import Experiment
from tuner.ledger.environment import available_cores
from tuner.ledger.estimate import Estimate

WORTHWHILE = 1.1  # times as much in the same time
# Trials of ResNet-8, -14 and -20, two workers of one thread against one of two
# (benchmarks/results/2026-11-28-workers-cpu.md, -sweep-workers-cpu.md, -search-time-cpu.md).
SEEN = "1.1 to 1.4 times as much of small ResNets on 2 cores"


def worker_notes(
    experiment: Experiment, here: Here, estimate: Estimate, *, most: int, is_new: bool
) -> Iterator[str]:
    """Which number of workers trains most in the same time, up to `most`, as trials and memory
    allow; as both were measured here, or how to measure it.

    Nothing of trials that have begun: with other threads their scores would move a little.
    """
    if not is_new or not here.trains_on_cpu or experiment.resources.cpu is not None:
        return
    most, present = min(most, available_cores()), here.workers
    record = SpeedRecord.at_home(here.environment).read()
    gains = measured_gains(experiment, here, most, record)
    if gains:
        other = max(gains, key=lambda number: gains[number])
        yield f"{_compared(present, other, gains[other])}, as both were measured here"
    elif most > present and is_long(estimate):
        yield (
            f"-j {most} may train more in the same time as -j {present} ({SEEN}): --measure with "
            "each of them tells"
        )


def _compared(present: int, other: int, gain: float) -> str:
    if gain >= WORTHWHILE:
        return f"-j {other} would train about {gain:.1f} times as much in the same time"
    if gain <= 1 / WORTHWHILE:
        return (
            f"-j {present} trains about {1 / gain:.1f} times as much in the same time as -j {other}"
        )
    return f"-j {present} and -j {other} train about as much in the same time"


def measured_gains(
    experiment: Experiment, here: Here, most: int, record: Sequence[Speed]
) -> dict[int, float]:
    """How many times as much other numbers of workers train in the same time, by number; as the
    networks of these families that were trained here with both have shown it.
    """
    families, gains = families_of(experiment), {}
    for workers in range(1, most + 1):
        places = (replace(here, workers=n).place(experiment) for n in (here.workers, workers))
        ratio = times_as_fast(record, families, *places)
        if ratio is not None and workers != here.workers:
            gains[workers] = ratio * workers / here.workers
    return gains
