"""What stopping rules would have done to learning curves that were recorded; nothing is trained.

The rules are those of a run. Trials begin in some order on so many workers; each takes its next
epoch when it has ended the one before, in the seconds that were recorded, and a worker that is free
takes the next trial. What compiling takes is not counted.
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
    if workers == 1:
        return [_trained_alone(rule, number, curve) for number, curve in enumerate(curves)]
    trained = [0] * len(curves)
    waiting = iter(range(len(curves)))
    ends: list[tuple[float, int]] = []  # of the present epoch of each running trial, by number

    def begin(at: float) -> None:
        if (number := next(waiting, None)) is not None:
            heapq.heappush(ends, (at + curves[number].seconds[0], number))

    for _ in range(workers):
        begin(0.0)
    while ends:
        at, number = heapq.heappop(ends)
        curve, epoch = curves[number], trained[number] + 1
        trained[number] = epoch
        if _goes_on(rule, number, epoch, curve):
            heapq.heappush(ends, (at + curve.seconds[epoch], number))
        else:
            rule.end(number)
            begin(at)
    return trained


def _trained_alone(rule: StoppingRule, number: int, curve: RecordedCurve) -> int:
    epoch = 1
    while _goes_on(rule, number, epoch, curve):
        epoch += 1
    rule.end(number)
    return epoch


def _goes_on(rule: StoppingRule, number: int, epoch: int, curve: RecordedCurve) -> bool:
    """As a run asks: the last epoch stops nothing any more."""
    rule.note(number, epoch, curve.metrics[epoch - 1])
    return epoch < len(curve) and not rule.verdict(number, epoch)
