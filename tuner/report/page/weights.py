"""How much each hyperparameter weighs, by the method that fits what was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.report import words
from tuner.report.marginals import marginals
from tuner.report.page.axes import ValueAxis
from tuner.report.page.source import Source


@dataclass(frozen=True)
class Weight:
    """One hyperparameter, or two together: a share of the whole and its 95 % interval."""

    names: tuple[str, ...]
    title: str
    share: float
    low: float | None = None
    high: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether its uncertainty is known."""
        return self.low is not None and self.high is not None


@dataclass(frozen=True)
class Weights:
    """Largest first. Without a `method`, shares are distances between means, in scores."""

    weights: tuple[Weight, ...]
    method: str
    uncertainty: str

    @property
    def mains(self) -> tuple[Weight, ...]:
        """Those of single hyperparameters."""
        return tuple(weight for weight in self.weights if len(weight.names) == 1)

    def in_order(self, axes: Sequence[ValueAxis]) -> list[ValueAxis]:
        """The axes, those that weigh most first."""
        order = {weight.names[0]: place for place, weight in enumerate(self.mains)}
        return sorted(axes, key=lambda axis: order.get(axis.name, len(order)))


def weights_of(source: Source, axes: Sequence[ValueAxis]) -> Weights:
    """Importance where the trials allow it, else the distance between best and worst mean."""
    from tuner.report.stats.importance import importance

    names = [axis.name for axis in axes]
    found = importance(source.ranked, names, source.record.direction)
    if not found.effects:
        return _distances(source, names)
    titles = {axis.name: words.printable(axis.title) for axis in axes}
    weights = tuple(
        Weight(e.names, " × ".join(titles[n] for n in e.names), e.share, e.low, e.high)
        for e in found.effects
    )
    return Weights(weights, found.method, found.uncertainty)


def _distances(source: Source, names: Sequence[str]) -> Weights:
    found = marginals(source.ranked, names)
    weights = (Weight((m.name,), words.printable(m.title), m.effect) for m in found)
    return Weights(tuple(weights), "", "")
