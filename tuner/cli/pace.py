"""How far a run is and how long it still takes, in epochs: trials end early, wait and come back."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.cli.progress import RunningTrial
    from tuner.execution.messages import RunStarted


class Pace:
    """Counts the epochs of a run, each once, and knows how many are still to come.

    A search that shares out epochs itself says how many it has planned. Elsewhere a trial that has
    not begun is taken to be as long as those that have ended, and one that runs to run to its end:
    rules that stop trials then shorten the estimate as soon as they have stopped some.
    """

    def __init__(self) -> None:
        self.epochs = 0  # that this run has trained
        self._planned: int | None = None  # that it was to train
        self._trained_before = 0
        self._longest = 1
        self._num_ended = 0
        self._epochs_of_ended = 0
        self._furthest: dict[int, int] = {}  # epoch, of trials that have not ended

    def begin(self, event: RunStarted) -> None:
        """What the run sets out to do."""
        self._planned, self._trained_before = event.epochs_to_run, event.epochs_trained
        self._longest = event.epochs

    def start_trial(self, number: int, epochs_done: int) -> None:
        """It goes on from there; epochs that are trained again do not count twice."""
        self._furthest.setdefault(number, epochs_done)

    def end_epoch(self, number: int, epoch: int) -> None:
        """One epoch more, unless a lost worker had trained it before."""
        if epoch > self._furthest.get(number, 0):
            self._furthest[number] = epoch
            self.epochs += 1

    def end_trial(self, number: int, epochs: int) -> None:
        """A trial has ended with so many epochs."""
        self.epochs += max(0, epochs - self._furthest.pop(number, epochs))
        self._num_ended += 1
        self._epochs_of_ended += epochs

    def trained(self, running: Collection[RunningTrial]) -> float:
        """Epochs of this run, with the begun parts of those that are under way."""
        return self.epochs + sum(trial.part for trial in running)

    def left(self, running: Collection[RunningTrial], not_begun: int) -> float:
        """Epochs that are still to come."""
        if self._planned is not None:
            return max(0.0, self._planned - self.trained(running))
        rest = sum(max(0.0, trial.epochs - trial.epoch + 1 - trial.part) for trial in running)
        return rest + not_begun * self._mean(running)

    def share(self, running: Collection[RunningTrial]) -> float | None:
        """How much of the planned epochs is done; None where nobody has planned them."""
        if self._planned is None:
            return None
        whole = self._trained_before + self._planned
        done = self._trained_before + self.trained(running)
        return min(1.0, done / whole) if whole else 1.0

    def _mean(self, running: Collection[RunningTrial]) -> float:
        """Epochs of a trial; a running one counts in full, or the first that stop rule it all."""
        count = self._num_ended + len(running)
        total = self._epochs_of_ended + sum(trial.epochs for trial in running)
        return total / count if count else float(self._longest)
