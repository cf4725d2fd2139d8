"""What stopping rules would have done to learning curves that were recorded; nothing is trained.

The rules are those of a run. Trials begin in some order on so many workers; each takes its next
epoch when it has ended the one before, in the seconds that were recorded, and a worker that is free
takes the next trial, before all others one that was stopped and is to go on after all. What
compiling takes is not counted.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tuner.search.stopping import StoppingRule


@dataclass(frozen=True)
class RecordedCurve:
    """A trial that was trained to its end: metrics and seconds of every epoch."""

    number: int
    metrics: Sequence[Mapping[str, float]]
    seconds: Sequence[float]

    def __len__(self) -> int:
        return len(self.metrics)


def replay_orders(
    make: Callable[[], StoppingRule | None],
    curves: Sequence[RecordedCurve],
    *,
    orders: int,
    max_trials: int | None = None,
    workers: int = 1,
    seed: int = 0,
) -> list[list[int]]:
    """How many epochs each trial gets in each of so many random orders; 0: it never begins.

    Of an order only the first `max_trials` begin. `make` gives a new rule for each order.
    """
    places = list(range(len(curves)))
    alone = make()
    known = epochs_trained(alone, curves) if alone is None or alone.is_alone else None
    results = []
    for number in range(orders):
        order = random.Random(f"{seed}/replay/{number}").sample(places, len(places))[:max_trials]
        epochs = [0] * len(curves)
        if known is None:
            trained = epochs_trained(make(), [curves[place] for place in order], workers)
        else:  # no order makes a difference to what it says
            trained = [known[place] for place in order]
        for place, count in zip(order, trained, strict=True):
            epochs[place] = count
        results.append(epochs)
    return results


def epochs_trained(
    rule: StoppingRule | None, curves: Sequence[RecordedCurve], workers: int = 1
) -> list[int]:
    """How many epochs each of these trials gets if they begin in this order."""
    if rule is None:
        return [len(curve) for curve in curves]
    trained = [0] * len(curves)
    waiting = iter(range(len(curves)))
    ends: list[tuple[float, int]] = []  # of the present epoch of each running trial, by number

    def next_trial() -> int | None:
        if (number := rule.next_up()) is None:
            return next(waiting, None)
        rule.take_up(number)
        return number

    at = 0.0
    while True:
        while len(ends) < workers and (number := next_trial()) is not None:
            heapq.heappush(ends, (at + curves[number].seconds[trained[number]], number))
        if not ends:
            return trained
        at, number = heapq.heappop(ends)
        trained[number] += 1
        if _goes_on(rule, number, trained[number], curves[number]):
            heapq.heappush(ends, (at + curves[number].seconds[trained[number]], number))


def _goes_on(rule: StoppingRule, number: int, epoch: int, curve: RecordedCurve) -> bool:
    """As a run asks: the last epoch stops nothing any more."""
    rule.note(number, epoch, curve.metrics[epoch - 1])
    if epoch == len(curve):
        rule.end(number)
        return False
    if reason := rule.verdict(number, epoch):
        rule.stop(number, reason)
    return not reason
