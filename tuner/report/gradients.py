"""Do gradients reach the first layers? The norms that `training.watch: [gradients]` has kept.

A gradient vanishes where its norm falls from layer to layer towards the image: the first layers
then hardly learn (Glorot & Bengio 2010, section 4; He et al. 2016, section 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.ledger.ledger import Ledger
from tuner.ledger.records import GRADIENTS, TrialRow
from tuner.report import curves, words

_HEIGHT = 8


@dataclass(frozen=True)
class LayerNorm:
    """The gradient of one kernel after one epoch; epoch 0 is before training.

    `depth` counts kernels from the image, from 1. `norm` is the L2 norm of the mean gradient of
    the loss (without L2 penalty) over one fixed batch; `root_mean_square` is norm / √weights,
    which compares layers of different sizes.
    """

    epoch: int
    depth: int
    layer: str
    weights: int
    norm: float

    @property
    def root_mean_square(self) -> float:
        """Of the gradient's components."""
        return self.norm / math.sqrt(self.weights)


@dataclass(frozen=True)
class Gradients:
    """All norms of a trial: `norms` by epoch, in the order of `layers` (name, weights)."""

    layers: tuple[tuple[str, int], ...]
    norms: Mapping[int, tuple[float, ...]]

    @property
    def epochs(self) -> tuple[int, ...]:
        """What was watched, in order."""
        return tuple(sorted(self.norms))

    def rows(self) -> list[LayerNorm]:
        """One for each epoch and layer: what a figure draws, depth on x and log norm on y."""
        return [
            LayerNorm(epoch, depth, layer, weights, norm)
            for epoch in self.epochs
            for depth, ((layer, weights), norm) in enumerate(
                zip(self.layers, self.norms[epoch], strict=True), start=1
            )
        ]

    def reach(self, epoch: int) -> float:
        """The first layer's norm over the last hidden one's; far below 1, the gradient vanishes.

        The last kernel of all makes the logits: its gradient passes through no activation.
        """
        norms = self.norms[epoch]
        last = norms[-2] if len(norms) > 2 else norms[-1]
        return norms[0] / last if last else math.nan


def read_gradients(ledger: Ledger, row: TrialRow) -> Gradients | None:
    """The norms of a trial; None if it was not watched."""
    details = [event.detail for event in ledger.events_of(GRADIENTS, row.number)]
    return gradients_of(details, row.epochs)


def gradients_of(details: Sequence[Mapping[str, Any]], epochs: int) -> Gradients | None:
    """From the details of the events; of an epoch that was trained twice the last one counts.

    What lies after `epochs` was trained by a worker that died, or in an attempt given up.
    """
    layers: tuple[tuple[str, int], ...] = ()
    for detail in details:
        layers = tuple((str(name), int(size)) for name, size in detail.get("layers", ())) or layers
    norms = {
        int(detail["epoch"]): tuple(float(norm) for norm in detail["norms"])
        for detail in details
        if detail["epoch"] <= epochs and len(detail["norms"]) == len(layers)
    }
    return Gradients(layers, norms) if norms else None


def to_json(found: Gradients) -> dict[str, Any]:
    """What `show --gradients --json` prints."""
    return {
        "layers": [{"layer": layer, "weights": weights} for layer, weights in found.layers],
        "epochs": [
            {"epoch": epoch, "norms": list(found.norms[epoch]), "reach": found.reach(epoch)}
            for epoch in found.epochs
        ],
    }


def chart_lines(found: Gradients, wide: int) -> list[str]:
    """First and last epoch side by side: layers from the image on x, log10 of the norm on y."""
    ends = dict.fromkeys((found.epochs[0], found.epochs[-1]))
    series = [[_log10(norm) for norm in found.norms[epoch]] for epoch in ends]
    bounds = curves.bounds_of(*series)
    panels = [
        curves.panel(
            _when(epoch), values, width=(min(wide, 100) - 3) // 2, height=_HEIGHT, bounds=bounds
        )
        for epoch, values in zip(ends, series, strict=True)
    ]
    chart = ["   ".join(parts).rstrip() for parts in zip(*panels, strict=True)]
    return [*chart, "", *_table(found, list(ends), wide)]


def _when(epoch: int) -> str:
    return "before training" if epoch == 0 else f"after epoch {epoch}"


def _table(found: Gradients, epochs: list[int], wide: int) -> list[str]:
    """First, middle and last kernels in numbers, and how much of the gradient gets through."""
    last = len(found.layers) - 1
    places = dict.fromkeys((0, last // 4, last // 2, 3 * last // 4, max(0, last - 1), last))
    width = max(len(words.printable(found.layers[place][0])) for place in places)
    width = min(width, wide - 16 - 18 * len(epochs))
    titles = "".join(f"{_when(epoch):>18}" for epoch in epochs)
    lines = [f"{'layer':>7}  {'':<{width}}{titles}"]
    for place in places:
        name = words.printable(found.layers[place][0])[:width]
        norms = "".join(f"{found.norms[epoch][place]:>18.3g}" for epoch in epochs)
        lines.append(f"{place + 1:>7}  {name:<{width}}{norms}")
    reach = "".join(f"{found.reach(epoch):>18.3g}" for epoch in epochs)
    told = "first/last hidden"[: max(5, width + 9)]
    return [*lines, f"{told:<{width + 9}}{reach}"]


def _log10(norm: float) -> float:
    return math.log10(norm) if norm > 0 and math.isfinite(norm) else math.nan
