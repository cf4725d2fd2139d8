"""Are workers kept busy, what does the scheduler take for it, and what do several workers bring?

python -m benchmarks.efficiency [--engine ray] [--only busy load threads] [-o FILE.md]

`busy` and `load` train by sleeping (`stub_worker`), so that more workers than cores can be had: an
epoch every 50 ms. `threads` trains small networks: as many workers of one thread as there are
cores, against one worker with all of them, whole processes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks import common
from benchmarks.reliability.report import publish, verdict

STUB = "benchmarks.stub_worker"
EPOCHS = 20  # of a trial: a second
STUBBED = """
name: stubbed
data: {{dataset: synthetic, train_images: 200, validation: 100}}
model: {{family: resnet, depth: 8}}
training:
  epochs: {epochs}
  batch_size: 50
  learning_rate: {{min: 1e-4, max: 1e-2, scale: log, count: {trials}}}
"""
SMALL = """
name: small
backend: {backend}
data: {{dataset: synthetic, train_images: 2000, validation: 500}}
model: {{family: resnet, depth: 8}}
training:
  epochs: 3
  batch_size: 32
  learning_rate: {{min: 1e-4, max: 1e-2, scale: log, count: 8}}
"""
WORKERS = {"local": 32, "ray": 64}


def run_stubbed(engine: str, workers: int, trials: int, fsync: bool) -> dict[str, float]:
    """Trials of 20 epochs of 50 ms each; measured from when the last worker was ready."""
    from tuner.execution.checks import worker_setup
    from tuner.execution.current import mark_current
    from tuner.execution.events import EpochEnded, TrialEnded, WorkerReady
    from tuner.execution.run import make_scheduler
    from tuner.execution.workforce import Workforce
    from tuner.experiment.experiment import parse_experiment
    from tuner.ledger.ledger import Ledger
    from tuner.ledger.table import TrialsCsv
    from tuner.ledger.workers import NodeRecord
    from tuner.models import Cost
    from tuner.search import Search

    experiment = parse_experiment(STUBBED.format(trials=trials, epochs=EPOCHS), "stubbed.yaml")
    workforce = Workforce(time.monotonic)
    seen: dict[str, float] = {"ready": 0, "messages": 0, "ended": 0}

    def listener(event: Any) -> None:
        workforce.take(event)
        if isinstance(event, WorkerReady):
            seen["ready"] += 1
            seen["cpu"], seen["wall"], seen["messages"] = time.process_time(), time.monotonic(), 0
        seen["messages"] += isinstance(event, EpochEnded)
        seen["ended"] += isinstance(event, TrialEnded)
        # The last trials begin: from here on not all workers are needed.
        if isinstance(event, TrialEnded) and seen["ended"] == trials - workers:
            wall = time.monotonic() - seen["wall"]
            seen["share"] = (time.process_time() - seen["cpu"]) / wall
            seen["per_second"] = seen["messages"] / wall
            seen["busy"] = NodeRecord("", workforce.records()).utilization or 0.0

    place = "." if fsync else "/dev/shm"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place)))
        ledger = stack.enter_context(Ledger.create_or_open(folder / "ledger.sqlite", "stubbed"))
        search = Search(experiment, "data:1")
        ledger.set_objective(experiment.objective)
        mark_current(search, ledger)
        setup = worker_setup(experiment, None, folder / "checkpoints")
        pool = stack.enter_context(POOLS[engine](setup, workers, folder / "logs"))
        scheduler = make_scheduler(
            search,
            ledger,
            pool,
            csv=TrialsCsv(folder / "trials.csv", ledger),
            checkpoints=folder / "checkpoints",
            cost=lambda trial: Cost(1, 1, 1),
            listener=listener,
            on_ready=lambda ready: None,
        )
        ending = scheduler.run(workers, threading.Event(), budget_seconds=None, fail_fast=False)
    assert ending == "done", ending
    return seen


@contextmanager
def local_pool(setup: Any, workers: int, logs: Path) -> Iterator[Any]:
    from tuner.code import process
    from tuner.execution import pools

    def command(module: str, *arguments: str, **options: Any) -> list[str]:
        return process.python_command(STUB, *arguments, **options)

    with patch.object(pools, "python_command", command):
        yield pools.LocalPool(setup, workers=workers, logs=logs, environment=dict(os.environ))


@contextmanager
def pool_on_ray(setup: Any, workers: int, logs: Path) -> Iterator[Any]:
    """A cluster of one node that has room for all, whatever its cores are."""
    import importlib

    from ray.cluster_utils import Cluster

    from tuner.experiment.schema import Resources

    ray_cluster = importlib.import_module("tuner.execution.ray_cluster")
    ray_pool = importlib.import_module("tuner.execution.ray_pool")
    node = {"num_cpus": workers, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        with ray_cluster.connected(cluster.address) as connected:
            yield ray_pool.RayPool(
                setup, connected, logs=logs, resources=Resources(cpu=1), module=STUB
            )
    finally:
        cluster.shutdown()


POOLS: dict[str, Callable[..., Any]] = {"local": local_pool, "ray": pool_on_ray}


def busy(engine: str, workers: int | None) -> str:
    """As many workers as it should do with, each with an epoch every 50 ms."""
    workers = workers or WORKERS[engine]
    rows = []
    for where, fsync in (("on this disk", True), ("in memory", False)):
        found = run_stubbed(engine, workers, workers * 12, fsync)
        rows.append(_row(f"{workers} workers, ledger {where}", found, found["busy"] >= 0.95))
    head = ["", "epoch messages / s", "workers busy", "scheduler, % of a core", "goal reached"]
    return common.table(f"Busy workers, engine {engine} (goal 95 %)", head, rows)


def load(engine: str, workers: int | None) -> str:
    """Ten workers: 200 epoch messages a second, less what they wait between trials."""
    workers = workers or 10
    found = run_stubbed(engine, workers, 20 * workers, True)
    head = ["", "epoch messages / s", "workers busy", "scheduler, % of a core", "goal reached"]
    row = _row(f"{workers} workers, ledger on this disk", found, found["share"] <= 0.2)
    return common.table(f"The scheduler, engine {engine} (goal 20 % of a core)", head, [row])


def _row(what: str, found: dict[str, float], is_good: bool) -> list[Any]:
    shares = [f"{found[name]:.1%}" for name in ("busy", "share")]
    return [what, found["per_second"], *shares, verdict(is_good)]


def threads(engine: str, workers: int | None) -> str:
    """Eight trials of three epochs of 2,000 images, ResNet-8, as a person runs them."""
    from tuner.ledger.environment import available_cores

    del engine
    cores = workers or available_cores()
    rows = []
    for backend in ("tensorflow", "jax"):
        several, one = (whole_run(backend, workers) for workers in (cores, 1))
        rows.append([backend, several, one, one / several])
    head = ["backend", f"{cores} x 1 thread, s", f"1 x {cores} threads, s", "ratio"]
    return common.table("Several workers against one with all cores, whole processes", head, rows)


def whole_run(backend: str, workers: int) -> float:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "small.yaml"
        path.write_text(SMALL.format(backend=backend))
        command = [sys.executable, "-m", "tuner", "run", str(path), "-j", str(workers), "-q"]
        begun = time.perf_counter()
        done = subprocess.run(
            [*command, "--results", folder], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return time.perf_counter() - begun


PARTS: dict[str, Callable[[str, int | None], str]] = {
    "busy": busy,
    "load": load,
    "threads": threads,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", choices=POOLS, default="local")
    parser.add_argument("--workers", type=int, help="instead of 32, or 64 with ray")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    parts = []
    for name in options.only:
        before = _load_average()
        part = PARTS[name](options.engine, options.workers)
        parts.append(f"{part}\nLoad average {before} before, {_load_average()} after.\n")
    publish(parts, options.output)


def _load_average() -> str:
    return re.split(r"\s", Path("/proc/loadavg").read_text())[0]


if __name__ == "__main__":
    main()
