"""Workers, nodes and schedulers killed at random on a Ray cluster of three nodes.

python -m benchmarks.reliability.cluster_faults [--kills 200] [--minutes M] [--seed 0] [-o FILE.md]

A search runs again and again on the nodes of a real Ray (all of them on this machine), with workers
that train nothing, so that much happens in little time. SIGKILL for a worker, for the actor that
hosts it, for a whole node (another one comes), for the scheduler (it is started again), for both;
and now and then the signal that asks the scheduler to end. Every search must end with every trial
once, every epoch that was ever recorded as it was, the scores that follow from its seeds, and
nothing left behind: no worker, no actor, no file on a node.

A worker is killed once its trial has recorded an epoch since it was last disturbed, because a trial
whose workers die again and again without getting anywhere is failed by design.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.reliability.preload import ROOT
from benchmarks.reliability.report import publish
from benchmarks.reliability.search import View, environment, is_alive, kill, send
from benchmarks.reliability.witness import Witness

NODES, TRIALS, EPOCHS = 3, 90, 12
EXPERIMENT = f"""
name: experiment
model: {{family: resnet, depth: 8}}
data: {{dataset: synthetic}}
training:
  epochs: {EPOCHS}
  learning_rate: {{min: 0.001, max: 0.09, count: {TRIALS}}}
"""
WORKER = "benchmarks.reliability.cluster_worker"
WAYS = {"worker": 50, "actor": 12, "node": 20, "scheduler": 10, "both": 4, "asked to end": 4}
SETTLING_SECONDS = 0.8  # until what a stopped worker had told is recorded
LEFT_SECONDS = 15.0  # in which all must be gone that is not needed any more
DONE, INTERRUPTED = 0, 130
ENDS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)


# ---------------------------------------------------------------------- the scheduler's process


def drive(address: str, folder: Path) -> int:
    """What `tuner run --engine ray` does once data and networks are checked."""
    from tuner.data.config import DataConfig
    from tuner.execution.current import mark_current
    from tuner.execution.protocol import WorkerSetup
    from tuner.execution.ray_cluster import connected
    from tuner.execution.ray_pool import RayPool
    from tuner.execution.run import make_scheduler
    from tuner.experiment.experiment import parse_experiment
    from tuner.experiment.schema import Resources
    from tuner.ledger import checkpoint
    from tuner.ledger.folder import RunFolder
    from tuner.ledger.ledger import Ledger
    from tuner.ledger.table import TrialsCsv
    from tuner.models import Cost
    from tuner.search import Search

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: stop.set())
    experiment = parse_experiment(EXPERIMENT, "experiment.yaml")
    run = RunFolder(folder / "results", "experiment")
    run.prepare()
    setup = WorkerSetup("jax", DataConfig(dataset="synthetic"), folder / "scratch", run.checkpoints)
    with (
        connected(address) as cluster,
        run.lock(),
        Ledger.create_or_open(run.ledger, "experiment") as ledger,
    ):
        ledger.interrupted()
        named = {row.file for row in ledger.checkpoints()}
        checkpoint.remove(run.checkpoints, checkpoint.rubbish(run.checkpoints, named))
        ledger.keep_data_record({experiment.data.dataset: "data:1"})
        search = Search(experiment, "data:1")
        mark_current(search, ledger)
        scheduler = make_scheduler(
            search,
            ledger,
            RayPool(setup, cluster, logs=run.logs, resources=Resources(), module=WORKER),
            csv=TrialsCsv(run.trials_csv, ledger),
            checkpoints=run.checkpoints,
            cost=lambda trial: Cost(1, 2, 3),
            listener=lambda event: None,
            on_ready=lambda ready: None,
        )
        ending = scheduler.run(None, stop, budget_seconds=None, fail_fast=False)
    return DONE if ending == "done" else INTERRUPTED


# ---------------------------------------------------------------------- the machines


class Machines:
    """A head on which nothing trains, and nodes with room for one worker each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes = [self._cluster.add_node(num_cpus=1) for _ in range(NODES)]
        self.address: str = self._cluster.address

    def lose(self, rng: random.Random) -> None:
        """A node is gone with all that ran on it; another one comes a little later."""
        node = self._nodes.pop(rng.randrange(len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        time.sleep(rng.uniform(0, 2))
        self._nodes.append(self._cluster.add_node(num_cpus=1))

    def close(self) -> None:
        self._cluster.shutdown()


# ---------------------------------------------------------------------- one search under kills


@dataclass
class Campaign:
    machines: Machines
    folder: Path
    rng: random.Random
    made: Counter[str] = field(default_factory=Counter)
    disturbed: dict[int, int] = field(default_factory=dict)  # trial → its epochs at the last kill
    driver: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def __post_init__(self) -> None:
        self.results = self.folder / "results" / "experiment"
        self.scratch = self.folder / "scratch"
        self.scratch.mkdir(parents=True)
        self.witness = Witness(self.results)

    def run(self, most: int, until: float) -> None:
        """Kill up to `most` times, but not after `until`; then let it end."""
        ways: dict[str, Callable[[], bool]] = {
            "worker": self._worker,
            "actor": self._actor,
            "node": self._node,
            "scheduler": self._scheduler,
            "both": self._both,
            "asked to end": self._asked,
        }
        self._start()
        while self.made.total() < most and not self._is_done() and time.monotonic() < until:
            way = self.rng.choices(list(WAYS), list(WAYS.values()))[0]
            if ways[way]():
                self.made[way] += 1
            self.witness.look()
        deadline = time.monotonic() + 600
        while not self._is_done():
            time.sleep(0.1)
            self.witness.look()
            if time.monotonic() > deadline:
                self.witness.broken.append(f"no end within 10 minutes: {self._last_words()}")
                break

    def _start(self) -> None:
        self.starts += 1
        command = [sys.executable, "-m", "benchmarks.reliability.cluster_faults"]
        command += ["--drive", self.machines.address, str(self.folder)]
        with (self.folder / "driver.log").open("ab") as log:
            self.driver = subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdout=log, stderr=log
            )

    def _is_done(self) -> bool:
        """Whether the search ended by itself; a scheduler that was ended is started again."""
        assert self.driver is not None
        status = self.driver.poll()
        if status is None:
            return False
        if status == DONE:
            return True
        # Asked before it listens, it ends as any process does.
        if status not in (INTERRUPTED, *(-number for number in ENDS)):
            self.witness.broken.append(f"the scheduler ended with {status}: {self._last_words()}")
        if self.starts > 100:
            return True
        self._start()
        return False

    def _last_words(self) -> str:
        return (self.folder / "driver.log").read_text(errors="replace")[-600:]

    # ------------------------------------------------------------ whom

    def processes(self) -> list[int]:
        """Workers that are there."""
        return [pid for path in self.scratch.glob("[0-9]*") if is_alive(pid := int(path.name))]

    def _by_number(self) -> dict[int, int]:
        found = {}
        for pid in self.processes():
            with contextlib.suppress(OSError, ValueError):
                log = Path(os.readlink(f"/proc/{pid}/fd/1"))
                found[int(log.stem.removeprefix("worker-"))] = pid
        return found

    def _victim(self) -> tuple[int, int] | None:
        """Worker and trial, if that has got somewhere since it was last disturbed."""
        deadline = time.monotonic() + 20
        while self._is_running() and time.monotonic() < deadline:
            view = self.witness.look()
            fit = [pair for pair in view.running().items() if self._has_moved(view, pair[1])]
            if fit:
                return self.rng.choice(fit)
            time.sleep(0.05)
        return None

    def _has_moved(self, view: View, trial: int) -> bool:
        done: int = view.trials[trial]["epochs"]
        return done > self.disturbed.get(trial, 0)

    def _is_running(self) -> bool:
        return self.driver is not None and self.driver.poll() is None

    # ------------------------------------------------------------ how

    def _worker(self) -> bool:
        return self._kill(lambda pid: pid)

    def _actor(self) -> bool:
        """The process in which Ray runs what hosts the worker."""
        return self._kill(_parent)

    def _kill(self, whom: Callable[[int], int]) -> bool:
        """The worker is stopped first, so that the ledger says which trial it has."""
        victim = self._victim()
        time.sleep(self.rng.uniform(0, 0.3))
        pid = self._by_number().get(victim[0]) if victim else None
        if victim is None or pid is None or not send(pid, signal.SIGSTOP):
            return False
        time.sleep(SETTLING_SECONDS)
        view = self.witness.look()
        if view.running().get(victim[0]) != victim[1] or not self._has_moved(view, victim[1]):
            send(pid, signal.SIGCONT)
            return False
        self.disturbed[victim[1]] = view.trials[victim[1]]["epochs"]
        other = whom(pid)
        killed = send(other, signal.SIGKILL)
        if other != pid:
            send(pid, signal.SIGCONT)  # it must notice by itself that its host is gone
        return killed

    def _node(self) -> bool:
        if not self._is_running():
            return False
        time.sleep(self.rng.uniform(0, 1))
        self._note_all()
        self.machines.lose(self.rng)
        return True

    def _note_all(self) -> None:
        """A node takes a worker along, perhaps that of a trial that has not moved again."""
        view = self.witness.look()
        for trial in view.running().values():
            self.disturbed[trial] = view.trials[trial]["epochs"]

    def _scheduler(self) -> bool:
        time.sleep(self.rng.uniform(0, 4))
        return self._end(signal.SIGKILL)

    def _both(self) -> bool:
        if not self._is_running():
            return False
        self._end(signal.SIGKILL)
        self.machines.lose(self.rng)
        return True

    def _asked(self) -> bool:
        """As a batch system does before the time is up."""
        time.sleep(self.rng.uniform(0, 4))
        return self._end(self.rng.choice((signal.SIGTERM, signal.SIGUSR1)))

    def _end(self, number: int) -> bool:
        if not self._is_running() or self.driver is None:
            return False
        workers = self.processes()
        self.driver.send_signal(number)
        self.driver.wait(60)
        self.witness.look()
        if left := still_there(lambda: [pid for pid in workers if is_alive(pid)]):
            self.witness.broken.append(f"workers outlive their scheduler: {left}")
        return True

    def close(self) -> None:
        if self.driver is not None:
            self.driver.kill()
            self.driver.wait()
        for pid in self.processes():
            kill(pid)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def still_there(look: Callable[[], list[Any]]) -> list[Any]:
    """What is left of something that has to be gone soon."""
    deadline = time.monotonic() + LEFT_SECONDS
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


# ---------------------------------------------------------------------- what must be


def judge(campaign: Campaign, nodes: Path) -> None:
    view, broken = campaign.witness.look(), campaign.witness.broken
    campaign.witness.check_files(view)
    if len(view.trials) != TRIALS:
        broken.append(f"{len(view.trials)} trials instead of {TRIALS}")
    for number, row in view.trials.items():
        if row["state"] != "completed":
            broken.append(f"trial {number} is {row['state']}: {row['reason']}")
        if wrong := wrong_epochs(view, number):
            broken.append(f"trial {number}: {wrong}")
    if left := still_there(campaign.processes):
        broken.append(f"workers are left: {left}")
    if left := still_there(lambda: left_on(nodes)):
        broken.append(f"files are left on nodes: {left[:5]}")


def wrong_epochs(view: View, number: int) -> str:
    """Every epoch once, each following from the one before."""
    epochs = {epoch: row for (trial, epoch), row in view.epochs.items() if trial == number}
    if sorted(epochs) != list(range(1, EPOCHS + 1)):
        return f"epochs {sorted(epochs)}"
    row = view.trials[number]
    rate = json.loads(row["searched"])["training.learning_rate"]
    value = 0.0
    for epoch in sorted(epochs):
        value = (value * 7.31 + rate + row["seed"] / 7 + 0.1) % 1.0
        if json.loads(epochs[epoch]["metrics"])["val_accuracy"] != value:
            return f"epoch {epoch} does not follow from the one before"
    return ""


def left_on(nodes: Path) -> list[str]:
    """Files of workers in the nodes' folder for temporary files; data and code may be shared."""
    return [str(path) for path in nodes.glob("tuner-ray-*/*/*") if not path.name.startswith(".")]


# ---------------------------------------------------------------------- all of them


@dataclass
class Figures:
    made: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    searches: int = 0
    starts: int = 0
    epochs: int = 0
    looks: int = 0

    def add(self, campaign: Campaign) -> None:
        self.made += campaign.made
        self.broken += campaign.witness.broken
        self.searches += 1
        self.starts += campaign.starts
        self.epochs += campaign.witness.num_epochs
        self.looks += campaign.witness.looks


def measure(kills: int, seconds: float, folder: Path, seed: int) -> Figures:
    rng, figures = random.Random(seed), Figures()
    deadline = time.monotonic() + seconds
    machines = Machines()
    try:
        while figures.made.total() < kills and time.monotonic() < deadline:
            place = folder / f"search-{figures.searches + 1}"
            campaign = Campaign(machines, place, rng)
            try:
                campaign.run(kills - figures.made.total(), deadline)
                judge(campaign, folder)
            finally:
                campaign.close()
            figures.add(campaign)
            print(dict(figures.made), figures.broken[-3:], flush=True)
            if not campaign.witness.broken:
                shutil.rmtree(place)
    finally:
        machines.close()
    return figures


def table(figures: Figures, seconds: float) -> str:
    ways = ", ".join(f"{way} {count}" for way, count in figures.made.most_common())
    rows: list[list[Any]] = [
        ["kills", f"{figures.made.total()} ({ways})", ""],
        ["searches run to their end", figures.searches, ""],
        ["schedulers started", figures.starts, ""],
        ["epochs recorded", figures.epochs, ""],
        ["looks at the ledger", figures.looks, ""],
        ["lost, changed, done twice, left behind", len(figures.broken), 0],
        ["minutes", seconds / 60, ""],
    ]
    listed = "".join(f"- {text}\n" for text in figures.broken[:40])
    title = "Kills on a Ray cluster of three nodes"
    return common.table(title, ["", "seen", "goal"], rows) + "\n" + listed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=600, help="kill no longer than this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", nargs=2, metavar=("ADDRESS", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.drive:
        return drive(options.drive[0], Path(options.drive[1]))
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))  # sockets have short names
    os.environ.update(environment(), TMPDIR=str(folder))  # where nodes put what they need
    tempfile.tempdir = None
    figures = measure(options.kills, 60 * options.minutes, folder, options.seed)
    publish([table(figures, time.monotonic() - begun)], options.output)
    if not figures.broken:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if figures.broken else 0


if __name__ == "__main__":
    sys.exit(main())
