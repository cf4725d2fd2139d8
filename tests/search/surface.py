"""A made-up response surface with learning curves, and runs over it that train nothing.

What it has in common with real ones: the learning rate and beta act together, depth is slow at
first and better in the end, so that curves cross; too high a rate diverges; epochs are noisy.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tuner.experiment import Experiment, parse_experiment
from tuner.experiment.trial import Configuration, canonical
from tuner.search import make_method, make_rule
from tuner.search.method import Result

CHANCE = 0.01
GRID = """
model: {family: resnet, depth: {choice: [20, 32, 44, 56]}}
training:
  epochs: EPOCHS
  learning_rate: {min: 1e-4, max: 1e-1, scale: log, count: 7}
  beta_1: {choice: [0, 0.8, 0.9, 0.95]}
  l2: {choice: [0, 1e-5, 1e-4, 1e-3]}
search: SEARCH
"""


def experiment_of(search: str, epochs: int = 81, text: str = GRID) -> Experiment:
    """An experiment over the surface, with this flow mapping as its search section."""
    return parse_experiment(text.replace("EPOCHS", str(epochs)).replace("SEARCH", search), "x.yaml")


def name_of(configuration: Configuration) -> str:
    """What tells a configuration from any other."""
    return canonical(configuration.flat())


class Surface:
    """Validation accuracy after each epoch; one seed is one draw of the noise.

    `crossing` is how much the pace of learning depends on the configuration: with 0 all are
    equally fast, and the order of the first epoch is that of the last one but for noise; with 1
    those that lead early hardly ever win.
    """

    def __init__(
        self, seed: int, epochs: int = 81, noise: float = 0.006, crossing: float = 0.25
    ) -> None:
        self._seed, self._epochs, self._noise, self._crossing = seed, epochs, noise, crossing
        self._curves: dict[str, list[float]] = {}
        self._truths: dict[str, float] = {}

    def curve(self, configuration: Configuration) -> list[float]:
        """What is observed; it ends early if the trial diverges."""
        name = name_of(configuration)
        if name not in self._curves:
            rng = random.Random(f"{self._seed}/{name}")
            trend = _trend(configuration, self._epochs, self._crossing)
            self._curves[name] = [max(CHANCE, value + rng.gauss(0, self._noise)) for value in trend]
        return self._curves[name]

    def truth(self, configuration: Configuration) -> float:
        """What is reached at the last epoch, without noise; nothing if it diverges."""
        name = name_of(configuration)
        if name not in self._truths:
            trend = _trend(configuration, self._epochs, self._crossing)
            self._truths[name] = trend[-1] if len(trend) == self._epochs else 0.0
        return self._truths[name]

    def seconds(self, configuration: Configuration, epoch: int) -> float:
        """How long an epoch takes: more for deep networks, and never twice the same."""
        rng = random.Random(f"{self._seed}/{epoch}/{name_of(configuration)}")
        return float(configuration.model["depth"]) * rng.uniform(0.8, 1.2)


def _trend(configuration: Configuration, epochs: int, crossing: float) -> list[float]:
    """final - (final - chance) * exp(-(epoch / tau)^0.7), with a tau for each configuration."""
    training, deep = configuration.training, (configuration.model["depth"] - 20) / 36
    rate = math.log10(training["learning_rate"] / (1 - training["beta_1"])) + 1.5 + 0.2 * deep
    if rate > 1.2:
        return [CHANCE] * 2
    penalty = math.log10(training["l2"] + 1e-6) + 4
    final = 0.70 + 0.06 * (1 - math.exp(-2 * deep)) - 0.03 * rate**2 - 0.008 * penalty**2
    slowness = math.log(1 + deep) - 0.5 * rate + 100 * training["l2"]
    tau = 5 * math.exp(crossing * slowness)
    return [
        final - (final - CHANCE) * math.exp(-((epoch / tau) ** 0.7))
        for epoch in range(1, epochs + 1)
    ]


@dataclass
class Row:
    """A trial in the ledger that a simulation keeps."""

    number: int
    configuration: Configuration
    until: int = 0
    curve: list[float] = field(default_factory=list)
    state: str = "running"
    reason: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state not in ("running", "waiting")


class Simulation:
    """A run: asks, trains epoch by epoch on workers of its own time, judges and tells.

    `rows` is its ledger; with those of an earlier run it goes on where that one was.
    """

    def __init__(
        self,
        experiment: Experiment,
        surface: Surface,
        workers: int = 1,
        rows: Sequence[Row] = (),
    ) -> None:
        self.method, self.rule = make_method(experiment), make_rule(experiment)
        self.asked: list[tuple[int, int | None]] = []
        self.trained_epochs = 0
        self.rows = {name_of(row.configuration): row for row in rows}
        self._surface = surface
        self._objective = experiment.objective
        self._metric = experiment.objective.metric
        self._last = experiment.space.branches[0].training["epochs"]
        self._observed: dict[int, list[float]] = {}
        self._free = list(range(workers))
        self._running: list[tuple[float, int, Row]] = []
        self._take_up()

    def run(self, epochs: int | None = None, *, crash_before_verdict: bool = False) -> Simulation:
        """Until the end, or an interruption after so many epochs."""
        now = 0.0
        while self._start(now):
            now, worker, row = heapq.heappop(self._running)
            goes_on = self._train(row)
            self.trained_epochs += 1
            is_cut = epochs == self.trained_epochs
            if is_cut and crash_before_verdict:
                return self
            if goes_on and not self._settle(row):
                self._push(now, worker, row)
            else:
                self._free.append(worker)
            if is_cut:
                return self
        return self

    def score(self, row: Row) -> float | None:
        """The best value of a trial that did not diverge."""
        if row.state == "diverged" or not row.curve:
            return None
        return max(row.curve, key=self._objective.gain)

    def best(self) -> Configuration:
        """The configuration that a person would take: the first of the best scores."""
        scored = [(row, self.score(row)) for row in self.rows.values()]
        best = max((self._objective.gain(s), -row.number) for row, s in scored if s is not None)
        return next(r.configuration for r in self.rows.values() if r.number == -best[1])

    def outcome(self) -> dict[str, tuple[str, str, int]]:
        """What became of every configuration."""
        return {n: (r.state, r.reason, len(r.curve)) for n, r in self.rows.items()}

    def _take_up(self) -> None:
        self.method.restore([self._result(row) for row in self.rows.values()])
        self._drop()
        for row in self.rows.values() if self.rule else ():
            for epoch, value in enumerate(row.curve, 1):
                self.rule.note(row.number, epoch, {self._metric: value})
        for row in self.rows.values() if self.rule else ():
            if row.has_ended:
                self._leave(row)

    def _start(self, now: float) -> bool:
        while self._free and (row := self._next()) is not None:
            self._push(now, self._free.pop(0), row)
        return bool(self._running)

    def _push(self, now: float, worker: int, row: Row) -> None:
        # With one worker the time does not matter, and a draw costs more than all else.
        one = not self._free and not self._running
        seconds = 1.0 if one else self._surface.seconds(row.configuration, len(row.curve) + 1)
        heapq.heappush(self._running, (now + seconds, worker, row))

    def _next(self) -> Row | None:
        if self.rule and (number := self.rule.next_up()) is not None:
            self.rule.take_up(number)
            row = next(row for row in self.rows.values() if row.number == number)
            row.state, row.reason = "running", ""
            assert not self._settle(row)
            return row
        while (proposal := self.method.ask()) is not None:
            name = name_of(proposal.configuration)
            row = self.rows.setdefault(name, Row(len(self.rows), proposal.configuration))
            if row.has_ended:
                continue  # a plan starts again after an interruption
            self.asked.append((row.number, proposal.until))
            row.state, row.until = "running", proposal.until or self._last
            if not self._settle(row):
                return row
        return None

    def _train(self, row: Row) -> bool:
        """One epoch; False if it diverges."""
        if row.number not in self._observed:
            self._observed[row.number] = self._surface.curve(row.configuration)
        curve = self._observed[row.number]
        if len(row.curve) == len(curve):
            self._end(row, "diverged")
            return False
        row.curve.append(curve[len(row.curve)])
        if self.rule:
            self.rule.note(row.number, len(row.curve), {self._metric: row.curve[-1]})
        return True

    def _settle(self, row: Row) -> bool:
        """Whether its worker is free: it is through, stopped, or waits."""
        epoch = len(row.curve)
        if epoch >= self._last:
            self._end(row, "completed")
        elif epoch and self.rule and (reason := self.rule.verdict(row.number, epoch)):
            self._end(row, "stopped", reason)
        elif epoch >= row.until:
            row.state = "waiting"
            self._tell(row)
        else:
            return False
        return True

    def _end(self, row: Row, state: str, reason: str = "") -> None:
        row.state, row.reason = state, reason
        if self.rule:
            self._leave(row)
        self._tell(row)

    def _leave(self, row: Row) -> None:
        if row.state == "stopped":
            self.rule.stop(row.number, row.reason)
        else:
            self.rule.end(row.number)

    def _tell(self, row: Row) -> None:
        self.method.tell(self._result(row))
        self._drop()

    def _drop(self) -> None:
        for configuration, reason in self.method.dropped():
            row = self.rows[name_of(configuration)]
            assert row.state in ("waiting", "running"), row
            row.state, row.reason = "dropped", reason

    def _result(self, row: Row) -> Result:
        return Result(row.configuration, self.score(row), tuple(row.curve), row.has_ended)
