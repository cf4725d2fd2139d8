"""SIGKILL at random moments: nothing that was recorded is lost, changed or done again.

python -m benchmarks.reliability.kills [--kills 1000] [--quick] [-o FILE.md]

A grid is trained for real while workers, the scheduler, or both are killed: at random, inside the
writing of a checkpoint, inside a commit, right after the start. A dead scheduler is started again
until the grid is done; grids are run until so many kills were made. Each must end as an undisturbed
run of it: the same scores, best epochs and metrics of every epoch, to the last bit.

A worker is killed once its trial has got further than where it was last disturbed, because a trial
whose workers die again and again without getting anywhere is failed by design. Each campaign has
one or two workers. All but one in 25 are forked with the framework imported (preload.py).
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.reliability import watch
from benchmarks.reliability.preload import preloaded
from benchmarks.reliability.report import publish
from benchmarks.reliability.search import (
    Search,
    View,
    environment,
    is_alive,
    kill,
    send,
    write_data,
)
from benchmarks.reliability.witness import Witness

EXPERIMENT = """
name: experiment
data: {{dataset: {data}, validation: 40, augment: [crop, flip]}}
model: {{family: mlp, hidden_units: {{choice: {units}}}, dropout: 0.1}}
training:
  epochs: {epochs}
  batch_size: 8
  learning_rate: {{choice: [0.001, 0.002, 0.004, 0.008]}}
"""
WAYS = {"worker": 60, "checkpoint": 25, "scheduler": 5, "both": 4, "commit": 4, "start": 2}
LATEST_SECONDS = 0.8  # how long after an epoch a worker is killed at the latest
SETTLING_SECONDS = 0.1  # until the scheduler has recorded what a stopped worker had told
ORPHAN_SECONDS = 10.0  # a worker whose scheduler is gone must be gone within so long


@dataclass
class Campaign:
    """One grid run to its end under kills."""

    search: Search
    rng: random.Random
    made: Counter[str] = field(default_factory=Counter)
    disturbed: dict[int, int] = field(default_factory=dict)  # trial → its epochs at the last kill
    status: int | None = None  # of the run that ended by itself

    def __post_init__(self) -> None:
        self.witness = Witness(self.search.results)

    def run(self, most: int) -> None:
        """Kill up to `most` times, then let it end."""
        ways: dict[str, Callable[[], bool]] = {
            "worker": self._worker,
            "checkpoint": self._checkpoint,
            "scheduler": self._scheduler,
            "both": self._both,
            "commit": self._commit,
            "start": self._start,
        }
        self.search.start()
        while self.made.total() < most and not self._is_done():
            way = self.rng.choices(list(WAYS), list(WAYS.values()))[0]
            if ways[way]():
                self.made[way] += 1
            self.witness.look()
        while not self._is_done():
            time.sleep(0.1)
            self.witness.look()
        self.witness.look()

    def _is_done(self) -> bool:
        """Whether the run ended by itself; one that was killed is started again."""
        if self.search.is_running:
            return False
        status = self.search.wait()
        if status >= 0:
            self.status = status
            return True
        self.search.start()
        return False

    # ------------------------------------------------------------ whom

    def _victim(self) -> int | None:
        """A worker whose trial got somewhere since it was last disturbed; None if the run ends."""
        while self.search.is_running:
            view = self.witness.look()
            fit = [w for w, trial in view.running().items() if self._has_moved(view, trial)]
            if fit:
                return self.rng.choice(fit)
            time.sleep(0.02)
        return None

    def _has_moved(self, view: View, trial: int) -> bool:
        done: int = view.trials[trial]["epochs"]
        return done > self.disturbed.get(trial, -1)

    # ------------------------------------------------------------ when

    def _worker(self) -> bool:
        worker = self._victim()
        time.sleep(self.rng.uniform(0, LATEST_SECONDS))
        return worker is not None and self._kill_worker(worker)

    def _checkpoint(self) -> bool:
        """Between the first byte of a draft and the report of the epoch."""
        folder = self.search.results / "checkpoints"
        worker = self._victim()
        if worker is None or not folder.is_dir():
            return False
        moment = self.rng.choice((watch.CREATE, watch.CLOSE_WRITE, watch.MOVED_TO))
        with watch.watched(folder, moment) as descriptor:
            if not watch.wait_for(descriptor, "", 5):
                return False
            self._moment()
            return self._kill_worker(worker)

    def _scheduler(self) -> bool:
        time.sleep(self.rng.uniform(0, 3))
        return self._kill_scheduler()

    def _both(self) -> bool:
        self._victim()
        workers = [pid for pair in self.search.workers().values() for pid in pair]
        for pid in workers:
            kill(pid)
        return self._kill_scheduler()

    def _commit(self) -> bool:
        moment = self.rng.choice((watch.CREATE, watch.DELETE))
        if not self.search.results.is_dir():
            return False
        with watch.watched(self.search.results, moment) as descriptor:
            watch.wait_for(descriptor, "ledger.sqlite-journal", 5)
            self._moment()
            return self._kill_scheduler()

    def _start(self) -> bool:
        """A run that has just begun is killed before it has done anything."""
        self._kill_scheduler()
        self.search.start()
        time.sleep(self.rng.uniform(0, 1.2))
        return self._kill_scheduler()

    def _kill_worker(self, worker: int) -> bool:
        """At this moment, if its trial got somewhere since it was last disturbed.

        The worker is stopped first, so that the ledger says which trial that is.
        """
        pids = self.search.workers().get(worker)
        if pids is None or not send(pids[0], signal.SIGSTOP):
            return False
        time.sleep(SETTLING_SECONDS)
        view = self.witness.look()
        trial = view.running().get(worker)
        if trial is None or not self._has_moved(view, trial):
            send(pids[0], signal.SIGCONT)
            return False
        self.disturbed[trial] = view.trials[trial]["epochs"]
        killed = send(pids[0], signal.SIGKILL)
        self._await_loss(worker, trial)
        return killed

    def _await_loss(self, worker: int, trial: int) -> None:
        """What was on its way when the worker was killed is no progress after the kill.

        Then the trial goes back to its last checkpoint, and has to come as far again.
        """
        deadline = time.monotonic() + 5
        while self.search.is_running and time.monotonic() < deadline:
            view = self.witness.look()
            epochs = view.trials[trial]["epochs"]
            self.disturbed[trial] = max(epochs, self.disturbed[trial])
            if view.running().get(worker) != trial:
                return
            time.sleep(0.01)

    def _moment(self) -> None:
        time.sleep(self.rng.choice((0, 0, 0.0005, 0.002)))

    def _kill_scheduler(self) -> bool:
        if not self.search.is_running:
            return False
        workers = [pid for pair in self.search.workers().values() for pid in pair]
        self.search.kill()
        deadline = time.monotonic() + ORPHAN_SECONDS
        while any(map(is_alive, workers)):
            if time.monotonic() > deadline:
                self.witness.broken.append(f"a worker outlives its scheduler: {workers}")
                break
            time.sleep(0.02)
        self.witness.look()
        return True


# ---------------------------------------------------------------------- all of them


@dataclass
class Figures:
    made: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    first_signs: list[float] = field(default_factory=list)
    campaigns: int = 0
    epochs: int = 0
    looks: int = 0

    def add(self, campaign: Campaign) -> None:
        self.made += campaign.made
        self.broken += campaign.witness.broken
        self.first_signs += campaign.search.first_signs
        self.campaigns += 1
        self.epochs += campaign.witness.num_epochs
        self.looks += campaign.witness.looks


def measure(
    kills: int, environ: dict[str, str], folder: Path, *, quick: bool, backend: str, seed: int
) -> Figures:
    """Campaigns until so many kills were made, each compared with an undisturbed run."""
    text = EXPERIMENT.format(
        data=write_data(folder, 240 if quick else 1640),
        units="[8]" if quick else "[8, 12, 16]",
        epochs=6 if quick else 12,
    )
    (folder / "experiment.yaml").write_text(f"backend: {backend}\n{text}")
    rng = random.Random(seed)
    figures = Figures()
    expected = undisturbed(folder, environ)
    while figures.made.total() < kills:
        cold = figures.campaigns % 25 == 24
        campaign = one(folder, environment() if cold else environ, rng)
        try:
            campaign.run(kills - figures.made.total())
            judge(campaign, expected)
        finally:
            campaign.search.close()
        figures.add(campaign)
        print(dict(figures.made), figures.broken[-3:], flush=True)
    return figures


def undisturbed(folder: Path, environ: dict[str, str]) -> dict[str, object]:
    search = Search(folder, environ)
    try:
        assert search.run() == 0, search.text
        return Witness(search.results).look().outcome()
    finally:
        search.close()


def one(folder: Path, environ: dict[str, str], rng: random.Random) -> Campaign:
    shutil.rmtree(folder / "results", ignore_errors=True)
    return Campaign(Search(folder, environ, ["-j", str(rng.choice((1, 2)))]), rng)


def judge(campaign: Campaign, expected: dict[str, object]) -> None:
    """What the end must be, whatever came before. Another run changes nothing and tidies up."""
    broken = campaign.witness.broken
    if campaign.search.run() != campaign.status:
        broken.append(f"running it once more: {campaign.search.text[-600:]}")
    view = campaign.witness.look()
    campaign.witness.check_files(view)
    found = view.outcome()
    if campaign.status != 0:
        broken.append(f"ended with status {campaign.status}: {campaign.search.text[-600:]}")
    for number in view.in_state("failed", "diverged", "waiting", "running"):
        row = view.trials[number]
        broken.append(f"trial {number} is {row['state']}: {row['reason']}")
    if found.keys() != expected.keys():
        broken.append(f"{len(found)} trials instead of {len(expected)}")
    different = [key for key in found if found[key] != expected.get(key)]
    if different:
        broken.append(f"{len(different)} trials differ from the undisturbed run")


def table(figures: Figures, seconds: float) -> str:
    late = max(figures.first_signs, default=0.0)
    ways = ", ".join(f"{way} {count}" for way, count in figures.made.most_common())
    rows: list[list[Any]] = [
        ["kills", f"{figures.made.total()} ({ways})", ""],
        ["grids run to their end", figures.campaigns, ""],
        ["epochs recorded", figures.epochs, ""],
        ["looks at the ledger", figures.looks, ""],
        ["lost, changed, done twice, different at the end", len(figures.broken), 0],
        ["slowest first sign of life, s", late, "< 3"],
        ["minutes", seconds / 60, ""],
    ]
    listed = "".join(f"- {text}\n" for text in figures.broken[:40])
    return common.table("SIGKILL at random moments", ["", "seen", "goal"], rows) + "\n" + listed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--backend", default="tensorflow", choices=("tensorflow", "jax"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    kills = options.kills or (12 if options.quick else 1000)
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as folder,
        preloaded(options.backend, environment()) as environ,
    ):
        figures = measure(
            kills,
            environ,
            Path(folder),
            quick=options.quick,
            backend=options.backend,
            seed=options.seed,
        )
    publish([table(figures, time.monotonic() - started)], options.output)
    raise SystemExit(bool(figures.broken))


if __name__ == "__main__":
    main()
