"""What the tool itself costs: a trial, a message, a plan, a proposal, a command, a worker's memory.

python -m benchmarks.overhead [--output FILE.md] [--only scheduling ...]
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.reliability.instant import InstantPool

ROOT = Path(__file__).parents[1]
MILLION = """
model: {family: densenet, depth: {choice: [40, 100]}, growth_rate: {choice: [12, 24]}}
training:
  learning_rate: {min: 1e-4, max: 1e-1, scale: log, count: 500}
  beta_1: {min: 0.5, max: 0.99, count: 100}
  l2: {choice: [0, 1e-5, 1e-4, 1e-3, 1e-2]}
"""
SMOOTH = """
model: {{family: resnet, depth: {{choice: [8, 14, 20, 26, 32, 38, 44, 50, 56]}}}}
training:
  learning_rate: {{min: 1e-5, max: 1, scale: log}}
  beta_2: {{min: 0.9, max: 0.9999, scale: reverse_log}}
  l2: {{min: 1e-6, max: 1e-2, scale: log}}
search: {{method: {method}, max_trials: {trials}, seed: {seed}}}
"""
MANY = """
name: many
data: {{dataset: synthetic, train_images: 200, validation: 100}}
model: {{family: resnet, depth: 8}}
training:
  epochs: {epochs}
  batch_size: 50
  learning_rate: {{min: 1e-4, max: 1e-2, scale: log, count: {trials}}}
"""


def run_instantly(trials: int, epochs: int) -> float:
    from tuner.execution.run import make_scheduler
    from tuner.experiment.experiment import parse_experiment
    from tuner.ledger.ledger import Ledger
    from tuner.ledger.table import TrialsCsv
    from tuner.models import Cost
    from tuner.search import Search

    experiment = parse_experiment(MANY.format(trials=trials, epochs=epochs), "many.yaml")
    with (
        tempfile.TemporaryDirectory(dir=".") as folder,
        Ledger.create_or_open(Path(folder) / "ledger.sqlite", "many") as ledger,
    ):
        scheduler = make_scheduler(
            Search(experiment, "data:1"),
            ledger,
            InstantPool(),
            csv=TrialsCsv(Path(folder) / "trials.csv", ledger),
            cost=lambda trial: Cost(1, 1, 1),
            listener=lambda event: None,
            on_ready=lambda ready: None,
            checkpoints=Path(folder) / "checkpoints",
        )
        started = time.perf_counter()
        scheduler.run(1, threading.Event(), budget_seconds=None, fail_fast=False)
        return time.perf_counter() - started


def commit_milliseconds() -> float:
    """A bare SQLite commit on this disk, for comparison."""
    import sqlite3

    with tempfile.TemporaryDirectory(dir=".") as folder:
        connection = sqlite3.connect(Path(folder) / "x.sqlite", isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE t (x)")
        started = time.perf_counter()
        for number in range(200):
            connection.execute("INSERT INTO t VALUES (?)", (number,))
        seconds = time.perf_counter() - started
        connection.close()
    return seconds / 200 * 1000


def scheduling() -> str:
    """Two runs that differ in their epochs alone tell trial and epoch apart."""
    trials, epochs = 200, 11
    short, long = run_instantly(trials, 1), run_instantly(trials, epochs)
    epoch = (long - short) / (trials * (epochs - 1)) * 1000
    trial = short / trials * 1000 - epoch
    rows = [
        ["a trial (proposal, add, start, finish, csv)", trial, 5],
        ["an epoch message", epoch, 2],
        ["a bare SQLite commit", commit_milliseconds(), ""],
    ]
    return common.table("Scheduler and ledger", ["", "ms", "goal ms"], rows)


def planning() -> str:
    """`tuner plan` of 1,000,000 points, as a command."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.yaml"
        path.write_text(MILLION)
        seconds, memory = whole_command("plan", str(path))
    rows = [["1,000,000 points", seconds, memory]]
    return common.table("tuner plan (goal 2 s, 200 MB)", ["grid", "s", "peak MB"], rows)


def proposals() -> str:
    """Of methods that learn, after so many results on a smooth surface."""
    rows = [proposal(method, n) for method in ("bayesian", "tpe") for n in (12, 50, 200, 1000)]
    head = ["method", "results", "thinking, ms of a core", "ask, ms", "worst"]
    return common.table("A proposal, in a thread of its own (goal: ask in 20 ms)", head, rows)


def proposal(method: str, results: int) -> list[Any]:
    """The processor time of one, and what `ask` takes of a run."""
    from tuner.experiment import parse_experiment
    from tuner.search import make_method
    from tuner.search.learning import LearningSearch
    from tuner.search.method import Result
    from tuner.search.planned import DrawnPlan

    times, waits = [], []
    for seed in range(6):
        given = parse_experiment(
            SMOOTH.format(method=method, trials=results + 10, seed=seed), "smooth.yaml"
        )
        search = make_method(given)
        assert isinstance(search, LearningSearch)
        drawn = DrawnPlan(given.space, results, seed)
        search.restore([Result(one, -(math.log10(one.training["l2"]) ** 2)) for one in drawn])
        start = time.process_time()
        search.ask()
        times.append(1000 * (time.process_time() - start))
        search.think_aside()
        start = time.perf_counter()
        search.ask()
        waits.append(1000 * (time.perf_counter() - start))
    times = times[1:]  # the first imports what the model needs
    return [method, results, statistics.median(times), statistics.median(waits), max(waits)]


def commands() -> str:
    """Median of five, each a process of its own."""
    rows = []
    for words in (["--help"], ["plan", "--help"], ["status"], ["doctor"]):
        times = [whole_command(*words)[0] for _ in range(5)]
        rows.append([f"tuner {' '.join(words)}", statistics.median(times), max(times)])
    return common.table("Commands (goal 0.5 s)", ["", "median s", "max s"], rows)


def whole_command(*words: str) -> tuple[float, float]:
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner", *words], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, words
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def memory() -> str:
    """30 trials of one structure in one process, as a worker runs them."""
    found = common.in_process(__file__, {"trials": 30}, KERAS_BACKEND="tensorflow")
    rows = [
        ["after trial 2", found["rss"][1]],
        ["after trial 30", found["rss"][-1]],
        ["growth (goal 50)", found["rss"][-1] - found["rss"][1]],
        ["traces of the two graphs", found["traces"]],
    ]
    return common.table("Host memory of a worker, MB", ["", "MB"], rows)


def memory_side(trials: int) -> dict[str, Any]:
    from benchmarks.sweep import load, network
    from tuner.training.program import Blueprint, Hyperparameters
    from tuner.training.tensorflow import TensorFlowProgram

    data = load(640, ("crop", "flip"))
    images = TensorFlowProgram.place(data, ("crop", "flip"))
    model = {"family": "resnet", "depth": 20, "dropout": 0.1}
    program = TensorFlowProgram(
        Blueprint(lambda: network(model, data), "adam", 64, "float32"), images
    )
    rss = []
    for trial in range(trials):
        training = {
            "schedule": "cosine",
            "learning_rate": 1e-3 * (trial + 1),
            "epochs": 1,
            "warmup_epochs": 0,
            "beta_1": 0.9,
            "beta_2": 0.999,
            "epsilon": 1e-7,
        }
        values = Hyperparameters(training, {"dropout": trial / 100}, seed=trial)
        state, _ = program.train_epoch(program.initial(trial), values, 0)
        program.evaluate(state, values)
        rss.append(_rss_megabytes())
    return {"rss": rss, "traces": program.num_traces}


def _rss_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


PARTS: dict[str, Callable[[], str]] = {
    "scheduling": scheduling,
    "planning": planning,
    "proposals": proposals,
    "commands": commands,
    "memory": memory,
}


def main() -> None:
    import json

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        options.answer.write_text(json.dumps(memory_side(**options.side)))
        os._exit(0)
    parts = [f"{common.environment()}", ""]
    for name in options.only:
        parts.append(PARTS[name]())
        print(parts[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
