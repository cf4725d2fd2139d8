"""A thousand workers and a million trials in virtual time: what the scheduler takes for a message.

python -m benchmarks.simulate [--trials 100000] [--workers 1000] [--search random ...] [-o FILE.md]
python -m benchmarks.simulate --begun 1000000 --trials 1005000    # the last 5,000 of a million

The real Search, Scheduler, TrialQueue, Recorder, Ledger, trials.csv and plain lines; only training
is made up, and takes no time: workers compile, train, diverge, raise and die by a clock that jumps
from one report to the next. A report is handed over as soon as it is there, so that each costs a
whole turn of the scheduler's loop, the worst case.

CPU time is that of this process less the share of the made-up workers. The ledger lies in memory
where there is such a file system: what a disk takes, `benchmarks.overhead` measures. With `--begun`
the run goes on after so many trials that were written in bulk, as one does that was interrupted.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.reliability.long_run import megabytes
from benchmarks.reliability.report import publish
from tuner.execution.pools import Pool
from tuner.execution.protocol import (
    Compiled,
    Epoch,
    Finished,
    GoOn,
    Lost,
    Programs,
    Progress,
    Ready,
    Report,
    Resumed,
    StopTrial,
    Task,
    TrainTrial,
)
from tuner.ledger.checkpoint import SavedCheckpoint

MODEL = """
name: simulated
data: {dataset: synthetic}
model: {family: resnet, depth: {choice: [8, 14, 20, 26, 32]}}
training:
  batch_size: {choice: [64, 128]}
"""
RANGES = """
  learning_rate: {min: 1e-4, max: 1e-1, scale: log}
  beta_2: {min: 0.9, max: 0.9995, scale: reverse_log}
  l2: {choice: [0, 1e-5, 1e-4]}
"""
POINTS = """
  learning_rate: {min: 1e-4, max: 1e-1, scale: log, count: 2000}
  beta_2: {min: 0.9, max: 0.9995, scale: reverse_log, count: 100}
"""
SEARCHES = {
    "grid": f"{MODEL}{POINTS}  epochs: 2\nsearch: {{method: grid, max_trials: TRIALS}}",
    "random": f"{MODEL}{RANGES}  epochs: 2\nsearch: {{method: random, max_trials: TRIALS}}",
    "asha": f"{MODEL}{POINTS}  epochs: 27\nsearch: {{method: random, max_trials: TRIALS, "
    "stop: {rule: asha, min_epochs: 1, reduction: 3}}",
}
"""The experiment of so many trials, by the name of what searches."""

RAISES, DIVERGES = 1 / 500, 1 / 500  # of trials
DIES = 1 / 2_000  # of epochs
MARKS = (1, 2, 5)  # in each decade of trials, where the curve has a point


class VirtualWorker:
    """What a worker has to say, and after how many seconds each."""

    def __init__(self) -> None:
        self.agenda: deque[Iterator[tuple[float, Report]]] = deque()
        self.programs: Programs[None] = Programs()
        self.generation = 0  # what was announced before is void

    def next(self) -> tuple[float, Report] | None:
        while self.agenda:
            if (step := next(self.agenda[0], None)) is not None:
                return step
            self.agenda.popleft()
        return None


class VirtualPool(Pool):
    """Workers by the clock `now`, which jumps to the next report."""

    def __init__(self, progress_seconds: float = math.inf) -> None:
        self.now = 0.0
        self.messages = 0
        self.losses = 0
        self.seconds = 0.0  # of this pool itself, by the wall's clock
        self.busy_seconds = 0.0  # of all workers, virtual
        self._progress_seconds = progress_seconds
        self._rng = random.Random(0)
        self._workers: dict[int, VirtualWorker] = {}
        self._calendar: list[tuple[float, int, int, int, Report]] = []
        self._number = 0

    def clock(self) -> float:
        return self.now

    def start(self, worker: int) -> None:
        self._workers[worker] = VirtualWorker()
        ready = Ready("CPU", 10.0, {})
        self._workers[worker].agenda.append(iter([(self._rng.uniform(5, 15), ready)]))
        self._announce(worker)

    def send(self, worker: int, task: Task) -> None:
        begun = time.perf_counter()
        state = self._workers[worker]
        was_idle = not state.agenda
        if isinstance(task, TrainTrial):
            state.agenda.append(self._training(state, task))
        elif isinstance(task, StopTrial):
            state.generation += 1
            state.agenda[0] = iter([(0.2, Finished(task.number, attempt=task.attempt))])
            was_idle = True
        elif isinstance(task, GoOn):
            was_idle = True
        if was_idle:
            self._announce(worker)
        self.seconds += time.perf_counter() - begun

    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        begun = time.perf_counter()
        reports: list[tuple[int, Report]] = []
        until = self.now + timeout_seconds
        while self._calendar and self._calendar[0][0] <= until:
            at, _, worker, generation, report = heapq.heappop(self._calendar)
            if self._workers[worker].generation != generation:
                continue
            self.now = until = at
            reports.append((worker, report))
            self._follow(worker, report)
        self.now = max(self.now, until) if not reports else self.now
        self.messages += len(reports)
        self.seconds += time.perf_counter() - begun
        return reports

    def kill(self, worker: int, reason: str) -> None:
        raise AssertionError(f"worker {worker}: {reason}")

    def dismiss(self) -> bool:
        return False

    def close(self) -> None:
        self._calendar.clear()

    def _follow(self, worker: int, report: Report) -> None:
        state = self._workers[worker]
        if isinstance(report, Lost):
            state.agenda.clear()
            state.generation += 1
            self.losses += 1
        elif isinstance(report, Epoch | Compiled):
            self.busy_seconds += report.seconds
        if isinstance(report, Epoch) and report.waits:
            return  # until the scheduler says that it goes on
        self._announce(worker)

    def _announce(self, worker: int) -> None:
        state = self._workers[worker]
        if (step := state.next()) is None:
            return
        self._number += 1
        at = self.now + step[0]
        heapq.heappush(self._calendar, (at, self._number, worker, state.generation, step[1]))

    def _training(self, state: VirtualWorker, task: TrainTrial) -> Iterator[tuple[float, Report]]:
        rng = self._rng
        behind = max((row.epoch for row in task.checkpoints), default=0)
        if task.structure not in state.programs:
            state.programs.use(task.structure, lambda: None)
            seconds = rng.uniform(20, 60)
            yield seconds, Compiled(task.number, seconds)
        if behind:
            yield 0.1, Resumed(task.number, behind)
        if rng.random() < RAISES:
            yield 1.0, Finished(task.number, "ValueError: made up", leaves=False)
            return
        quality, diverges = rng.random(), rng.random() < DIVERGES
        for epoch in range(behind + 1, task.until + 1):
            seconds = rng.lognormvariate(1.5, 0.5)
            for report in self._progress(task, epoch, seconds):
                yield self._progress_seconds, report
            left = seconds % self._progress_seconds
            if rng.random() < DIES:
                yield left, Lost("killed by SIGKILL")
                return
            yield left, _epoch(task, epoch, seconds, math.nan if diverges else quality)
            if diverges:
                break
        yield 0.01, Finished(task.number)

    def _progress(self, task: TrainTrial, epoch: int, seconds: float) -> Iterator[Report]:
        if math.isinf(self._progress_seconds):
            return
        steps = int(seconds / self._progress_seconds)
        for step in range(1, steps + 1):
            yield Progress(task.number, epoch, step, steps, 1.0)


def _epoch(task: TrainTrial, epoch: int, seconds: float, quality: float) -> Epoch:
    value = quality * (1 - math.exp(-epoch / 4))
    file = f"{task.number}-{epoch}-{task.attempt}.npz"
    saved = SavedCheckpoint(file, "0" * 64, 1_000_000)
    waits = epoch in task.rungs and math.isfinite(value)
    return Epoch(task.number, epoch, _metrics(value), seconds, saved, waits=waits)


def _metrics(value: float) -> dict[str, float]:
    return {
        "loss": 2 - value,
        "accuracy": value,
        "val_loss": 2 - value,
        "val_accuracy": value,
        "learning_rate": 1e-3,
    }


def yardstick() -> float:
    """CPU seconds of a fixed piece of work: how fast the machine is just now."""
    begun = time.process_time()
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
        for number in range(10_000):
            text = json.dumps({"loss": number / 7, "accuracy": number / 11, "epoch": number})
            connection.execute("INSERT INTO t VALUES (?, ?)", (number, text))
    return time.process_time() - begun


class Curve:
    """What was used whenever so many trials have ended."""

    def __init__(self, pool: VirtualPool, trials: int, begun: int) -> None:
        self.rows: list[dict[str, float]] = []
        self._pool = pool
        self._begun = begun
        decades = range(3, 1 + int(math.log10(trials - begun)))
        self._marks = {mark * 10**decade for decade in decades for mark in MARKS}
        self.ended = 0
        # Trials, seconds, messages at the last point, or when the first worker was ready.
        self._last: tuple[int, tuple[float, float, float], int] | None = None

    def __call__(self, event: Any) -> None:
        self._last = self._last or (0, self._now(), 0)
        if type(event).__name__ == "TrialEnded":
            self.ended += 1
            if self.ended in self._marks:
                self._note()

    def _note(self) -> None:
        assert self._last is not None
        pool = self._pool
        ended, before, messages = self._last
        now = self._now()
        cpu, wall, of_pool = (late - early for late, early in zip(now, before, strict=True))
        seconds = cpu * (1 - of_pool / wall)
        row = {
            "trials": self._begun + self.ended,
            "messages": pool.messages,
            "us_message": seconds / (pool.messages - messages) * 1e6,
            "us_trial": seconds / (self.ended - ended) * 1e6,
            "megabytes": megabytes(),
            "virtual_hours": pool.now / 3600,
            "losses": pool.losses,
            "ms_yardstick": yardstick() * 1e3,
        }
        now = self._now()
        self.rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
        self._last = self.ended, now, pool.messages

    def _now(self) -> tuple[float, float, float]:
        """CPU time, time, and time in the pool (CPU time is slow to ask for)."""
        return time.process_time(), time.perf_counter(), self._pool.seconds


def fill(path: Path, search: str, begun: int) -> None:
    """A ledger of so many trials that have ended, with asha a third of them at the second rung."""
    from tuner.ledger import connection as files
    from tuner.ledger.schema import seal

    files.create(path, "simulated")
    rng = random.Random(1)
    connection = files.open_for_writing(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    inserts = {
        "trials": "number, key, state, score, best_epoch, epochs, configuration, searched, "
        "replicate, seed, structure, metrics, train_seconds, worker, attempt",
        "epochs": "trial, epoch, metrics, seconds",
        "checkpoints": "trial, epoch, file, sha256, bytes",
    }
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in inserts}
    for number in range(1, begun + 1):
        _fill_one(rows, rng, number, 1 if number % 3 else 2, search == "asha")
        if number % 10_000 == 0 or number == begun:
            for name, columns in inserts.items():
                marks = ", ".join("?" * len(columns.split(",")))
                connection.executemany(
                    f"INSERT INTO {name} ({columns}) VALUES ({marks})", rows[name]
                )
                rows[name].clear()
    for name in inserts:
        seal(connection, name, "TRUE")
    connection.execute("COMMIT")
    connection.close()


def _fill_one(
    rows: dict[str, list[tuple[Any, ...]]],
    rng: random.Random,
    number: int,
    epochs: int,
    is_stopped: bool,
) -> None:
    quality = rng.random() * 0.9
    found = json.dumps(_metrics(quality), separators=(",", ":"))
    values = f'{{"training.learning_rate":{rng.random()},"training.l2":{rng.random()}}}'
    key = rng.getrandbits(256).to_bytes(32, "big").hex()
    state = "stopped" if is_stopped else "completed"
    fixed = (epochs, values, values, 0, 0, "s" * 16, found, 9.0, 1, 1)
    rows["trials"].append((number, key, state, quality, epochs, *fixed))
    rows["epochs"] += [(number, epoch, found, 4.5) for epoch in range(1, epochs + 1)]
    if is_stopped:
        rows["checkpoints"].append((number, epochs, f"{number}.npz", "0" * 64, 1_000_000))


def run(
    folder: Path, search: str, trials: int, workers: int, progress: float | None, begun: int
) -> dict[str, Any]:
    """In this process, which has done nothing else."""
    from tuner.cli.progress import RunProgress
    from tuner.cli.view import PlainLines
    from tuner.execution.current import mark_current, plan_key
    from tuner.execution.run import make_scheduler
    from tuner.experiment.experiment import parse_experiment
    from tuner.ledger.ledger import Ledger
    from tuner.ledger.table import TrialsCsv
    from tuner.models import Cost
    from tuner.search import Search

    experiment = parse_experiment(SEARCHES[search].replace("TRIALS", str(trials)), "simulated.yaml")
    pool = VirtualPool(math.inf if progress is None else progress)
    curve = Curve(pool, trials, begun)
    shown = PlainLines(RunProgress(experiment.objective, pool.clock), lambda line: None)

    def listener(event: Any) -> None:
        shown(event)
        curve(event)

    made = Search(experiment, "data:1", 45_000)
    if begun:
        fill(folder / "ledger.sqlite", search, begun)
    with Ledger.create_or_open(folder / "ledger.sqlite", "simulated") as ledger:
        ledger.set_objective(experiment.objective)
        if begun:
            ledger.mark_current(plan_key(made), range(1, begun + 1))
            ledger.advance(begun)
        mark_current(made, ledger)
        started = time.process_time()
        csv = TrialsCsv(folder / "trials.csv", ledger)
        scheduler = make_scheduler(
            made,
            ledger,
            pool,
            csv=csv,
            checkpoints=folder / "checkpoints",
            cost=lambda trial: Cost(1, 1, 1),
            listener=listener,
            on_ready=lambda ready: None,
            clock=pool.clock,
        )
        start_seconds = time.process_time() - started
        ending = scheduler.run(workers, threading.Event(), budget_seconds=None, fail_fast=False)
        begun = time.perf_counter()
        csv.write()
        csv_seconds = time.perf_counter() - begun
    return {
        "ending": ending,
        "rows": curve.rows,
        "ended": curve.ended,
        "busy": pool.busy_seconds / (workers * pool.now),
        "csv_seconds": csv_seconds,
        "start_seconds": start_seconds,
        "ledger_megabytes": (folder / "ledger.sqlite").stat().st_size / 2**20,
    }


def measured(search: str, options: argparse.Namespace) -> dict[str, Any]:
    """`run` in a fresh process, on a memory file system where there is one."""
    shared = Path("/dev/shm")
    place = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="simulate-", dir=place) as folder:
        side = {"folder": folder, "search": search, "trials": options.trials}
        side |= {"workers": options.workers, "progress": options.progress}
        side["begun"] = options.begun
        command = [sys.executable, "-m", "benchmarks.simulate", "--side", json.dumps(side)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(search: str, found: dict[str, Any], workers: int) -> str:
    rows = [
        [
            f"{row['trials']:,}",
            f"{row['messages']:,}",
            row["us_message"],
            row["us_trial"],
            row["megabytes"],
            row["virtual_hours"],
            f"{row['losses']:,}",
            row["ms_yardstick"],
        ]
        for row in found["rows"]
    ]
    head = ["trials", "messages", "CPU µs a message", "CPU µs a trial", "MB", "hours, virtual"]
    title = f"{search}: {found['ended']:,} trials on {workers:,} workers"
    text = common.table(title, [*head, "workers lost", "fixed work, ms"], rows)
    return (
        f"{text}\nWorkers trained or compiled for {found['busy']:.1%} of the (virtual) time. The "
        f"ledger has {found['ledger_megabytes']:,.0f} MB. Before the first worker: "
        f"{found['start_seconds']:.1f} s of CPU; trials.csv once more: "
        f"{found['csv_seconds']:.1f} s.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--begun", type=int, default=0, help="of these, written in bulk before")
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--search", choices=SEARCHES, nargs="+", default=list(SEARCHES))
    parser.add_argument(
        "--progress", type=float, help="seconds between reports inside an epoch (default: none)"
    )
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        folder = Path(options.side.pop("folder"))
        print(json.dumps(run(folder, **options.side)))
        return
    parts = [table(s, measured(s, options), options.workers) for s in options.search]
    publish(parts, options.output)


if __name__ == "__main__":
    main()
