"""A trial on a worker, and what has been learnt of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuner.execution.messages import not_finite
from tuner.execution.queue import Assignment
from tuner.execution.replicates import Course
from tuner.experiment.objective import Objective
from tuner.experiment.trial import Trial


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

    @property
    def course(self) -> Course:
        """What a search is told, at the end."""
        return Course(None if self.diverged else self.score, tuple(self.curve))

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
