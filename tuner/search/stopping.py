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
from dataclasses import dataclass, field
from typing import Any

from tuner.experiment.experiment import Experiment
from tuner.experiment.objective import Objective, shown
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
    `is_alone` says that what is said of a trial depends on that trial alone; `has_rungs`, that a
    trial stops at `rungs` only, where it waits for the verdict.
    """

    is_alone: bool = False
    has_rungs: bool = False

    @abstractmethod
    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch of a trial; also replayed from the ledger, in any order of the trials."""

    @abstractmethod
    def verdict(self, trial: int, epoch: int) -> str:
        """Why the trial stops after this epoch, which was noted last; empty if it goes on."""

    def end(self, trial: int) -> None:
        """Nothing more comes of the trial; what only it needed can be forgotten."""
        del trial

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Before the last of so many epochs, those after which no other may begin unasked."""
        del epochs
        return ()

    def stop(self, trial: int, reason: str) -> bool:
        """The trial was stopped for this reason; whether it may be taken up again."""
        del reason
        self.end(trial)
        return False

    def next_up(self) -> int | None:
        """A stopped trial that is to go on after all, if there is one."""
        return None

    def take_up(self, trial: int) -> None:
        """The trial that was `next_up` goes on from where it stopped."""
        raise AssertionError(f"trial {trial} ended for good")


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


@dataclass(slots=True)
class _AshaRung:
    """The best values so far, as gains, of all trials that came here.

    `waiting` are those that were stopped: gain and number, this negative, so that the best comes
    last, and of equals the earliest.
    """

    values: SortedValues = field(default_factory=SortedValues)
    waiting: list[tuple[float, int]] = field(default_factory=list)

    def rank(self, trial: int, gain: float) -> int:
        """Of equal trials those come first that went on, then the earlier ones.

        So trials that learn nothing at all do not carry each other on.
        """
        later = bisect_left(self.waiting, (gain, -trial)) - bisect_left(self.waiting, (gain,))
        return len(self.values) - self.values.num_below(gain) - later

    def num_kept(self, reduction: int) -> int:
        """How many of those that came go on."""
        return max(1, len(self.values) // reduction)


class Asha(StoppingRule):
    """Asynchronous successive halving.

    At epoch `min_epochs * reduction^k` a trial goes on if its best value so far is among the best
    max(1, n // reduction) of the n that were noted there, its own included. Nobody waits for
    others: who is not among them stops, and is taken up again when it is, as more come that are
    worse; from the highest rung first, and before anything new begins. Source: Li et al. 2020 (A
    System for Massively Parallel Hyperparameter Tuning), algorithm 2, in which the first trials of
    a rung wait until there are `reduction`. Here the best one goes on at once: that found better
    trials, and one is trained to its end however few there are.
    """

    has_rungs = True

    def __init__(self, options: AshaStop, objective: Objective) -> None:
        self._options = options
        self._objective = objective
        self._running: dict[int, _Standing] = {}  # and those that may be taken up again
        self._rungs: defaultdict[int, _AshaRung] = defaultdict(_AshaRung)

    def note(self, trial: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch; at a rung the best so far is kept for good."""
        gain = self._objective.gain_of(metrics)
        if (own := self._running.get(trial)) is None:
            own = self._running[trial] = _Standing(gain, epoch)
        if epoch <= own.epoch:
            return
        own.epoch, own.best = epoch, max(own.best, gain)
        if self._is_rung(epoch):
            self._rungs[epoch].values.add(own.best)

    def verdict(self, trial: int, epoch: int) -> str:
        """At a rung, that the trial is not among the best there."""
        if not self._is_rung(epoch):
            return ""
        own, rung = self._running[trial].best, self._rungs[epoch]
        if rung.rank(trial, own) <= rung.num_kept(self._options.reduction):
            return ""
        part = _PARTS.get(self._options.reduction, f"1 in {self._options.reduction}")
        value = self._objective.shown(own)
        return f"{self._prefix}{value} by epoch {epoch} is not among the best {part}"

    def end(self, trial: int) -> None:
        """Forgets the trial but for its values at the rungs."""
        self._running.pop(trial, None)

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """`min_epochs`, and each time `reduction` times as many."""
        found, rung = [], self._options.min_epochs
        while rung < epochs:
            found.append(rung)
            rung *= self._options.reduction
        return tuple(found)

    def stop(self, trial: int, reason: str) -> bool:
        """Whom this rule has stopped waits at its rung; others have ended."""
        own = self._running.get(trial)
        if own is None or not reason.startswith(self._prefix) or not self._is_rung(own.epoch):
            return super().stop(trial, reason)
        insort(self._rungs[own.epoch].waiting, (own.best, -trial))
        return True

    def next_up(self) -> int | None:
        """The best that waits at the highest rung where it is among the best."""
        for epoch in sorted(self._rungs, reverse=True):
            rung = self._rungs[epoch]
            if not rung.waiting:
                continue
            gain, number = rung.waiting[-1]
            if rung.rank(-number, gain) <= rung.num_kept(self._options.reduction):
                return -number
        return None

    def take_up(self, trial: int) -> None:
        """It is among the best, and waits no more."""
        own = self._running[trial]
        self._rungs[own.epoch].waiting.remove((own.best, -trial))

    @property
    def _prefix(self) -> str:
        """How the reasons of this rule begin."""
        return f"{self._options.rule}: "

    def _is_rung(self, epoch: int) -> bool:
        power, rest = divmod(epoch, self._options.min_epochs)
        while not rest and power > 1:
            power, rest = divmod(power, self._options.reduction)
        return not rest and power == 1


_PARTS = {2: "half", 3: "third", 4: "quarter"}


def least_epochs(asha: AshaStop, trials: int, epochs: int) -> int:
    """Of so many trials together, up to so many epochs each: if the best of them begin first."""
    total, before, rung = 0, 0, asha.min_epochs
    while before < epochs:
        rung = min(rung, epochs)
        total += trials * (rung - before)
        trials = max(1, trials // asha.reduction)
        before, rung = rung, rung * asha.reduction
    return total


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
        self.has_rungs = all(rule.has_rungs for rule in rules)

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

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Those of all rules."""
        return tuple(sorted({rung for rule in self._rules for rung in rule.rungs(epochs)}))

    def stop(self, trial: int, reason: str) -> bool:
        """Where one rule may take it up again, the others do not forget it."""
        if any(rule.stop(trial, reason) for rule in self._rules if rule.has_rungs):
            return True
        return super().stop(trial, reason)

    def next_up(self) -> int | None:
        """Of the rule that takes trials up: there is one at most."""
        found = (rule.next_up() for rule in self._rules if rule.has_rungs)
        return next((trial for trial in found if trial is not None), None)

    def take_up(self, trial: int) -> None:
        """The others have not forgotten it."""
        for rule in self._rules:
            if rule.has_rungs:
                rule.take_up(trial)


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
