"""When a search has seen enough: `search.enough` ends it before all trials were run.

What is said depends on the trials that have ended, in that order, so that a run which is taken up
again goes on, or not, as if it had never been interrupted.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tuner.experiment.experiment import Experiment
from tuner.experiment.objective import Objective
from tuner.experiment.schema import NoGainEnough

Settles = Callable[[Mapping[int, float], Mapping[int, float], Objective, int], str]
"""Why the scores of the first two configurations, by replicate, are enough of so many that are
planned; empty if more may decide. Whoever begins a run brings it along: a report owns the rule."""

LOOKS = (6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Replicates of every configuration after which it is asked whether the winner is settled. Not
after each: whoever looks often enough sees a difference in noise."""


@dataclass(frozen=True)
class EndedTrial:
    """A trial that has ended: of which configuration, and its score (None: it has none)."""

    configuration: str
    score: float | None
    replicate: int = 0


class EnoughRule(ABC):
    """What ends a search: it is told of every trial that has ended."""

    @abstractmethod
    def note(self, trial: EndedTrial) -> None:
        """One more trial that has ended."""

    @property
    @abstractmethod
    def reason(self) -> str:
        """Why the search ends now; empty if it goes on."""


@dataclass
class Settled(EnoughRule):
    """Ends a search when every configuration has some replicates and more would decide nothing.

    `configurations` of them are planned, each under `replicates` seeds, seed after seed.
    """

    objective: Objective
    configurations: int
    replicates: int
    settles: Settles
    _scores: defaultdict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    _num_ended: int = 0
    _reason: str = ""

    def note(self, trial: EndedTrial) -> None:
        """One more; the last of a seed may be asked about."""
        self._num_ended += 1
        if trial.score is not None and math.isfinite(trial.score):
            self._scores[trial.configuration][trial.replicate] = trial.score
        rounds, rest = divmod(self._num_ended, self.configurations or 1)
        may_end = rest == 0 and rounds in LOOKS and rounds < self.replicates
        self._reason = self._asked(rounds) if may_end else ""

    @property
    def reason(self) -> str:
        """What the comparison of the first two says."""
        return self._reason

    def _asked(self, rounds: int) -> str:
        if self.configurations < 2:
            return ""
        ranked = sorted(filter(None, self._scores.values()), key=self._mean, reverse=True)
        if len(ranked) < 2:
            return "settled: no two configurations have a score"
        said = self.settles(ranked[0], ranked[1], self.objective, self.replicates)
        return f"settled: {said}" if said else ""

    def _mean(self, scores: Mapping[int, float]) -> float:
        return self.objective.gain(math.fsum(scores.values()) / len(scores))


@dataclass
class NoGain(EnoughRule):
    """Ends a search when so many trials in a row have ended without a better one.

    Trials that failed or diverged count, too. With replicates a configuration is better by the mean
    over all of its seeds, when the last of them has ended.
    """

    options: NoGainEnough
    objective: Objective
    replicates: int
    _best: float | None = None  # a gain
    _since: int = 0
    _scores: defaultdict[str, list[float | None]] = field(default_factory=lambda: defaultdict(list))

    def note(self, trial: EndedTrial) -> None:
        """One more trial that has ended."""
        self._since += 1
        gain = self._gain(trial)
        if gain is None or not math.isfinite(gain):
            return
        if self._best is None or gain > self._best + self.options.min_delta:
            self._best, self._since = gain, 0

    @property
    def reason(self) -> str:
        """Why the search ends now; empty if it goes on."""
        if self._since < self.options.trials:
            return ""
        begun = (score for scores in self._scores.values() for score in scores)
        if self._best is None and any(score is not None for score in begun):
            return ""  # no configuration has all of its seeds yet
        count = f"{self._since} trial{'s' * (self._since != 1)}"
        if self._best is None:
            return f"no_gain: none of {count} has a score"
        delta = f" by more than {self.options.min_delta:g}" if self.options.min_delta else ""
        return f"no_gain: no better than {self.objective.shown(self._best)}{delta} for {count}"

    def _gain(self, trial: EndedTrial) -> float | None:
        """Of its configuration, once that is known."""
        if self.replicates == 1:
            return None if trial.score is None else self.objective.gain(trial.score)
        scores = self._scores[trial.configuration]
        scores.append(trial.score)
        known = [score for score in scores if score is not None]
        if len(scores) < self.replicates or not known:
            return None
        del self._scores[trial.configuration]
        return self.objective.gain(math.fsum(known) / len(known))


def make_enough(
    experiment: Experiment,
    ended: Sequence[EndedTrial],
    configurations: int | None = None,
    settles: Settles | None = None,
) -> EnoughRule | None:
    """What the experiment asks for, told of the trials that have ended; None if it asks nothing.

    `configurations` are those that are planned; `settles` is needed for `settled` alone.
    """
    asked = experiment.search
    if asked.enough is None:
        return None
    enough: EnoughRule
    if isinstance(asked.enough, NoGainEnough):
        enough = NoGain(asked.enough, experiment.objective, asked.replicates)
    else:
        assert settles is not None, "whoever begins a run brings along what settles it"
        size = configurations or 0
        enough = Settled(experiment.objective, size, asked.replicates, settles)
    for trial in ended:
        enough.note(trial)
    return enough
