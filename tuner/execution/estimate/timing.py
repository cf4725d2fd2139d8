"""How long a run will take: its trials shared out to its workers, with the times of a forecast."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from tuner.execution.estimate.forecast import Forecast, NetworkTime
from tuner.execution.estimate.workload import Job, Network, Workload
from tuner.execution.messages import MAX_PROGRAMS
from tuner.execution.queue import LOOK_AHEAD


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds that a run will take, and how they are known.

    `measured`, `scaled` and `guessed` count structures: measured themselves, scaled from others
    of their family, scaled from other families. `is_most`: rules may end the run earlier.
    """

    seconds: float
    low_seconds: float
    high_seconds: float
    measured: int
    scaled: int
    guessed: int
    workers: int
    is_most: bool = False
    basis: str = ""


def estimate(
    work: Workload,
    networks: Mapping[str, Network],
    forecast: Forecast,
    *,
    workers: int,
    start_seconds: float,
    is_most: bool,
) -> TimeEstimate | None:
    """The time of a workload; `networks` are those of its structures, or a sample of them.

    None if nothing was measured that it could be told from.
    """
    times = {key: time for key in networks if (time := forecast.of(networks[key]))}
    jobs = [job for job in work.jobs if job.structure in times]
    if not jobs:
        return None
    scale = work.scale * _trials(work.jobs) / _trials(jobs)
    training, compiling, spread = _shared_out(jobs, times, workers)
    # Of a sample the programs stand for all, unless there are more than a worker keeps.
    again = scale if len(times) > MAX_PROGRAMS and not work.is_listed else 1.0
    seconds = training * scale + compiling * again
    known = [time.known for time in times.values()]
    counts = {name: known.count(name) for name in ("measured", "scaled", "guessed")}
    return TimeEstimate(
        seconds=start_seconds + seconds,
        low_seconds=start_seconds + seconds / spread,
        high_seconds=start_seconds + seconds * spread,
        workers=workers,
        is_most=is_most,
        basis=basis_text(**counts),
        **counts,
    )


def _trials(jobs: Sequence[Job]) -> float:
    return sum(job.count for job in jobs)


def _shared_out(
    jobs: Sequence[Job], times: Mapping[str, NetworkTime], workers: int
) -> tuple[float, float, float]:
    """Seconds of training and of compiling until all is done, and how far off they may be."""
    held: list[OrderedDict[str, None]] = [OrderedDict() for _ in range(workers)]
    free = [(0.0, worker) for worker in range(workers)]
    waiting = deque(jobs if workers == 1 else _one_by_one(jobs, workers))
    training = compiling = weighed = 0.0
    while waiting:
        now, worker = heapq.heappop(free)
        job = _next(waiting, held[worker] if workers > 1 else {})
        time = times[job.structure]
        compiles = 0.0 if _has(held[worker], job.structure) else time.compile_seconds
        trains = time.of(job) * job.count
        training, compiling = training + trains, compiling + compiles
        weighed += time.factor * (trains + compiles)
        heapq.heappush(free, (now + trains + compiles, worker))
    spent = training + compiling
    if not spent:
        return 0.0, 0.0, 1.0
    end = max(now for now, _ in free)
    return end * training / spent, end * compiling / spent, weighed / spent


def _one_by_one(jobs: Sequence[Job], workers: int) -> list[Job]:
    """Long rows are cut into as many parts as keep every worker busy."""
    cut = []
    for job in jobs:
        parts = int(min(math.ceil(job.count), 8 * workers))
        cut += [Job(job.structure, job.epochs, job.count / parts)] * parts
    return cut


def _next(waiting: deque[Job], held: Mapping[str, None]) -> Job:
    """As the queue gives them: one near the front whose structure the worker holds."""
    for place, job in enumerate(islice(waiting, LOOK_AHEAD)):
        if job.structure in held:
            del waiting[place]
            return job
    return waiting.popleft()


def _has(held: OrderedDict[str, None], structure: str) -> bool:
    """Whether a worker has the program; from now on it has."""
    has = structure in held
    held[structure] = None
    held.move_to_end(structure)
    if len(held) > MAX_PROGRAMS:
        held.popitem(last=False)
    return has


# ---------------------------------------------------------------------- in words


def basis_text(*, measured: int, scaled: int, guessed: int) -> str:
    """How the times of structures are known."""
    total = measured + scaled + guessed
    counts = {
        "measured": measured,
        "scaled by multiply-adds": scaled,
        "scaled from other families": guessed,
    }
    (first, count), *others = ((how, count) for how, count in counts.items() if count)
    noun = "structure" if total == 1 else "structures"
    share = f"{count} of {total}" if others else "the" if total == 1 else f"all {total}"
    said = [f"{first}: {share} {noun}", *(f"{count} {how}" for how, count in others)]
    return "; ".join(said)


def rough_text(seconds: float) -> str:
    """A time of which two digits are known at most: 0.4s, 50s, 12m, 2h 10m, 3d 4h, 120 days."""
    if seconds < 1:
        return f"{seconds:.1f}s"
    step = next(step for limit, step in _STEPS if seconds < limit)
    minutes, rest = divmod(round(seconds / step) * step, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 240:
        return f"{round(hours / 24):,} days"
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes:02d}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m {rest:02d}s" if rest else f"{minutes}m"
    return f"{rest}s"


# Up to so many seconds, a time is rounded to so many.
_STEPS = ((30, 1), (300, 5), (3_600, 60), (36_000, 600), (math.inf, 3_600))
