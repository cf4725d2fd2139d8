"""SIGKILL at random moments: nothing that was recorded is lost, changed or done again.

python -m benchmarks.reliability.kills [--kills 1000] [--quick] [--asha WORKERS] [-o FILE.md]

A grid is trained for real while workers, the scheduler, or both are killed: at random, inside the
writing of a checkpoint, inside a commit, right after the start. A dead scheduler is started again
until the grid is done; grids are run until so many kills were made. Each must end as an undisturbed
run of it: the same scores, best epochs and metrics of every epoch, to the last bit.

A worker is killed once its trial has got further than where it was last disturbed, because a trial
whose workers die again and again without getting anywhere is failed by design. Each campaign has
one or two workers. All but one in 25 are forked with the framework imported (preload.py).

With --asha, 27 trials of a ResNet-8 on 500 real images under ASHA, which takes up again whom it has
stopped (CIFAR-100 must be at hand). With one worker the end is compared as above. With two, what
ASHA decides depends on who comes first, so that the end must be one of ASHA's own: every value of a
trial that both have is the same, those that went beyond a rung were among the best there, and of
those that were stopped nobody is.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
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
ASHA = """
name: experiment
data: {dataset: cifar100_coarse, train_images: 500, validation: 500}
model: {family: resnet, depth: 8}
training:
  {epochs: 9, batch_size: 50, optimizer: adam, learning_rate: {min: 1e-5, max: 3e-2, scale: log}}
search: {method: random, max_trials: 27, seed: 1, stop: {rule: asha}}
resources: {cpu: 1}
"""
REDUCTION, RUNGS, LAST_EPOCH = 3, (1, 3), 9
FINAL_UNDER_ASHA = ("completed", "diverged", "failed")
WAYS = {"worker": 60, "checkpoint": 25, "scheduler": 5, "both": 4, "commit": 4, "start": 2}
LATEST_SECONDS = 0.8  # how long after an epoch a worker is killed at the latest
SETTLING_SECONDS = 0.1  # until the scheduler has recorded what a stopped worker had told
ORPHAN_SECONDS = 10.0  # a worker whose scheduler is gone must be gone within so long


@dataclass
class Campaign:
    """One search run to its end under kills."""

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
    kills: int, environ: dict[str, str], folder: Path, *, text: str, asha: int = 0, seed: int
) -> Figures:
    """Campaigns until so many kills were made, each compared with an undisturbed run.

    `asha` is the number of workers under ASHA, 0 for the grid.
    """
    (folder / "experiment.yaml").write_text(text)
    rng = random.Random(seed)
    figures = Figures()
    expected = undisturbed(folder, environ)
    while figures.made.total() < kills:
        cold = figures.campaigns % 25 == 24
        workers = asha or rng.choice((1, 2))
        campaign = one(folder, environment() if cold else environ, rng, workers)
        if asha:
            campaign.witness = Witness(campaign.search.results, FINAL_UNDER_ASHA)
        try:
            campaign.run(kills - figures.made.total())
            judge(campaign, expected, differs_by_order=asha > 1)
        finally:
            campaign.search.close()
        figures.add(campaign)
        print(workers, dict(figures.made), figures.broken[-3:], flush=True)
    return figures


def grid_text(folder: Path, backend: str, *, quick: bool) -> str:
    """The grid, and its images."""
    text = EXPERIMENT.format(
        data=write_data(folder, 240 if quick else 1640),
        units="[8]" if quick else "[8, 12, 16]",
        epochs=6 if quick else 12,
    )
    return f"backend: {backend}\n{text}"


def undisturbed(folder: Path, environ: dict[str, str]) -> dict[str, Any]:
    search = Search(folder, environ, ["-j", "1"])
    try:
        assert search.run() == 0, search.text
        return Witness(search.results).look().outcome()
    finally:
        search.close()


def one(folder: Path, environ: dict[str, str], rng: random.Random, workers: int) -> Campaign:
    shutil.rmtree(folder / "results", ignore_errors=True)
    return Campaign(Search(folder, environ, ["-j", str(workers)]), rng)


def judge(campaign: Campaign, expected: dict[str, Any], *, differs_by_order: bool) -> None:
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
    if differs_by_order:
        broken += lawless(found, expected)
        return
    different = [key for key in found if found[key] != expected.get(key)]
    if different:
        broken.append(f"{len(different)} trials differ from the undisturbed run")


def lawless(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What ASHA cannot have done in any order, or what differs in epochs that both have."""
    curves = {key: outcome[-1] for key, outcome in found.items()}
    broken = [
        f"epochs of {key} differ from the undisturbed run"
        for key, curve in curves.items()
        if any(a != b for a, b in zip(curve, expected.get(key, [()])[-1], strict=False))
    ]
    for rung in RUNGS:
        best = {key: _best(curve[:rung]) for key, curve in curves.items() if len(curve) >= rung}
        kept = max(1, len(best) // REDUCTION)
        beyond = sum(len(curves[key]) > rung for key in best)
        if beyond < kept:
            broken.append(f"{beyond} of {len(best)} went on from epoch {rung}, not {kept}")
        waiting = [value for key, value in best.items() if len(curves[key]) == rung]
        if any(sum(other >= value for other in best.values()) <= kept for value in waiting):
            broken.append(f"one that stands at epoch {rung} is among the best there")
    lengths = Counter(len(curve) for curve in curves.values())
    return broken + [f"{lengths}"] * (not lengths.keys() <= {*RUNGS, LAST_EPOCH})


def _best(curve: Sequence[tuple[int, str]]) -> float:
    return max(float(json.loads(metrics)["val_accuracy"]) for _, metrics in curve)


def table(figures: Figures, seconds: float) -> str:
    late = max(figures.first_signs, default=0.0)
    ways = ", ".join(f"{way} {count}" for way, count in figures.made.most_common())
    rows: list[list[Any]] = [
        ["kills", f"{figures.made.total()} ({ways})", ""],
        ["searches run to their end", figures.campaigns, ""],
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
    parser.add_argument("--asha", type=int, default=0, choices=(1, 2), help="with so many workers")
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
        grid = grid_text(Path(folder), options.backend, quick=options.quick)
        text = f"backend: {options.backend}\n{ASHA}" if options.asha else grid
        figures = measure(
            kills, environ, Path(folder), text=text, asha=options.asha, seed=options.seed
        )
    publish([table(figures, time.monotonic() - started)], options.output)
    raise SystemExit(bool(figures.broken))


if __name__ == "__main__":
    main()
