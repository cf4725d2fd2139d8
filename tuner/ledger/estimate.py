"""How long a run takes: one estimate for `plan`, the live view, `status` and the run's last line.

Structures are told apart, since an epoch of one may take a hundred times as long as of another.
Neither an experiment nor a framework is needed to say how much of it is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow

EVENT = "estimate"
"""The event that keeps the estimate of a run that began."""


@dataclass(frozen=True)
class StructureTime:
    """What is to be trained of one structure when a run begins, and how long that takes.

    Multiply-adds are those of an epoch. None and 0: not worked out, or not known.
    """

    trials: float
    epochs: float
    multiply_adds: float | None = None
    epoch_seconds: float | None = None
    compile_seconds: float = 0.0
    is_measured: bool = False


@dataclass
class Trained:
    """What a run has trained of one structure; `ended` counts trials."""

    ended: int = 0
    epochs_of_ended: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    epochs: float = 0.0  # of running trials, too, as `seconds`


@dataclass(frozen=True)
class Estimate:
    """What a run has to train and how long that takes here; `is_most`: rules may end it earlier."""

    workers: int = 1
    structures: Mapping[str, StructureTime] = field(default_factory=dict)
    is_most: bool = False

    @property
    def seconds(self) -> float | None:
        """Of the whole run; None where nothing like it was measured, or nothing is left."""
        return self.seconds_left({}, [], sum(s.trials for s in self.structures.values())) or None

    def seconds_left(
        self,
        trained: Mapping[str, Trained],
        running: Sequence[tuple[str, float]],
        not_begun: float,
        epochs_left: float | None = None,
    ) -> float | None:
        """What is left of a run that has trained so much; None while no epoch's time is known.

        A trial that has not begun is expected to be cut short as those were that have ended;
        running ones count in full, or the first that are stopped would rule it all.

        Args:
            trained: by structure.
            running: structure and epochs left of each running trial.
            not_begun: how many trials have not begun.
            epochs_left: of a search that shares epochs out itself: these, and no others.
        """
        pace = self._epoch_seconds(trained)
        if not pace or (not_begun and not self.structures):
            return None
        usual = fmean(pace.values())  # of structures that were not looked at
        to_come = self._to_come(trained, running)
        rest = [epochs * pace.get(key, usual) for key, epochs in running]
        epochs = {key: count * self._epochs_each(key) for key, count in to_come.items()}
        seconds = sum(count * pace.get(key, usual) for key, count in epochs.items())
        if epochs_left is not None:
            left = epochs_left * seconds / (sum(epochs.values()) or 1.0)
        else:
            each = seconds / (sum(to_come.values()) or 1.0)
            left = sum(rest) + not_begun * each * self._share_trained(trained, running)
        if not_begun:
            left += self._compile_seconds(to_come, trained)
        active = max(1.0, min(self.workers, len(running) + not_begun))
        return max(left / active, max(rest, default=0.0))

    def _to_come(
        self, trained: Mapping[str, Trained], running: Sequence[tuple[str, float]]
    ) -> dict[str, float]:
        """Trials that have not begun by structure; more than were foreseen are like all of them."""
        begun = Counter({key: t.ended for key, t in trained.items()})
        begun.update(key for key, _ in running)
        trials = {key: s.trials for key, s in self.structures.items()}
        to_come = {key: max(0.0, count - begun[key]) for key, count in trials.items()}
        return to_come if any(to_come.values()) else trials

    def _epoch_seconds(self, trained: Mapping[str, Trained]) -> dict[str, float]:
        """Of an epoch by structure: as this run measures it, or else as was expected.

        What was expected of other structures is corrected by the factor by which it was off so
        far. Where nothing was measured before, multiply-adds stand for the expectation.
        """
        measured = {k: t.seconds / t.epochs for k, t in trained.items() if t.epochs and t.seconds}
        expected = {k: s.epoch_seconds for k, s in self.structures.items() if s.epoch_seconds}
        factor = 1.0
        if not expected:
            expected = {k: s.multiply_adds for k, s in self.structures.items() if s.multiply_adds}
            factor = 0.0  # until this run has measured one
        if both := measured.keys() & expected.keys():
            spent = sum(trained[key].seconds for key in both)
            factor = spent / sum(trained[key].epochs * expected[key] for key in both)
        return {key: factor * cost for key, cost in expected.items() if factor} | measured

    def _compile_seconds(
        self, to_come: Mapping[str, float], trained: Mapping[str, Trained]
    ) -> float:
        """Of all workers together, for programs that no trial has needed yet."""
        known = [t.compile_seconds for t in trained.values() if t.compile_seconds]
        known = known or [s.compile_seconds for s in self.structures.values() if s.compile_seconds]
        usual = fmean(known) if known else 0.0
        return sum(
            min(count, self.workers) * (self.structures[key].compile_seconds or usual)
            for key, count in to_come.items()
            if key not in trained
        )

    def _share_trained(
        self, trained: Mapping[str, Trained], running: Sequence[tuple[str, float]]
    ) -> float:
        """What share of their epochs trials have had in the end."""
        in_full = sum(self._epochs_each(key) for key, _ in running)
        planned = in_full + sum(t.ended * self._epochs_each(key) for key, t in trained.items())
        had = in_full + sum(t.epochs_of_ended for t in trained.values())
        return min(1.0, had / planned) if planned else 1.0  # some may have been begun before

    def _epochs_each(self, key: str) -> float:
        """Of a trial of a structure; the mean of all where it was not foreseen."""
        structures = [self.structures[key]] if key in self.structures else self.structures.values()
        trials = sum(s.trials for s in structures)
        return sum(s.epochs for s in structures) / trials if trials else 0.0

    # ------------------------------------------------------------ in words

    @property
    def measured(self) -> int:
        """How many structures were measured themselves."""
        return sum(s.is_measured for s in self.structures.values())

    @property
    def scaled(self) -> int:
        """How many structures' times are scaled by multiply-adds from others."""
        return sum(bool(s.epoch_seconds) for s in self.structures.values()) - self.measured

    @property
    def basis(self) -> str:
        """How the times of structures are known."""
        total = self.measured + self.scaled
        if not total:
            return ""
        if self.measured and self.scaled:
            return f"{self.measured} of {total} structures ran here before; others by their size"
        if self.scaled:
            return "estimated by the size of the networks"
        return f"{'this structure' if total == 1 else 'these structures'} ran here before"

    def summary(self) -> dict[str, Any] | None:
        """For `plan --json`; None where the time is unknown."""
        names = ("seconds", "measured", "scaled", "workers", "is_most", "basis")
        return {name: getattr(self, name) for name in names} if self.seconds else None


# ---------------------------------------------------------------------- in the ledger


def keep_estimate(ledger: Ledger, estimate: Estimate) -> None:
    """In the ledger of the run that begins, for `status`."""
    ledger.event(EVENT, asdict(estimate) | {"seconds": estimate.seconds})


def last_estimate(ledger: Ledger) -> Estimate:
    """What was kept when the last run began; one that knows nothing where nothing was."""
    run = ledger.last_run
    kept = [event for event in ledger.events_of(EVENT) if event.at >= run["started_at"]]
    try:
        return TypeAdapter(Estimate).validate_python(kept[-1].detail)
    except (IndexError, ValidationError):  # or it was by another version
        return Estimate(run.get("workers") or 1)


def trained_in_run(ledger: Ledger, running: Sequence[TrialRow]) -> dict[str, Trained]:
    """What the last run has trained so far, by structure."""
    trained = {
        structure: Trained(ended, epochs, seconds, compiling, epochs)
        for structure, ended, epochs, seconds, compiling in ledger.trained_since(
            ledger.last_run["started_at"]
        )
    }
    for row in running:
        mine = trained.setdefault(row.structure, Trained())
        epochs = ledger.epochs(row.number)
        mine.epochs += len(epochs)
        mine.seconds += sum(epoch.seconds for epoch in epochs)
    return trained
