"""What every pool promises, whatever its workers are: the scheduler on a scripted one, on processes
of this machine, and on actors of Ray.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from tests.execution import stub_worker as stub
from tests.execution.conftest import ScriptedPool
from tuner.data.config import DataConfig
from tuner.errors import InputError
from tuner.execution.current import mark_current
from tuner.execution.events import EpochEnded, TrialEnded, TrialStarted, WorkerLost, WorkerReady
from tuner.execution.pools import LocalPool, Pool
from tuner.execution.protocol import Epoch, Lost, Report, TrainTrial, WorkerSetup
from tuner.execution.ray_cluster import RayCluster, connected
from tuner.execution.ray_pool import RayPool
from tuner.execution.run import make_scheduler
from tuner.experiment.experiment import parse_experiment
from tuner.experiment.schema import Resources
from tuner.experiment.trial import TrialState
from tuner.ledger.checkpoint import SavedCheckpoint
from tuner.ledger.ledger import Ledger
from tuner.ledger.logs import log_lines
from tuner.ledger.table import TrialsCsv
from tuner.models import Cost
from tuner.search import Search

STUB = "tests.execution.stub_worker"
SILENCE_SECONDS = 7.0  # longer than a stub takes to start on a busy machine
RATES = (
    stub.SLOW,
    stub.GOOD,
    stub.DIES_BEFORE,
    stub.DIES_WITHIN,
    stub.DIES_AFTER,
    stub.POISON,
    stub.RAISES,
    stub.STEADY,
    stub.SILENT,
)
EXPERIMENT = """
name: contract
model: {{family: resnet, depth: 8}}
data: {{dataset: synthetic}}
training: {{epochs: 3, learning_rate: {{choice: [{rates}]}}}}
search: {{stop: {stop}}}
"""


def experiment_of(*rates: float, stop="null"):
    text = EXPERIMENT.format(rates=", ".join(map(str, rates)), stop=stop)
    return parse_experiment(text, "contract.yaml")


class Scripted(ScriptedPool):
    """Plays the same as the stub, in no time."""

    def __init__(self) -> None:
        super().__init__(self._play)

    def _play(self, task: TrainTrial) -> list[Report]:
        value, begun = 0.0, max((row.epoch for row in task.checkpoints), default=0)
        for _ in range(begun):
            value = stub.after(value, task)
        reports: list[Report] = []
        for act in stub.plays(task, value, begun):
            if act == "dies":
                return [*reports, Lost("killed by SIGKILL")]
            if act == "hangs":
                return reports
            if isinstance(act, Epoch):
                saved = SavedCheckpoint(f"{act.number}-{act.epoch}-{task.attempt}.npz", "sha", 1)
                reports.append(dataclasses.replace(act, checkpoint=saved))
            elif not isinstance(act, float | str):
                reports.append(act)
        return reports

    def receive(self, timeout_seconds: float) -> list[tuple[int, Report]]:
        reports = super().receive(timeout_seconds)
        if not reports:
            time.sleep(timeout_seconds / 10)
        return reports


@dataclass
class Stage:
    """An experiment on workers of some kind; `run` may be called again and again."""

    folder: Path
    make_pool: Callable[[WorkerSetup, Path, int], Pool]
    has_processes: bool
    events: list[object] = field(default_factory=list)
    stop: Event = field(default_factory=Event)
    ending: str = ""

    def __post_init__(self) -> None:
        self.scratch.mkdir()

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "run" / "checkpoints"

    def run(self, *rates: float, workers=2, listener=None, silence_seconds=60.0, stop="null"):
        experiment = experiment_of(*rates, stop=stop)
        setup = WorkerSetup("jax", DataConfig(dataset="synthetic"), self.scratch, self.checkpoints)
        pool = self.make_pool(setup, self.folder / "run" / "logs", workers or 1)
        self.events = []

        def listen(event: object) -> None:
            self.events.append(event)
            if listener:
                listener(event)

        with Ledger.create_or_open(self.folder / "ledger.sqlite", "contract") as ledger:
            ledger.interrupted()
            ledger.keep_data_record({experiment.data.dataset: "data:1"})
            search = Search(experiment, "data:1")
            mark_current(search, ledger)
            scheduler = make_scheduler(
                search,
                ledger,
                pool,
                csv=TrialsCsv(self.folder / "trials.csv", ledger),
                checkpoints=self.checkpoints,
                cost=lambda trial: Cost(1, 2, 3),
                listener=listen,
                on_ready=lambda ready: None,
                silence_seconds=silence_seconds,
            )
            self.ending = scheduler.run(workers, self.stop, budget_seconds=None, fail_fast=False)
            return self.check(ledger)

    def check(self, ledger: Ledger):
        """Every epoch is there once, and follows from the one before; the rows by learning rate."""
        rows = {row.values["training.learning_rate"]: row for row in ledger.rows()}
        assert len(rows) == len(ledger.rows())
        for rate, row in rows.items():
            value, epochs = 0.0, ledger.epochs(row.number)
            assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))
            for epoch in epochs:
                value = (value * 7.31 + rate + row.seed / 7 + 0.1) % 1.0
                assert epoch.metrics["val_accuracy"] == value
        if self.has_processes:
            named = {row.file for row in ledger.checkpoints()}
            there = {path.name for path in self.checkpoints.glob("*")}
            assert named == there
        return rows

    def events_of(self, number: int) -> list[object]:
        return [event for event in self.events if getattr(event, "number", None) == number]

    def processes(self) -> list[int]:
        """Workers that are still there."""
        return [
            int(p.name) for p in self.scratch.glob("[0-9]*") if Path(f"/proc/{p.name}").exists()
        ]

    @contextmanager
    def ends(self) -> Iterator[None]:
        """No worker is left a moment later."""
        yield
        deadline = time.monotonic() + 5
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.processes() == []


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[RayCluster]:
    with connected(None) as cluster:
        yield cluster


KINDS = ("scripted", "local", "ray")


def stage_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> Stage:
    def local(setup: WorkerSetup, logs: Path, workers: int) -> Pool:
        return LocalPool(setup, workers=workers, logs=logs, environment={}, module=STUB)

    def on_ray(setup: WorkerSetup, logs: Path, workers: int) -> Pool:
        cluster = request.getfixturevalue("ray_cluster")
        return RayPool(setup, cluster, logs=logs, resources=Resources(), module=STUB)

    pools = {"scripted": lambda *_: Scripted(), "local": local, "ray": on_ray}
    return Stage(folder, pools[kind], kind != "scripted")


@pytest.fixture(params=KINDS)
def stage(request, tmp_path) -> Iterator[Stage]:
    stage = stage_of(request.param, tmp_path, request)
    with stage.ends():
        yield stage


@dataclass
class Played:
    """A run in which everything happens."""

    stage: Stage
    silence_seconds: float
    rows: dict

    def events(self, rate: float, kind: type) -> list:
        found = self.stage.events_of(self.rows[rate].number)
        return [event for event in found if isinstance(event, kind)]


@pytest.fixture(scope="module", params=KINDS)
def played(request, tmp_path_factory) -> Played:
    stage = stage_of(request.param, tmp_path_factory.mktemp("played"), request)
    with stage.ends():
        silence_seconds = SILENCE_SECONDS if stage.has_processes else 1.0
        rows = stage.run(*RATES, silence_seconds=silence_seconds)
        return Played(stage, silence_seconds, rows)


def states(rows) -> dict[float, TrialState]:
    return {rate: row.state for rate, row in rows.items()}


def all_completed(*rates: float) -> dict[float, TrialState]:
    return dict.fromkeys(rates, TrialState.COMPLETED)


def test_every_trial_ends_once_whatever_happens_to_workers(played):
    assert played.stage.ending == "done"
    failed = {stub.POISON, stub.RAISES}
    expected = {r: TrialState.FAILED if r in failed else TrialState.COMPLETED for r in RATES}
    assert states(played.rows) == expected
    assert all(len(played.events(rate, TrialEnded)) == 1 for rate in RATES)


def test_what_happens_to_a_trial_is_heard_in_its_order(played):
    for rate in (stub.GOOD, stub.STEADY, stub.SLOW):
        told = played.events(rate, TrialStarted | EpochEnded | TrialEnded)
        assert [type(event) for event in told] == [TrialStarted, *[EpochEnded] * 3, TrialEnded]
        assert [event.epoch for event in told[1:-1]] == [1, 2, 3]


def test_a_slow_worker_holds_up_nobody(played):
    """Another trial ends before it, if there was time: actors may start long after each other."""
    slow, events = played.rows[stub.SLOW].number, played.stage.events
    ends = next(n for n, e in enumerate(events) if isinstance(e, TrialEnded) and e.number == slow)
    starts = [n for n, event in enumerate(events) if isinstance(event, WorkerReady)]
    if played.stage.has_processes and starts[1] < ends / 2:  # a script takes no time
        assert any(isinstance(event, TrialEnded) for event in events[:ends])


@pytest.mark.parametrize("rate", [stub.DIES_BEFORE, stub.DIES_WITHIN, stub.DIES_AFTER])
def test_a_worker_that_dies_costs_its_trial_one_retry_from_the_last_epoch(played, rate):
    assert played.rows[rate].attempt == 2
    (lost,) = played.events(rate, WorkerLost)
    assert lost.reason.startswith("killed by SIGKILL")
    assert [event.epoch for event in played.events(rate, EpochEnded)] == [1, 2, 3]


def test_a_worker_that_never_answers_is_replaced(played):
    (lost,) = played.events(stub.SILENT, WorkerLost)
    assert lost.reason.startswith(f"no message for {played.silence_seconds:.0f} s")


def test_a_trial_that_kills_every_worker_is_failed(played):
    assert "died 2 times" in played.rows[stub.POISON].reason
    assert len(played.events(stub.POISON, WorkerLost)) == 2


def test_an_error_is_the_reason_of_a_failure(played):
    assert played.rows[stub.RAISES].reason == "ValueError: as it was told"


def test_what_a_worker_prints_is_in_its_log(played):
    if not played.stage.has_processes:
        pytest.skip("a script prints nothing")
    lines = list(log_lines(played.stage.folder / "run" / "logs"))
    for rate in set(RATES) - {stub.DIES_BEFORE, stub.POISON}:
        number = played.rows[rate].number
        assert f"trial {number} by a stub" in [li.text for li in lines if li.trial == number]


def test_a_trial_that_was_stopped_at_a_rung_goes_on_from_there_on_any_worker(stage):
    rates = [0.11 + number * 7 % 16 / 50 for number in range(16)]
    with stage.ends():
        rows = stage.run(*rates, stop="{rule: asha, reduction: 2}")
    again = [e for e in stage.events if isinstance(e, TrialStarted) and e.up_again]
    assert stage.ending == "done" and again
    epochs = {row.number: row.epochs for row in rows.values()}
    assert all(epochs[e.number] > e.epochs_done > 0 for e in again)
    assert set(epochs.values()) == {1, 2, 3}
    trained = [(e.number, e.epoch) for e in stage.events if isinstance(e, EpochEnded)]
    assert len(trained) == len(set(trained)) == sum(epochs.values())


def test_what_is_interrupted_goes_on_where_it_was(stage):
    def listener(event: object) -> None:
        if isinstance(event, EpochEnded):
            stage.stop.set()

    rates = (stub.STEADY, stub.SLOW)
    with stage.ends():
        stage.run(*rates, listener=listener)
    assert stage.ending == "interrupted"
    stage.stop.clear()
    rows = stage.run(*rates)
    assert states(rows) == all_completed(*rates)


def test_a_worker_that_cannot_begin_ends_the_run_with_its_reason(stage):
    if not stage.has_processes:
        pytest.skip("a script always begins")
    (stage.scratch / "broken").touch()
    with pytest.raises(InputError, match="broken on purpose"):
        stage.run(stub.GOOD)
