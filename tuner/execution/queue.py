"""From what the search proposes to what is still to run, in a good order."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping

from tuner.experiment.experiment import Experiment
from tuner.experiment.trial import Configuration, Trial
from tuner.ledger.records import FINISHED_STATES, KnownTrial
from tuner.search.method import SearchMethod

# How far the queue looks for a trial whose structure a worker has compiled already.
LOOK_AHEAD = 64


class TrialQueue:
    """Trials that the ledger has no outcome of, each given out once.

    A trial that was interrupted keeps its number; `known` is the ledger's view when the run began.
    """

    def __init__(
        self,
        experiment: Experiment,
        method: SearchMethod,
        known: Mapping[str, KnownTrial],
        data_fingerprint: str,
    ) -> None:
        self._experiment = experiment
        self._method = method
        self._known = known
        self._fingerprint = data_fingerprint
        self._ahead: deque[Trial] = deque()
        self._replicates: Iterator[Trial] = iter(())
        self._given: set[str] = set()

    def number(self, trial: Trial) -> int | None:
        """The number that an interrupted trial has in the ledger; None for a new one."""
        known = self._known.get(trial.key)
        return known.number if known else None

    def next(self, held: Collection[str] = ()) -> Trial | None:
        """The next trial, one of a structure in `held` if there is one near; None: none now."""
        self._look_ahead()
        for trial in self._ahead:
            if trial.structure.key in held:
                self._ahead.remove(trial)
                return trial
        return self._ahead.popleft() if self._ahead else None

    def is_empty(self) -> bool:
        """Whether nothing can be given out now."""
        self._look_ahead()
        return not self._ahead

    def put_back(self, trial: Trial) -> None:
        """A trial whose worker died comes next again."""
        self._ahead.appendleft(trial)

    def tell(self, trial: Trial, score: float | None, epochs: int) -> None:
        """What became of a trial, for methods that learn from it."""
        self._method.tell(trial.configuration, score, epochs)

    def _look_ahead(self) -> None:
        while len(self._ahead) < LOOK_AHEAD and (trial := self._propose()) is not None:
            if self._is_new(trial):
                self._given.add(trial.key)
                self._ahead.append(trial)

    def _is_new(self, trial: Trial) -> bool:
        known = self._known.get(trial.key)
        return trial.key not in self._given and (
            known is None or known.state not in FINISHED_STATES
        )

    def _propose(self) -> Trial | None:
        trial = next(self._replicates, None)
        if trial is not None:
            return trial
        configuration = self._method.ask()
        if configuration is None:
            return None
        self._replicates = self._seeds_of(configuration)
        return next(self._replicates)

    def _seeds_of(self, configuration: Configuration) -> Iterator[Trial]:
        for replicate in range(self._experiment.search.replicates):
            yield self._experiment.trial(configuration, replicate, self._fingerprint)
