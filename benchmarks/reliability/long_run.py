"""A day of scheduling in minutes: what the scheduler itself takes, and whether it grows.

python -m benchmarks.reliability.long_run [--trials 50000] [--quick] [-o FILE.md]

The real Scheduler, TrialQueue, Ledger and TrialsCsv give trials to workers that answer at once.
50,000 trials in a day are one every 1.7 seconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.reliability.report import publish

EXPERIMENT = """
name: many
data: {{dataset: synthetic, train_images: 200, validation: 100}}
model: {{family: resnet, depth: 8}}
training:
  epochs: {epochs}
  batch_size: 50
  learning_rate: {{min: 1e-4, max: 1e-2, scale: log, count: {rates}}}
  beta_1: {{min: 0.5, max: 0.95, count: 10}}
"""
PAGE = os.sysconf("SC_PAGE_SIZE")


def megabytes() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


class Record:
    """Memory and time whenever so many trials have ended."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.rows: list[tuple[int, float, float]] = []
        self.ended = 0
        self._most = 0.0
        self._began = time.perf_counter()

    def __call__(self, event: Any) -> None:
        from tuner.execution.events import TrialEnded

        if not isinstance(event, TrialEnded):
            return
        self.ended += 1
        if self.ended % min(100, self.every) == 0:
            self._most = max(self._most, megabytes())
        if self.ended % self.every == 0:
            self.rows.append((self.ended, self._most, time.perf_counter() - self._began))
            self._most = 0.0


def run(folder: Path, trials: int, epochs: int, every: int, trace: bool) -> dict[str, Any]:
    """In this process, which has imported nothing else."""
    from benchmarks.reliability.instant import InstantPool
    from tuner.execution.run import make_scheduler
    from tuner.experiment.experiment import parse_experiment
    from tuner.ledger.ledger import Ledger
    from tuner.ledger.table import TrialsCsv
    from tuner.models import Cost
    from tuner.search import Search

    experiment = parse_experiment(EXPERIMENT.format(rates=trials // 10, epochs=epochs), "many.yaml")
    record = Record(every)
    snapshots: list[tracemalloc.Snapshot] = []
    if trace:
        tracemalloc.start(8)

    def listener(event: Any) -> None:
        record(event)
        if (
            trace
            and record.ended in (trials // 10, trials - 1)
            and type(event).__name__ == ("TrialEnded")
        ):
            gc.collect()
            snapshots.append(tracemalloc.take_snapshot())

    with Ledger.create_or_open(folder / "ledger.sqlite", "many") as ledger:
        csv = TrialsCsv(folder / "trials.csv", ledger)
        scheduler = make_scheduler(
            Search(experiment, "data:1"),
            ledger,
            InstantPool(),
            csv=csv,
            cost=lambda trial: Cost(1, 1, 1),
            listener=listener,
            on_ready=lambda ready: None,
            checkpoints=folder / "checkpoints",
        )
        ending = scheduler.run(1, threading.Event(), budget_seconds=None, fail_fast=False)
        before = megabytes()
        csv.write()
        table = megabytes() - before
    grown = snapshots[1].compare_to(snapshots[0], "lineno")[:12] if len(snapshots) > 1 else []
    return {
        "ending": ending,
        "rows": record.rows,
        "csv_megabytes": table,
        "ledger_bytes": (folder / "ledger.sqlite").stat().st_size,
        "grown": [str(difference) for difference in grown],
    }


def measured(trials: int, epochs: int, every: int, *, trace: bool = False) -> dict[str, Any]:
    """`run` in a fresh process, on a memory file system where there is one."""
    shared = Path("/dev/shm")
    place = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="long-", dir=place) as folder:
        side = {"folder": folder, "trials": trials, "epochs": epochs, "every": every}
        command = [sys.executable, "-m", "benchmarks.reliability.long_run", "--side"]
        done = subprocess.run(
            [*command, json.dumps({**side, "trace": trace})],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def growth(found: dict[str, Any], early: int) -> float:
    """Peak memory at the end, less that at trial number `early`."""
    at = {ended: most for ended, most, _ in found["rows"]}
    return float(found["rows"][-1][1] - at[early])


def table(found: dict[str, Any], early: int, trials: int) -> str:
    rows, last = [], (0, 0.0)
    for ended, most, seconds in found["rows"]:
        pace = (seconds - last[1]) / (ended - last[0]) * 1000
        rows.append([f"{ended:,}", most, pace])
        last = (ended, seconds)
    rows.append([f"growth from trial {early:,} to {trials:,} (goal 20)", growth(found, early), ""])
    rows.append(["writing trials.csv once more", found["csv_megabytes"], ""])
    text = common.table("The scheduler over many trials", ["trials", "MB", "ms a trial"], rows)
    grown = "".join(f"- {line}\n" for line in found["grown"])
    return f"{text}\n{grown}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="say which lines hold the growth")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        folder = Path(options.side.pop("folder"))
        print(json.dumps(run(folder, **options.side)))
        return
    trials = options.trials or (3_000 if options.quick else 50_000)
    every = trials // 10
    found = measured(trials, options.epochs, every, trace=options.trace)
    publish([table(found, every, trials)], options.output)
    raise SystemExit(growth(found, every) > 20)


if __name__ == "__main__":
    main()
