"""What networks will cost, from those that were measured on this machine before.

A structure that was measured is taken as it was. One that was not is scaled by its multiply-adds
from those of its family, or, with less trust, from all others: t = a + b·multiply-adds with a and
b that make the relative errors small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tuner.execution.estimate.speeds import Speed
from tuner.execution.estimate.workload import Job, Network

# By what factor a time may be off, either way.
_MEASURED = 1.15  # on a machine that does other things, too
_FEW_STEPS = 1.5  # seen for seconds only
_SCALED = 1.3  # plus twice what the fit leaves unexplained
_SCALED_FROM_ONE = 1.6
_GUESSED = 2.5
_OTHER_SHARING = 1.4

# n workers on a device: each takes between 1 and n times as long as alone, about n to this power.
_SHARED = 0.75


@dataclass(frozen=True)
class NetworkTime:
    """What a network will cost, in seconds; `factor` is how far off that may be."""

    epoch_seconds: float
    trial_seconds: float
    compile_seconds: float
    factor: float
    known: str  # measured, scaled or guessed

    def of(self, job: Job) -> float:
        """One trial of a job, without compiling."""
        return self.trial_seconds + job.epochs * self.epoch_seconds


@dataclass(frozen=True)
class Line:
    """t = constant + slope·x, neither negative."""

    constant: float
    slope: float
    scatter: float  # root mean square of the relative residuals
    low: float  # what was seen of x
    high: float
    count: int

    def at(self, x: float) -> float:
        """The time at x."""
        return self.constant + self.slope * x

    def factor(self, x: float) -> float:
        """How far off the time at x may be; more outside of what was seen."""
        within = _SCALED_FROM_ONE if self.count < 2 else _SCALED + 2 * self.scatter
        outside = max(1.0, x / self.high, self.low / x) if x > 0 < self.high else 1.0
        return within * float(outside**0.3)


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The line through (x, t) that makes the relative errors least, by least squares.

    Raises:
        ValueError: there is no point with a positive time.
    """
    points = [(x, t) for x, t in points if t > 0]
    if not points:
        raise ValueError("no point with a positive time")
    # With weights 1/t²: sums of 1, x, x², t and xt, in terms of p = 1/t and q = x/t.
    scaled = [(1 / t, x / t) for x, t in points]
    pp, pq, qq = (sum(a * b for a, b in pairs) for pairs in _products(scaled))
    p, q = sum(p for p, _ in scaled), sum(q for _, q in scaled)
    determinant = pp * qq - pq * pq
    constant, slope = 0.0, q / qq if qq else 0.0
    if determinant > 1e-9 * pp * qq:
        constant, slope = (p * qq - q * pq) / determinant, (q * pp - p * pq) / determinant
        if constant < 0:
            constant, slope = 0.0, q / qq
        elif slope < 0:
            constant, slope = p / pp, 0.0
    elif not qq:
        constant = p / pp
    residuals = [(constant + slope * x) / t - 1 for x, t in points]
    scatter = math.sqrt(sum(r * r for r in residuals) / len(residuals))
    xs = [x for x, _ in points]
    return Line(constant, slope, scatter, min(xs), max(xs), len(set(xs)))


def _products(scaled: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    return [
        [(p, p) for p, _ in scaled],
        [(p, q) for p, q in scaled],
        [(q, q) for _, q in scaled],
    ]


class Forecast:
    """What networks will cost with `sharing` workers to a device, from what was measured there."""

    def __init__(self, speeds: Sequence[Speed], sharing: int) -> None:
        self._speeds = speeds
        self._sharing = sharing
        self._exact = {(s.structure, *s.network): s for s in speeds if s.sharing == sharing}
        whole = [speed for speed in speeds if speed.epochs]
        self._epoch_seconds = _median([speed.epoch_seconds for speed in whole])
        self._trial_seconds = _median([speed.trial_seconds for speed in whole or speeds])

    def of(self, network: Network) -> NetworkTime | None:
        """None where nothing was measured."""
        speed = self._exact.get(network.key)
        if speed is not None:
            return self._measured(network, speed)
        family = [speed for speed in self._speeds if speed.family == network.family]
        chosen = family or self._speeds
        return self._scaled(network, chosen, is_family=bool(family)) if chosen else None

    def _measured(self, network: Network, speed: Speed) -> NetworkTime:
        rest = speed.epoch_seconds if speed.epochs else self._epoch_seconds
        compiling = speed.compile_seconds
        if compiling is None:
            compiling = self._compile_seconds(network, self._speeds)
        return NetworkTime(
            epoch_seconds=_epoch(network, speed.step_seconds, speed.image_seconds) + rest,
            trial_seconds=speed.trial_seconds if speed.epochs else self._trial_seconds,
            compile_seconds=compiling,
            factor=(_MEASURED if speed.epochs > 1 else _FEW_STEPS) + speed.spread,
            known="measured",
        )

    def _scaled(self, network: Network, speeds: Sequence[Speed], *, is_family: bool) -> NetworkTime:
        alike = [speed for speed in speeds if speed.sharing == self._sharing]
        chosen = alike or speeds
        each = [(speed, (self._sharing / speed.sharing) ** _SHARED) for speed in chosen]
        steps = fit([(s.macs * s.batch_size, s.step_seconds * rate) for s, rate in each])
        images = [(s.macs, s.image_seconds * rate) for s, rate in each if s.image_seconds > 0]
        image = fit(images).at(network.macs) if images else 0.0
        x = network.macs * network.batch_size
        factor = steps.factor(x) * (1.0 if alike else _OTHER_SHARING)
        return NetworkTime(
            epoch_seconds=_epoch(network, steps.at(x), image) + self._epoch_seconds,
            trial_seconds=self._trial_seconds,
            compile_seconds=self._compile_seconds(network, chosen),
            factor=factor if is_family else max(_GUESSED, factor),
            known="scaled" if is_family else "guessed",
        )

    def _compile_seconds(self, network: Network, speeds: Sequence[Speed]) -> float:
        """Compiling grows with the layers, of which multiply-adds tell only a part."""
        points = [(s.macs, s.compile_seconds) for s in speeds if s.compile_seconds]
        if not points:
            return 0.0
        line = fit(points)
        if line.count > 1 or not line.high:
            return line.at(network.macs)
        return line.at(line.high) * math.sqrt(network.macs / line.high)


def _epoch(network: Network, step_seconds: float, image_seconds: float) -> float:
    return network.steps * step_seconds + network.validation_images * image_seconds


def _median(values: Sequence[float]) -> float:
    return median(values) if values else 0.0
