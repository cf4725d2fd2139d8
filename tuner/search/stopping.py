"""Stopping rules, by name: after each epoch one says whether a trial goes on.

What is said of a trial depends on the noted values alone, so that a run that was interrupted goes
on to say what it would have said. An epoch that is noted again changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.experiment.experiment import Experiment
from tuner.experiment.objective import Objective, shown, standing
from tuner.experiment.schema import (
    AshaStop,
    DivergenceStop,
    MedianStop,
    PatienceStop,
    Stop,
    ThresholdStop,
)


class StoppingRule(ABC):
    """Ends trials early on what their epochs show, whatever the search method is.

    Trials are known by their numbers in the ledger. Epochs count from 1 and metrics are finite.
    `is_alone` says that what is said of a trial depends on that trial alone.
    """

    is_alone: bool = False

    @abstractmethod
    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch of a trial; also replayed from the ledger, in any order of the trials."""

    @abstractmethod
    def verdict(self, trial: int, epoch: int) -> str:
        """Why the trial stops after this epoch, which was noted last; empty if it goes on."""

    def end(self, trial: int) -> None:
        """Nothing more comes of the trial; what only it needed can be forgotten."""
        del trial


class SortedValues:
    """Numbers in order, eight bytes each.

    They lie in blocks, so that one more moves some thousands of others, not a million.
    """

    def __init__(self, block_size: int = 2_000) -> None:
        self._block_size = block_size
        self._blocks = [array("d")]
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> float:
        for block in self._blocks:
            if index < len(block):
                return block[index]
            index -= len(block)
        raise IndexError(index)

    def add(self, value: float) -> None:
        """One more, behind those that are equal."""
        place = bisect_right(self._blocks, value, lo=1, key=_first) - 1
        block = self._blocks[place]
        insort(block, value)
        self._length += 1
        if len(block) > self._block_size:
            half = len(block) // 2
            self._blocks[place : place + 1] = [block[:half], block[half:]]

    def num_below(self, value: float) -> int:
        """How many are less than this."""
        place = bisect_left(self._blocks, value, lo=1, key=_first) - 1
        before = sum(map(len, self._blocks[:place]))
        return before + bisect_left(self._blocks[place], value)


def _first(block: array[float]) -> float:
    return block[0]


@dataclass(slots=True)
class _Standing:
    """A running trial so far, in gains."""

    best: float
    best_epoch: int
    epoch: int = 0
    total: float = 0.0


class Asha(StoppingRule):
    """Asynchronous successive halving, the variant that stops and never pauses.

    At epoch `min_epochs * reduction^k` a trial goes on if its best value so far is among the best
    max(1, n // reduction) of the n that were noted there, its own included. Nobody waits: the
    first to come goes on, and a trial that goes on is not recalled. Source: Li et al. 2020 (A
    System for Massively Parallel Hyperparameter Tuning), section 3.
    """

    def __init__(self, options: AshaStop, objective: Objective) -> None:
        self._options = options
        self._objective = objective
        self._running: dict[int, _Standing] = {}
        self._rungs: defaultdict[int, SortedValues] = defaultdict(SortedValues)

    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch; at a rung the best so far is kept for good."""
        gain = self._objective.gain_of(metrics)
        if (own := self._running.get(trial)) is None:
            own = self._running[trial] = _Standing(gain, epoch)
        if epoch <= own.epoch:
            return
        own.epoch, own.best = epoch, max(own.best, gain)
        if self._is_rung(epoch):
            self._rungs[epoch].add(own.best)

    def verdict(self, trial: int, epoch: int) -> str:
        """At a rung, the trial's rank if it is not among the best there."""
        if not self._is_rung(epoch):
            return ""
        own, rung = self._running[trial].best, self._rungs[epoch]
        # Optuna lets whoever equals the last of the best pass; here a tie goes to those before,
        # so that trials that learn nothing at all do not carry each other on.
        rank = len(rung) - rung.num_below(own)
        kept = max(1, len(rung) // self._options.reduction)
        if rank <= kept:
            return ""
        place = standing(rank, f"{len(rung)}", kept)
        return f"asha: {self._objective.shown(own)} by epoch {epoch} is {place}"

    def end(self, trial: int) -> None:
        """Forgets the trial but for its values at the rungs."""
        self._running.pop(trial, None)

    def _is_rung(self, epoch: int) -> bool:
        power, rest = divmod(epoch, self._options.min_epochs)
        while not rest and power > 1:
            power, rest = divmod(power, self._options.reduction)
        return not rest and power == 1


class Median(StoppingRule):
    """Stops a trial whose best value is worse than the median of the others' running averages.

    Compared at every epoch with all other trials that got as far, ended or not; a running average
    is the mean of a trial's values up to the epoch. Source: Golovin et al. 2017 (Google Vizier),
    section 3.2.1, which compares with completed trials only.
    """

    def __init__(self, options: MedianStop, objective: Objective) -> None:
        self._options = options
        self._objective = objective
        self._running: dict[int, _Standing] = {}
        self._averages: defaultdict[int, SortedValues] = defaultdict(SortedValues)

    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch; the running average is kept for good."""
        gain = self._objective.gain_of(metrics)
        if (own := self._running.get(trial)) is None:
            own = self._running[trial] = _Standing(gain, epoch)
        if epoch <= own.epoch:
            return
        own.epoch, own.best = epoch, max(own.best, gain)
        own.total += gain
        if epoch >= self._options.min_epochs:
            self._averages[epoch].add(own.total / epoch)

    def verdict(self, trial: int, epoch: int) -> str:
        """The median, if the trial is worse."""
        averages = self._averages.get(epoch, SortedValues())
        others = len(averages) - 1
        if others < self._options.min_trials:
            return ""
        own = self._running[trial]
        median = _median_without(averages, own.total / epoch)
        if own.best >= median:
            return ""
        best, middle = self._objective.shown(own.best), self._objective.shown(median)
        return f"median: {best} by epoch {epoch} is worse than {middle}, the median of {others}"

    def end(self, trial: int) -> None:
        """Forgets the trial but for its running averages."""
        self._running.pop(trial, None)


class Patience(StoppingRule):
    """Stops a trial that has not improved by more than `min_delta` for some epochs.

    As `keras.callbacks.EarlyStopping` counts.
    """

    is_alone = True

    def __init__(self, options: PatienceStop, objective: Objective) -> None:
        self._options = options
        self._objective = objective
        self._running: dict[int, _Standing] = {}

    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch, kept if it is an improvement."""
        gain = self._objective.gain_of(metrics)
        if (own := self._running.get(trial)) is None:
            own = self._running[trial] = _Standing(gain, epoch)
        if gain - self._options.min_delta > own.best:
            own.best, own.best_epoch = gain, epoch

    def verdict(self, trial: int, epoch: int) -> str:
        """What was not improved upon, and for how long."""
        own, patience = self._running[trial], self._options.epochs
        if epoch - own.best_epoch < patience:
            return ""
        best = f"{self._objective.shown(own.best)} (epoch {own.best_epoch})"
        if self._options.min_delta:
            best = f"{best} by {shown(self._options.min_delta)}"
        unit = "epoch" if patience == 1 else "epochs"
        return f"patience: no better than {best} for {patience} {unit}"

    def end(self, trial: int) -> None:
        """Forgets the trial."""
        self._running.pop(trial, None)


class Threshold(StoppingRule):
    """Stops a trial that has not reached a value of the objective after some epochs."""

    is_alone = True

    def __init__(self, options: ThresholdStop, objective: Objective) -> None:
        self._options = options
        self._objective = objective
        self._best: dict[int, float] = {}

    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch, kept if it is the best."""
        gain = self._objective.gain_of(metrics)
        self._best[trial] = max(self._best.get(trial, gain), gain)

    def verdict(self, trial: int, epoch: int) -> str:
        """What was reached and what was asked for, once the time is up."""
        best, value = self._best[trial], self._options.value
        if epoch < self._options.epochs or best >= self._objective.gain(value):
            return ""
        return (
            f"threshold: {self._objective.shown(best)} by epoch {epoch} has not reached {value:g}"
        )

    def end(self, trial: int) -> None:
        """Forgets the trial."""
        self._best.pop(trial, None)


class Divergence(StoppingRule):
    """Stops a trial whose training loss is far above its first epoch's, before it is infinite."""

    is_alone = True

    def __init__(self, options: DivergenceStop) -> None:
        self._options = options
        self._losses: dict[int, tuple[float, float]] = {}

    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """The loss of an epoch, as the last; the first stays."""
        loss = metrics["loss"]
        first, _ = self._losses.get(trial, (loss, loss))
        self._losses[trial] = first, loss

    def verdict(self, trial: int, epoch: int) -> str:
        """How far above; a loss of a person's own that began below zero has no such measure."""
        first, last = self._losses[trial]
        if first <= 0 or last <= self._options.factor * first:
            return ""
        times = f"{shown(last / first)} times that of its first epoch"
        return f"divergence: the loss {shown(last)} at epoch {epoch} is {times}"

    def end(self, trial: int) -> None:
        """Forgets the trial."""
        self._losses.pop(trial, None)


RULES: dict[str, Callable[[Any, Objective], StoppingRule]] = {
    "asha": Asha,
    "median": Median,
    "patience": Patience,
    "threshold": Threshold,
    "divergence": lambda options, _: Divergence(options),
}
"""From a rule's name to what makes it of its options and the objective."""


class AnyOf(StoppingRule):
    """Several rules, each of which is told everything; the first that says so ends a trial."""

    def __init__(self, rules: Sequence[StoppingRule]) -> None:
        self._rules = rules
        self.is_alone = all(rule.is_alone for rule in rules)

    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch, to every rule."""
        for rule in self._rules:
            rule.note(trial, epoch, metrics)

    def verdict(self, trial: int, epoch: int) -> str:
        """What the first rule says that ends the trial, in the order in which they are written."""
        return next(filter(None, (rule.verdict(trial, epoch) for rule in self._rules)), "")

    def end(self, trial: int) -> None:
        """Every rule forgets the trial."""
        for rule in self._rules:
            rule.end(trial)


def make_rule(experiment: Experiment) -> StoppingRule | None:
    """The stopping rule that the experiment names, or all that it lists as one; or None."""
    return rule_of(experiment.search.stops, experiment.objective)


def rule_of(stops: Iterable[Stop], objective: Objective) -> StoppingRule | None:
    """The rule with these options, or all of several as one; or None."""
    rules = [RULES[stop.rule](stop, objective) for stop in stops]
    return AnyOf(rules) if len(rules) > 1 else next(iter(rules), None)


def _median_without(ordered: SortedValues, own: float) -> float:
    """The median of sorted values less one of them."""
    place, others = ordered.num_below(own), len(ordered) - 1
    low, high = (others - 1) // 2, others // 2
    return (ordered[low + (low >= place)] + ordered[high + (high >= place)]) / 2
