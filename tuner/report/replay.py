"""`tuner replay`: what stopping rules would have done to the curves of an experiment, in numbers.

The rules themselves are those of a run (`tuner.search.stopping`); this says what they are worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from tuner.errors import InputError, Problem
from tuner.experiment.objective import Objective
from tuner.experiment.schema import Stop
from tuner.experiment.trial import TrialState
from tuner.ledger.records import EpochRow, TrialRow
from tuner.report import format
from tuner.report.statistics import Array, wilson_interval
from tuner.report.table import Column, Table
from tuner.search.replay import RecordedCurve, replay_orders
from tuner.search.stopping import rule_of

ORDERS = 200
MIN_CURVES = 10
"""Fewer trials than that say little of a rule that compares trials with each other."""

TOP = 5
_RANGE = (0.025, 0.975)


@dataclass(frozen=True)
class ReplayedRule:
    """A rule that is replayed: rules that are asked together, and how many trials begin."""

    stops: tuple[Stop, ...] = ()
    max_trials: int | None = None

    def text(self, curves: int) -> str:
        """`asha min_epochs=4, first 20 trials`, of so many curves."""
        rules = " or ".join(map(_stop_text, self.stops)) or "no rule"
        if self.max_trials is None:
            return rules
        if self.max_trials >= curves:
            return f"{rules}, all {format.counted(curves, 'trial')}"
        return f"{rules}, first {format.counted(self.max_trials, 'trial')}"


@dataclass(frozen=True)
class OverOrders:
    """A mean over random orders of the trials, and between which ends 95 % of the orders lie.

    Of a share of the orders themselves the ends are those of Wilson's 95 % interval.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Replay:
    """What a rule would have done.

    `epochs_saved` and `seconds_saved` are what is not trained of what was; the first as a share.
    `winner_kept` is the share of orders in which the best trial comes to its end, `top_kept` how
    many of the best five do. `regret` is how much better the best trial's score is than that of
    the best trial as far as the rule lets all of them get.
    """

    rule: str
    max_trials: int | None
    epochs_saved: OverOrders
    seconds_saved: OverOrders
    winner_kept: OverOrders
    top_kept: OverOrders
    regret: OverOrders


@dataclass(frozen=True)
class Replays:
    """Rules over the same curves; `left_out` says which trials have none, by their states."""

    name: str
    objective: Objective
    curves: int
    epochs: int
    seconds: float
    orders: int
    workers: int
    replays: tuple[Replay, ...]
    left_out: tuple[tuple[str, int], ...] = ()

    @property
    def about(self) -> str:
        """What the numbers are."""
        how = "one after the other" if self.workers == 1 else f"{self.workers} at a time"
        return (
            f"{format.counted(self.curves, 'recorded curve')} of {self.epochs:,} epochs and "
            f"{format.seconds_text(self.seconds)} together, {how}, in {self.orders} random orders"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "left_out": dict(self.left_out)}


def whole_curves(
    rows: Iterable[TrialRow], epochs: dict[int, Sequence[EpochRow]], objective: Objective
) -> tuple[list[RecordedCurve], dict[str, int]]:
    """The curves of trials that were trained to their end, and how many others in which state."""
    curves, left_out = [], dict[str, int]()
    for row in rows:
        if (curve := _whole(row, epochs.get(row.number, ()), objective)) is not None:
            curves.append(curve)
        else:
            ended = "with a part of their curve" if row.state is TrialState.COMPLETED else ""
            state = ended or format.state_word(row.state)
            left_out[state] = left_out.get(state, 0) + 1
    return curves, left_out


def _whole(row: TrialRow, epochs: Sequence[EpochRow], objective: Objective) -> RecordedCurve | None:
    planned = row.configuration.get("training.epochs")
    has_all = [e.epoch for e in epochs] == list(range(1, len(epochs) + 1)) and len(epochs) > 0
    if row.state is not TrialState.COMPLETED or not has_all or planned != len(epochs):
        return None
    metrics = [epoch.metrics for epoch in epochs]
    if not all(math.isfinite(one.get(objective.metric, math.nan)) for one in metrics):
        return None
    return RecordedCurve(row.number, metrics, [epoch.seconds for epoch in epochs])


def replays_of(
    name: str,
    curves: Sequence[RecordedCurve],
    rules: Sequence[ReplayedRule],
    objective: Objective,
    *,
    left_out: dict[str, int] | None = None,
    workers: int = 1,
    orders: int = ORDERS,
    seed: int = 0,
) -> Replays:
    """Every rule over the curves.

    Raises:
        InputError: too few curves are whole.
    """
    others = left_out or {}
    if len(curves) < MIN_CURVES:
        of = len(curves) + sum(others.values())
        raise InputError(
            Problem(
                "too few trials were trained to their end to replay a rule",
                format.printable(name),
                received=f"{len(curves)} of {format.counted(of, 'trial')}",
                expected=f"at least {MIN_CURVES}",
                mend="run it with search.stop: null, which trains what a rule had stopped no more "
                "than any other",
            )
        )
    scores = _CurveScores(curves, objective)
    replays = []
    for rule in rules:
        trained = replay_orders(
            lambda rule=rule: rule_of(rule.stops, objective),  # type: ignore[misc]
            curves,
            orders=orders,
            max_trials=rule.max_trials,
            workers=workers,
            seed=seed,
        )
        replays.append(scores.replay(rule, np.array(trained)))
    total = sum(map(len, curves)), math.fsum(math.fsum(c.seconds) for c in curves)
    others_sorted = tuple(sorted(others.items()))
    return Replays(
        name, objective, len(curves), *total, orders, workers, tuple(replays), others_sorted
    )


class _CurveScores:
    """The curves as arrays: a row for each trial, a column for each epoch, 0 for none of it."""

    def __init__(self, curves: Sequence[RecordedCurve], objective: Objective) -> None:
        longest = max(map(len, curves))
        self._gains = np.full((len(curves), longest + 1), -math.inf)
        self._seconds = np.zeros((len(curves), longest + 1))
        self._epochs = np.array([len(curve) for curve in curves])
        for place, curve in enumerate(curves):
            best = list(accumulate((objective.gain_of(one) for one in curve.metrics), max))
            self._gains[place, 1 : len(best) + 1] = best
            self._seconds[place, 1 : len(best) + 1] = list(accumulate(curve.seconds))
        finals = self._gains[np.arange(len(curves)), self._epochs]
        self._order = np.argsort(-finals, kind="stable")  # ties to the earlier trial
        self._best = float(np.max(finals))

    def replay(self, rule: ReplayedRule, trained: Any) -> Replay:
        """The figures of a rule; `trained` has a row of epochs for each order."""
        places = np.arange(len(self._epochs))
        total = float(np.sum(self._epochs))
        seconds = self._seconds[places, self._epochs].sum()
        survived = trained == self._epochs
        winner = float(np.mean(survived[:, self._order[0]]))
        held = self._gains[places, trained].max(axis=1)
        return Replay(
            rule.text(len(self._epochs)),
            rule.max_trials,
            _over(1 - trained.sum(axis=1) / total),
            _over(seconds - self._seconds[places, trained].sum(axis=1)),
            OverOrders(winner, *wilson_interval(winner, len(trained))),
            _over(survived[:, self._order[:TOP]].sum(axis=1)),
            _over(self._best - held),
        )


def _over(values: Array) -> OverOrders:
    low, high = np.quantile(values, _RANGE)
    return OverOrders(float(np.mean(values)), float(low), float(high))


def _stop_text(stop: Stop) -> str:
    set_ = {n: getattr(stop, n) for n in type(stop).model_fields if n in stop.model_fields_set}
    options = [f"{n}={format.value_text(v)}" for n, v in set_.items() if n != "rule"]
    return " ".join((stop.rule, *options))


# ---------------------------------------------------------------------- to be shown


def replay_table(replays: Replays) -> Table:
    """A row for each rule."""
    columns = (
        Column("rule", "rule", format.printable, numeric=False, shrinks=True),
        Column("epochs_saved", "epochs saved"),
        Column("seconds_saved", "time saved", rank=2),
        Column("winner_kept", "winner kept"),
        Column("top_kept", f"best {TOP} kept", rank=1),
        Column("regret", "regret"),
    )
    rows = tuple(map(_cells, replays.replays))
    metric = format.printable(replays.objective.metric)
    notes = (
        "In brackets: 95 % of the orders; of the winner, the interval of the share.",
        f"Kept is what comes to its last epoch. Regret: how far the best {metric} that is reached "
        "lies behind the best that there was.",
    )
    left_out = ", ".join(f"{count:,} {state}" for state, count in replays.left_out)
    title = f"{format.printable(replays.name)}: rules replayed"
    about = replays.about
    return Table(title, columns, rows, notes, about, left_out=left_out, has_all="-f csv")


def plain_table(replays: Replays) -> Table:
    """The same as plain numbers, for CSV."""
    names = ("epochs_saved", "seconds_saved", "winner_kept", "top_kept", "regret")
    ends = ("", "_low", "_high")
    heads = ("rule", "max_trials", *(f"{name}{end}" for name in names for end in ends))
    columns = tuple(Column(head, head, numeric=head != "rule") for head in heads)
    rows = []
    for replay in replays.replays:
        cells = [getattr(replay, name) for name in names]
        numbers = [number for cell in cells for number in (cell.mean, cell.low, cell.high)]
        rows.append((replay.rule, replay.max_trials, *numbers))
    return Table(replays.name, columns, tuple(rows))


def _cells(replay: Replay) -> tuple[str, ...]:
    seconds = format.seconds_text(replay.seconds_saved.mean)
    top, regret = replay.top_kept, replay.regret
    return (
        replay.rule,
        _share_text(replay.epochs_saved),
        seconds,
        _share_text(replay.winner_kept),
        f"{top.mean:.1f} [{top.low:.0f}, {top.high:.0f}]",
        f"{format.score_text(regret.mean)} [{regret.low:.3g}, {regret.high:.3g}]",
    )


def _share_text(share: OverOrders) -> str:
    return f"{share.mean:.0%} [{100 * share.low:.0f}, {100 * share.high:.0f}]"
