"""The recorder writes what happens to trials into the ledger, and tells whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tuner.execution.events import (
    EpochEnded,
    Event,
    Listener,
    Notice,
    TrialEnded,
    TrialStarted,
    TrialWaits,
)
from tuner.execution.profiler import Profiler
from tuner.execution.protocol import (
    Epoch,
    Predicted,
    Resumed,
    Saved,
    Spent,
    Watched,
    not_finite,
)
from tuner.execution.queue import Assignment
from tuner.execution.workforce import Workforce
from tuner.experiment.objective import Objective
from tuner.experiment.trial import Trial, TrialState
from tuner.ledger import checkpoint
from tuner.ledger.ledger import Ledger
from tuner.ledger.predictions import PREDICTIONS
from tuner.ledger.records import GRADIENTS, RANKED_STATES, NewTrial, Outcome
from tuner.ledger.table import TrialsCsv
from tuner.models import Cost

KEEP_SECONDS = 5.0  # between two notes of what the workers do
KEPT_BEST = 5  # finished trials whose best state is kept: to load, to export, to average


@dataclass
class RunningTrial:
    """A trial of an attempt, epoch by epoch; `diverged` says why its end has come."""

    number: int
    assignment: Assignment
    attempt: int
    objective: Objective
    epochs: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    compile_seconds: float = 0.0
    score: float | None = None
    best_epoch: int | None = None
    diverged: str = ""
    curve: list[float] = field(default_factory=list)

    @property
    def trial(self) -> Trial:
        """What is trained."""
        return self.assignment.trial

    @property
    def epochs_planned(self) -> int:
        """Of the whole trial."""
        return int(self.trial.configuration.training["epochs"])

    @property
    def until(self) -> int:
        """The epoch after which the worker is done with it, for now or for good."""
        return min(self.assignment.until or self.epochs_planned, self.epochs_planned)

    def note(self, epoch: int, metrics: Mapping[str, float], seconds: float) -> None:
        """One epoch more; the best one counts, the earliest in a tie."""
        self.epochs, self.metrics, self.seconds = epoch, dict(metrics), self.seconds + seconds
        if bad := not_finite(metrics):
            self.diverged = f"{bad} is {metrics[bad]} in epoch {epoch}"
            return
        value = metrics.get(self.objective.metric)
        if value is None:
            return  # of the test set, which only the last epoch sees
        self.curve.append(value)
        if self.objective.is_better(value, self.score):
            self.score, self.best_epoch = value, epoch


class Recorder:
    """The only writer of the ledger while trials run.

    `cost` gives parameters and multiply-adds of a trial; `checkpoints` is their folder.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        objective: Objective,
        csv: TrialsCsv,
        cost: Callable[[Trial], Cost | None],
        checkpoints: Path,
        listener: Listener,
        clock: Callable[[], float] = time.monotonic,
        profiler: Profiler | None = None,
    ) -> None:
        self.ledger = ledger
        self._profiler = profiler
        self._objective = objective
        self._csv = csv
        self._cost = cost
        self._checkpoints = checkpoints
        self._listener = listener
        self._clock = clock
        self._workforce = Workforce(clock)
        self._next_keep = clock()
        self._later: list[Callable[[], None]] | None = None  # what a commit has to come before

    @contextmanager
    def together(self) -> Iterator[None]:
        """What happens within is one commit. After it files go that it names no more, and whoever
        listens is told.
        """
        self._later = []
        try:
            with self.ledger.together():
                yield
            later = self._later
        finally:
            self._later = None
        for call in later:
            call()

    def tell(self, event: Event) -> None:
        """Tells whoever listens, and now and then the ledger what the workers do."""
        if self._later is not None:
            self._later.append(partial(self.tell, event))
            return
        self._workforce.take(event)
        if self._clock() >= self._next_keep:
            self.keep_workers()
        self._listener(event)

    def keep_workers(self) -> None:
        """What workers do, in a commit of its own: for whoever looks from another process."""
        self._next_keep = self._clock() + KEEP_SECONDS
        workers = self._workforce.records()
        profile = self._profiler.record(workers) if self._profiler else None
        self.ledger.keep_workers(workers, profile)

    def note_start(self, worker: int) -> None:
        """A process of the worker is being started."""
        if self._profiler:
            self._profiler.start(worker)

    def note_spent(self, worker: int, report: Spent) -> None:
        """Where its time went; comes only where a profile was asked for."""
        if self._profiler:
            self._profiler.note(worker, report)

    # ------------------------------------------------------------ the life of a trial

    def macs(self, trial: Trial) -> int:
        """Multiply-adds of an image's forward pass; 0 where they are unknown, or nobody asks."""
        cost = self._cost(trial) if self._profiler else None
        return cost.macs if cost else 0

    def number(self, trial: Trial, known: int | None, position: int | None) -> int:
        """The number of a trial in the ledger, which is made where there is none.

        `position` is how far its plan is recorded, with this trial.
        """
        if known:
            return known
        cost = self._cost(trial)
        parameters, macs = (cost.parameters, cost.macs) if cost else (None, None)
        return self.ledger.add([new_trial(trial, parameters, macs)], position)[0]

    def resume_state(self, number: int, assignment: Assignment, attempt: int) -> RunningTrial:
        """The trial with the epochs that it has."""
        running = RunningTrial(number, assignment, attempt, self._objective)
        for row in self.ledger.epochs(number):
            running.note(row.epoch, row.metrics, row.seconds)
        return running

    def start(
        self,
        worker: int,
        running: RunningTrial,
        *,
        first_of_structure: bool,
        threads: int | None = None,
    ) -> None:
        """The trial is on a worker, which computes with `threads` (None: on a GPU)."""
        self.ledger.start(running.number, worker, running.attempt, threads)
        trial = running.trial
        self.tell(
            TrialStarted(
                number=running.number,
                worker=worker,
                values=trial.configuration.values,
                replicate=trial.replicate,
                epochs=running.epochs_planned,
                structure=trial.structure.key,
                first_of_structure=first_of_structure,
                epochs_done=running.epochs,
                up_again=running.assignment.up_again,
            )
        )

    def resume(self, running: RunningTrial, report: Resumed) -> RunningTrial:
        """Where a trial really goes on, if a checkpoint could not be read."""
        for what in report.damaged:
            self.ledger.event("checkpoint damaged", {"trial": running.number, "what": what})
            self.tell(Notice(f"trial {running.number} goes on from epoch {report.epoch}: {what}"))
        if report.epoch == running.epochs:
            return running
        self.ledger.go_back(running.number, report.epoch)
        return self.resume_state(running.number, running.assignment, running.attempt)

    def watch(self, report: Watched) -> None:
        """What the trial's layers were seen doing after an epoch."""
        detail: dict[str, Any] = {"trial": report.number, "epoch": report.epoch}
        detail["norms"] = list(report.norms)
        if report.layers:
            detail["layers"] = [list(layer) for layer in report.layers]
        self.ledger.event(GRADIENTS, detail)

    def predict(self, report: Predicted) -> None:
        """What the trial says of each test image; of an epoch trained again the last one counts."""
        self.ledger.event(PREDICTIONS, report.predictions.to_detail(report.number, report.epoch))

    def epoch(self, worker: int, running: RunningTrial, report: Epoch) -> None:
        """One epoch more, with its checkpoint if one was written."""
        metrics = dict(report.metrics)
        running.note(report.epoch, metrics, report.seconds)
        replaced = self.ledger.record_epoch(
            running.number,
            report.epoch,
            metrics,
            report.seconds,
            checkpoint=report.checkpoint,
            kept=[running.best_epoch] if running.best_epoch else [],
        )
        self.remove(replaced)
        self._say_if_not_saved(report)
        self.tell(
            EpochEnded(
                number=running.number,
                worker=worker,
                epoch=report.epoch,
                epochs=running.epochs_planned,
                metrics=metrics,
                seconds=report.seconds,
            )
        )

    def keep(self, report: Saved, running: RunningTrial | None) -> None:
        """The state after an earlier epoch; the trial may have ended meanwhile (None)."""
        if report.checkpoint is not None:
            best_epoch = running.best_epoch if running else None
            place = report.number, report.epoch
            self.remove(self.ledger.record_checkpoint(*place, report.checkpoint, best_epoch))
        self._say_if_not_saved(report)

    def _say_if_not_saved(self, report: Epoch | Saved) -> None:
        if report.not_saved:
            self.tell(Notice(f"no checkpoint of trial {report.number}: {report.not_saved}"))

    def wait(self, worker: int | None, running: RunningTrial) -> None:
        """The trial goes on from here, or not, when its search says so."""
        self.ledger.requeue(running.number)
        self.tell(
            TrialWaits(
                number=running.number,
                worker=worker,
                epoch=running.epochs,
                epochs=running.epochs_planned,
                values=running.trial.configuration.values,
            )
        )

    def end(
        self, worker: int | None, running: RunningTrial, state: TrialState, reason: str = ""
    ) -> None:
        """Nothing more comes of the trial in this search."""
        score = running.score if state in RANKED_STATES else None
        outcome = Outcome(
            state=state,
            score=score,
            best_epoch=running.best_epoch,
            metrics=running.metrics,
            train_seconds=running.seconds if running.epochs else None,
            compile_seconds=running.compile_seconds,
            reason=reason,
        )
        self.remove(self.ledger.finish(running.number, outcome, KEPT_BEST))
        with suppress(OSError):  # the table follows from the ledger, and the end writes it again
            self._csv.refresh()
        self.tell(
            TrialEnded(
                number=running.number,
                worker=worker,
                state=state,
                score=score,
                reason=reason,
                values=running.trial.configuration.values,
                epochs=running.epochs,
            )
        )

    # ------------------------------------------------------------ checkpoints and reasons

    def remove(self, files: Collection[str]) -> None:
        """Files of checkpoints that the ledger names no more, or never did."""
        if self._later is not None:
            self._later.append(partial(self.remove, files))
        elif files:
            checkpoint.remove(self._checkpoints, files)

    def clear_away(self, number: int) -> None:
        """What a trial's dead worker was writing, or had written and not reported."""
        named = {row.file for row in self.ledger.checkpoints(number)}
        found = checkpoint.rubbish(self._checkpoints, named)
        self.remove([name for name in found if name.lstrip(".").startswith(f"{number}-")])

    def out_of_memory(self, trial: Trial, reason: str) -> str:
        """The reason of a failure with what to try."""
        batch_size = trial.configuration.training["batch_size"]
        told = f"out of memory with batch_size {batch_size}: {reason}"
        return f"{told}{self.memory_advice(trial)}"

    def memory_advice(self, trial: Trial) -> str:
        """What may let a trial fit that has had too little memory; empty if nothing is known."""
        batch_size = trial.configuration.training["batch_size"]
        cost = self._cost(trial)
        # Activations grow with the batch; weights, gradients and optimizer slots do not.
        if not cost or not (batch_size == "full" or _are_activations_most(cost, batch_size)):
            return ""
        ways = []
        if trial.configuration.model.get("memory_efficient") is False:
            ways.append("model.memory_efficient: true")
        if batch_size != 1:
            ways.append("a smaller batch_size")
        return f" ({' or '.join(ways)} may fit)" if ways else ""


def new_trial(trial: Trial, parameters: int | None, macs: int | None) -> NewTrial:
    """A trial as the ledger takes it."""
    return NewTrial(
        key=trial.key,
        configuration=trial.configuration.flat(),
        values=trial.configuration.values,
        replicate=trial.replicate,
        seed=trial.seed,
        structure=trial.structure.key,
        parameters=parameters,
        macs=macs,
        context=trial.context,
    )


def _are_activations_most(cost: Cost, batch_size: int) -> bool:
    """Whether a batch's activations are the larger part of what a step needs."""
    return cost.activations * batch_size > cost.parameters * 4
