"""A scheduler with workers that play a script, and a clock that is turned by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import pytest

from tests.search.cases import Dice
from tuner.execution.current import mark_current
from tuner.execution.pools import Pool
from tuner.execution.protocol import (
    Epoch,
    Finished,
    GoOn,
    Lost,
    Ready,
    Report,
    StopTrial,
    Task,
    TrainTrial,
)
from tuner.execution.run import make_scheduler
from tuner.experiment.experiment import parse_experiment
from tuner.ledger.ledger import Ledger
from tuner.ledger.table import TrialsCsv
from tuner.models import Cost
from tuner.search import Search

GRID = """
name: grid
model: {family: resnet, depth: {choice: [8, 14]}}
data: {dataset: synthetic}
training:
  epochs: 2
  learning_rate: {choice: [0.1, 0.01, 0.001]}
"""


def metrics(value: float) -> dict[str, float]:
    return {"loss": 1.0, "accuracy": value, "val_loss": 1.0, "val_accuracy": value}


def epochs_behind(task: TrainTrial) -> int:
    return max((row.epoch for row in task.checkpoints), default=0)


def good(task: TrainTrial) -> list[Report]:
    """Every epoch a little better; better with a lower learning rate."""
    base = 0.5 - task.training["learning_rate"]
    reports: list[Report] = [
        Epoch(task.number, epoch, metrics(base + epoch / 100), 0.1)
        for epoch in range(epochs_behind(task) + 1, task.until + 1)
    ]
    return [*reports, Finished(task.number)]


def diverging(task: TrainTrial) -> list[Report]:
    return [
        Epoch(task.number, 1, metrics(0.9) | {"loss": math.nan}, 0.1),
        Finished(task.number),
    ]


def raising(task: TrainTrial) -> list[Report]:
    return [Finished(task.number, "ValueError: no such thing")]


def dying(task: TrainTrial) -> list[Report]:
    return [Epoch(task.number, 1, metrics(0.1), 0.1), Lost("killed by SIGKILL")]


def silent(task: TrainTrial) -> list[Report]:
    return []


class ScriptedPool(Pool):
    """Plays `script` for each trial; remembers everything that it was told to do."""

    def __init__(self, script: Callable[[TrainTrial], list[Report]]) -> None:
        self.script = script
        self.starts: list[int] = []
        self.tasks: list[TrainTrial] = []
        self.stopped: list[int] = []
        self.rungs: dict[int, tuple[int, ...]] = {}
        self.closed = False
        self.on_empty: Callable[[], None] = lambda: None
        self._reports: list[tuple[int, Report]] = []
        self._behind: dict[int, list[Report]] = {}  # the rung at which a worker waits

    def start(self, worker: int) -> None:
        self.starts.append(worker)
        self._reports.append((worker, Ready("CPU", 0.1, {"dataset": "x"})))

    def send(self, worker: int, task: Task) -> None:
        if isinstance(task, StopTrial):
            self.stopped.append(task.number)
            if self._behind.pop(worker, None) is not None:
                self._reports.append((worker, Finished(task.number, attempt=task.attempt)))
            return
        if isinstance(task, GoOn):
            self._up_to_rung(worker, self._behind.pop(worker, []))
            return
        assert isinstance(task, TrainTrial)
        self.tasks.append(task)
        self.rungs[worker] = task.rungs
        self._up_to_rung(worker, self.script(task))

    def _up_to_rung(self, worker: int, reports: list[Report]) -> None:
        """Up to the next rung, where a worker says no more until it is told to go on."""
        for place, report in enumerate(reports, 1):
            if not isinstance(report, Epoch) or report.epoch not in self.rungs[worker]:
                self._reports.append((worker, report))
                continue
            self._reports.append((worker, replace(report, waits=True)))
            if math.isfinite(report.metrics["loss"]):
                self._behind[worker] = reports[place:]
                return

    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        if not self._reports:
            self.on_empty()
        first, self._reports = self._reports[:1], self._reports[1:]
        return first

    def kill(self, worker: int, reason: str) -> None:
        self._reports.append((worker, Lost(reason)))

    def dismiss(self) -> bool:
        return bool(self._reports)

    def close(self) -> None:
        self.closed = True


class ShuffledPool(ScriptedPool):
    """Workers of very different speed: which one reports next is drawn."""

    def __init__(self, script: Callable[[TrainTrial], list[Report]], seed: int) -> None:
        super().__init__(script)
        self._rng = random.Random(seed)

    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        if not self._reports:
            return super().receive(timeout_seconds)
        worker = self._rng.choice(sorted({worker for worker, _ in self._reports}))
        place = next(i for i, (other, _) in enumerate(self._reports) if other == worker)
        return [self._reports.pop(place)]


@dataclass
class Bench:
    """One experiment on scripted workers; `run` may be called again and again."""

    folder: Path
    text: str = GRID
    make_pool: Callable[..., ScriptedPool] = ScriptedPool
    events: list[object] = field(default_factory=list)
    stop: Event = field(default_factory=Event)
    now: float = 0.0
    pool: ScriptedPool | None = None
    ending: str = ""

    def run(
        self,
        script=good,
        text=None,
        workers=1,
        listener=None,
        retry=(),
        settles=None,
        profile=False,
        **options,
    ):
        experiment = parse_experiment(text or self.text, "grid.yaml")
        self.pool, self.events = self.make_pool(script), []
        options = {"budget_seconds": None, "fail_fast": False, **options}
        with Ledger.create_or_open(self.folder / "ledger.sqlite", "grid") as ledger:
            ledger.interrupted()
            ledger.keep_data_record({experiment.data.dataset: "data:1"})
            mark_current(Search(experiment, "data:1"), ledger)
            ledger.retry(retry)
            scheduler = make_scheduler(
                Search(experiment, "data:1"),
                ledger,
                self.pool,
                csv=TrialsCsv(self.folder / "trials.csv", ledger),
                checkpoints=self.folder / "checkpoints",
                cost=lambda trial: Cost(1, 2, 3),
                listener=listener or self.events.append,
                on_ready=lambda ready: None,
                silence_seconds=60.0,
                clock=lambda: self.now,
                settles=settles,
                profile=profile,
            )
            self.ending = scheduler.run(workers, self.stop, **options)
        return self.rows()

    def rows(self):
        with Ledger.open_read_only(self.folder / "ledger.sqlite") as ledger:
            return ledger.rows()

    def epochs(self):
        with Ledger.open_read_only(self.folder / "ledger.sqlite") as ledger:
            return ledger.epochs()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def dice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bayesian search without its model, which takes a second to load."""
    monkeypatch.setattr("tuner.search.bayesian.GaussianProcess", Dice)
