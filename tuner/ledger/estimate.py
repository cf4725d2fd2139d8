"""How long a run takes: one estimate for `plan`, the live view, `status` and the run's last line.

Structures are told apart, since an epoch of one may take a hundred times as long as of another.
Neither an experiment nor a framework is needed to say how much of it is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tuner.ledger.ledger import Ledger

EVENT = "estimate"
"""The event that keeps the estimate of a run that began."""


@dataclass(frozen=True)
class StructureTime:
    """What is to be trained of one structure when a run begins, and how long that takes.

    `multiply_adds` are those of an epoch (None: not worked out); `compilations` how often workers
    need its program. Seconds are None where nothing is known.
    """

    trials: float
    epochs: float
    compilations: float = 1.0
    multiply_adds: float | None = None
    epoch_seconds: float | None = None
    compile_seconds: float | None = None
    is_measured: bool = False

    @property
    def epochs_each(self) -> float:
        """Of one trial."""
        return self.epochs / self.trials if self.trials else 0.0


@dataclass
class Trained:
    """What a run has trained of one structure; `begun` and `ended` count trials."""

    epochs: float = 0.0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    begun: int = 0
    ended: int = 0
    epochs_of_ended: int = 0


@dataclass(frozen=True)
class Estimate:
    """Seconds that a run takes on this machine, by structure; `is_most`: rules may end it earlier.

    `start_seconds` is what a worker takes until it can train.
    """

    workers: int = 1
    structures: Mapping[str, StructureTime] = field(default_factory=dict)
    start_seconds: float = 0.0
    is_most: bool = False

    # ------------------------------------------------------------ before the run

    @property
    def seconds(self) -> float | None:
        """Of the whole run; None where nothing like it was measured, or nothing is left.

        Where there are too many structures to look at each, the others take as long as the mean.
        """
        to_train = [s for s in self.structures.values() if s.epochs]
        timed = [(s, s.epoch_seconds) for s in to_train if s.epoch_seconds is not None]
        if not timed:
            return None
        training = sum(s.epochs * seconds for s, seconds in timed)
        compiling = sum(s.compilations * (s.compile_seconds or 0.0) for s, _ in timed)
        scale = sum(s.epochs for s in to_train) / sum(s.epochs for s, _ in timed)
        longest = max(s.epochs_each * seconds for s, seconds in timed)
        return self.start_seconds + max((training + compiling) * scale / self.workers, longest)

    @property
    def measured(self) -> int:
        """How many structures were measured themselves."""
        return sum(s.is_measured for s in self.structures.values())

    @property
    def scaled(self) -> int:
        """How many structures' times are scaled by multiply-adds from others."""
        known = sum(s.epoch_seconds is not None for s in self.structures.values())
        return known - self.measured

    @property
    def basis(self) -> str:
        """How the times of structures are known."""
        total = self.measured + self.scaled
        counts = {"measured": self.measured, "scaled by multiply-adds": self.scaled}
        said = [(how, count) for how, count in counts.items() if count]
        if not said:
            return ""
        if len(said) == 2:
            return f"measured: {self.measured} of {total} structures; {self.scaled} {said[1][0]}"
        return f"{said[0][0]}: {'the structure' if total == 1 else f'all {total} structures'}"

    def summary(self) -> dict[str, Any] | None:
        """For `plan --json`; None where the time is unknown."""
        seconds = self.seconds
        if seconds is None:
            return None
        names = ("measured", "scaled", "workers", "is_most", "basis")
        return {"seconds": seconds, **{name: getattr(self, name) for name in names}}

    # ------------------------------------------------------------ meanwhile

    def seconds_left(
        self,
        trained: Mapping[str, Trained],
        running: Sequence[tuple[str, float]],
        not_begun: int,
        *,
        epochs_each: float | None = None,
        epochs_left: float | None = None,
    ) -> float | None:
        """What is left of a run that has trained so much; None while no epoch's time is known.

        A trial that has not begun is expected to be cut short as those were that have ended;
        running ones count in full, or the first that are stopped would rule it all.

        Args:
            trained: by structure.
            running: structure and epochs left of each running trial.
            not_begun: how many trials have not begun.
            epochs_each: of a trial whose structure was not foreseen; default: as those that ended.
            epochs_left: of a search that shares epochs out itself: these, and no others.
        """
        pace = _Pace(self.structures, trained)
        if pace.mean is None:
            return None
        each = {key: s.epochs_each for key, s in self.structures.items() if s.trials}
        each |= {k: epochs_each for k in trained if epochs_each is not None and k not in each}
        to_come = {
            key: max(0.0, s.trials - (trained[key].begun if key in trained else 0))
            for key, s in self.structures.items()
        }
        rest = [left * pace.seconds(key) for key, left in running]
        if epochs_left is not None:
            seconds = epochs_left * pace.mean
        else:
            seconds = sum(rest)
            seconds += not_begun * _cut(trained, running, each) * pace.trial_seconds(to_come, each)
        compiling = pace.compile_seconds(to_come) if not_begun else 0.0
        active = max(1, min(self.workers, len(running) + not_begun))
        return max((seconds + compiling) / active, max(rest, default=0.0))

    # ------------------------------------------------------------ in the ledger

    def keep(self, ledger: Ledger) -> None:
        """In the ledger of the run that begins, for `status`."""
        structures = {
            key: {
                name: value
                for name, value in asdict(s).items()
                if value is not None and value is not False
            }
            for key, s in self.structures.items()
        }
        ledger.event(EVENT, {**vars(self), "structures": structures, "seconds": self.seconds})

    @classmethod
    def of_run(cls, ledger: Ledger) -> Estimate:
        """What was kept when the last run began; one that knows nothing where nothing was."""
        run = ledger.last_run
        kept = [event for event in ledger.events_of(EVENT) if event.at >= run["started_at"]]
        if not kept or "structures" not in kept[-1].detail:
            return cls(run.get("workers") or 1)
        detail = {name: kept[-1].detail[name] for name in cls.__dataclass_fields__}
        structures = {key: StructureTime(**s) for key, s in detail["structures"].items()}
        return replace(cls(**detail), structures=structures)


def _cut(
    trained: Mapping[str, Trained],
    running: Sequence[tuple[str, float]],
    epochs_each: Mapping[str, float],
) -> float:
    """What share of their epochs trials have had in the end; running ones count in full."""
    in_full = sum(epochs_each.get(key, 0.0) for key, _ in running)
    foreseen = [(t, epochs_each[key]) for key, t in trained.items() if key in epochs_each]
    planned = in_full + sum(t.ended * epochs for t, epochs in foreseen)
    had = in_full + sum(t.epochs_of_ended for t, _ in foreseen)
    return min(1.0, had / planned) if planned else 1.0  # some may have been begun before


class _Pace:
    """Seconds of an epoch by structure: as this run measures them, or else as was expected.

    What was expected of other structures is corrected by the factor by which it was off so far.
    Where nothing was measured before, multiply-adds stand for the expectation.
    """

    def __init__(
        self, structures: Mapping[str, StructureTime], trained: Mapping[str, Trained]
    ) -> None:
        self._structures = structures
        self._trained = trained
        self._measured = {
            key: t.seconds / t.epochs for key, t in trained.items() if t.epochs and t.seconds > 0
        }
        self._is_timed = any(s.epoch_seconds is not None for s in structures.values())
        both = [
            (trained[key].seconds, trained[key].epochs * expected)
            for key in self._measured
            if (expected := self._expected(key))
        ]
        self._factor = 1.0 if self._is_timed else None
        if both:
            self._factor = sum(seconds for seconds, _ in both) / sum(e for _, e in both)
        self.mean = self._mean()

    def seconds(self, key: str) -> float:
        """Of an epoch of a structure; the mean where nothing tells it."""
        if key in self._measured:
            return self._measured[key]
        expected = self._expected(key)
        if expected is None or self._factor is None:
            return self.mean or 0.0
        return expected * self._factor

    def trial_seconds(
        self, to_come: Mapping[str, float], epochs_each: Mapping[str, float]
    ) -> float:
        """The mean over the trials to come; where they were not foreseen, over those that ended."""
        count, mean = sum(to_come.values()), self.mean or 0.0
        if count:
            each = (n * epochs_each.get(k, 0.0) * self.seconds(k) for k, n in to_come.items())
            return sum(each) / count
        if epochs_each:
            return mean * sum(epochs_each.values()) / len(epochs_each)
        ended = sum(t.ended for t in self._trained.values())
        return mean * sum(t.epochs_of_ended for t in self._trained.values()) / max(1, ended)

    def compile_seconds(self, to_come: Mapping[str, float]) -> float:
        """Of the programs that no trial has needed yet."""
        seen = [t.compile_seconds for t in self._trained.values() if t.compile_seconds]
        mean = sum(seen) / len(seen) if seen else 0.0
        return sum(
            min(1.0, trials) * (self._structures[key].compile_seconds or mean)
            for key, trials in to_come.items()
            if key not in self._trained
        )

    def _expected(self, key: str) -> float | None:
        structure = self._structures.get(key)
        if structure is None:
            return None
        return structure.epoch_seconds if self._is_timed else structure.multiply_adds

    def _mean(self) -> float | None:
        """Over the epochs that were expected, where they are known; or else were trained."""
        foreseen = [
            (
                s.epochs,
                self._measured.get(key) or (self._expected(key) or 0.0) * (self._factor or 0.0),
            )
            for key, s in self._structures.items()
        ]
        timed = [(epochs, seconds) for epochs, seconds in foreseen if epochs and seconds]
        if not timed:
            timed = [(self._trained[k].epochs, seconds) for k, seconds in self._measured.items()]
        total = sum(epochs for epochs, _ in timed)
        return sum(epochs * seconds for epochs, seconds in timed) / total if total else None
