"""Inside a trained network: do gradients reach its first layers, and which layers does it read?

The norms of gradients are those that `training.watch: [gradients]` has kept. A gradient vanishes
where its norm falls from layer to layer towards the image: the first layers then hardly learn
(Glorot & Bengio 2010, section 4; He et al. 2016, section 1). Feature reuse is seen in the weights
of a densely connected network (Huang et al. 2017, section 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import TunerError
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import GRADIENTS, TrialRow
from tuner.models.dense_kernels import DenseBlockKernels, dense_kernels
from tuner.report import curves, format

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

_HEIGHT = 8
_SHADES = "·░▒▓█"
_WIDEST_CELL = 3
_LEAST_CONTRAST = 3.0  # below it lie all but one in a thousand blocks that were never trained
_MOST_ALIKE = 0.9  # shares of the largest, which differ by a shade at most

# (text, place on the scale in 0..1) → text
Paint = Callable[[str, float], str]


# ---------------------------------------------------------------------- gradients


@dataclass(frozen=True)
class Gradients:
    """All norms of a trial: `norms` by epoch, in the order of `layers` (name, weights).

    Epoch 0 is before training. A norm is the L2 norm of the mean gradient of the loss (without L2
    penalty) over one fixed batch.
    """

    layers: tuple[tuple[str, int], ...]
    norms: Mapping[int, tuple[float, ...]]

    @property
    def epochs(self) -> tuple[int, ...]:
        """What was watched, in order."""
        return tuple(sorted(self.norms))

    def per_weight(self, epoch: int) -> list[float]:
        """Root mean square of each gradient: norm / √weights, which compares layers of any size."""
        sizes = zip(self.norms[epoch], self.layers, strict=True)
        return [norm / math.sqrt(weights) for norm, (_, weights) in sizes]

    def share_at_first(self, epoch: int) -> float:
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


def gradients_json(gradients: Gradients) -> dict[str, Any]:
    """What `show --gradients --json` prints."""
    return {
        "layers": [{"layer": layer, "weights": weights} for layer, weights in gradients.layers],
        "epochs": [
            {"epoch": epoch, "norms": list(norms), "reach": gradients.share_at_first(epoch)}
            for epoch, norms in sorted(gradients.norms.items())
        ],
    }


def gradient_chart(gradients: Gradients, wide: int) -> list[str]:
    """First and last epoch side by side: layers from the image on x, log10 of the norm on y."""
    ends = list(dict.fromkeys((gradients.epochs[0], gradients.epochs[-1])))
    series = [
        [math.log10(norm) if 0 < norm < math.inf else math.nan for norm in gradients.norms[epoch]]
        for epoch in ends
    ]
    bounds = curves.bounds_of(*series)
    panels = [
        curves.panel(
            _when(epoch), values, width=(min(wide, 100) - 3) // 2, height=_HEIGHT, bounds=bounds
        )
        for epoch, values in zip(ends, series, strict=True)
    ]
    chart = ["   ".join(parts).rstrip() for parts in zip(*panels, strict=True)]
    return [*chart, "", *_norm_lines(gradients, ends, wide)]


def _norm_lines(gradients: Gradients, epochs: Sequence[int], wide: int) -> list[str]:
    """First, middle and last kernels in numbers, and how much of the gradient gets through."""
    last = len(gradients.layers) - 1
    places = dict.fromkeys((0, last // 4, last // 2, 3 * last // 4, max(0, last - 1), last))
    names = {place: format.printable(gradients.layers[place][0]) for place in places}
    width = min(max(map(len, names.values())), wide - 16 - 18 * len(epochs))

    def line(number: str, name: str, cells: Sequence[str]) -> str:
        return f"{number:>7}  {name[:width]:<{width}}" + "".join(f"{cell:>18}" for cell in cells)

    shares = "".join(f"{gradients.share_at_first(epoch):>18.3g}" for epoch in epochs)
    return [
        line("layer", "", [_when(epoch) for epoch in epochs]),
        *(
            line(f"{place + 1}", name, [f"{gradients.norms[e][place]:.3g}" for e in epochs])
            for place, name in names.items()
        ),
        f"{'first/last hidden'[: max(5, width + 9)]:<{width + 9}}{shares}",
    ]


def _when(epoch: int) -> str:
    return "before training" if epoch == 0 else f"after epoch {epoch}"


# ---------------------------------------------------------------------- feature reuse


@dataclass(frozen=True)
class BlockReuse:
    """Mean absolute weight from each source to each target of a dense block.

    `weights[s][t]` is over the first convolution of target t, of its weights on the channels of
    source s; None where t does not see s. The last target stands behind the block: the transition
    after it, or the classifier. Sources and targets come in the order of the network.

    `contrast` says how far sources differ within targets, in standard deviations of what chance
    alone does: weights as they were drawn before training tell nothing of what a layer reads.
    """

    name: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    weights: tuple[tuple[float | None, ...], ...]
    contrast: float = math.inf

    @property
    def tells(self) -> bool:
        """Whether sources differ: by more than chance, and by as much as an eye can see."""
        return self.contrast >= _LEAST_CONTRAST and least_share([self]) < _MOST_ALIKE

    def relative(self) -> tuple[tuple[float | None, ...], ...]:
        """The same in units of the largest weight of each target: where does it look most?

        A layer with more inputs has smaller weights from the start, so that targets can only be
        compared like this.
        """
        columns = zip(*self.weights, strict=True)
        largest = [max(v for v in column if v is not None) for column in columns]
        return tuple(
            tuple(
                None if value is None else value / most if most else 0.0
                for value, most in zip(row, largest, strict=True)
            )
            for row in self.weights
        )


def read_feature_reuse(folder: RunFolder, row: TrialRow) -> list[BlockReuse] | None:
    """The heat maps of a trial's network in its best epoch, block by block; no framework is needed.

    None for a family without dense blocks, and where no checkpoint of that epoch is kept.

    Raises:
        CheckpointError: the checkpoint is damaged.
        TunerError: it is of another network than the trial's configuration says.
    """
    from tuner.ledger.checkpoint import best_checkpoints, model_section, read_checkpoint

    section = model_section(row)
    if dense_kernels(section, (1, 1, 1), 1) is None:
        return None
    with Ledger.open_read_only(folder.ledger) as ledger:
        checkpoint = best_checkpoints(ledger, [row]).get(row.number)
    if checkpoint is None:
        return None
    arrays, notes = read_checkpoint(folder, checkpoint)
    layout = dense_kernels(section, tuple(notes["image_shape"]), notes["num_classes"])
    weights = arrays["weights"]
    if layout is None or weights.shape != (layout.num_weights,):
        raise TunerError(f"the checkpoint of trial {row.number} is of another network")
    return [block_reuse(block, weights) for block in layout.blocks]


def block_reuse(block: DenseBlockKernels, weights: Floats) -> BlockReuse:
    """The heat map of a block, from all trainable weights of the network as one vector."""
    columns, kernels = [], []
    for reader in block.readers:
        kernel = weights[reader.start : reader.stop].reshape(reader.shape)
        kernels.append((kernel, reader.sources))
        seen: list[float | None] = [*mean_by_source(kernel, reader.sources)]
        columns.append(seen + [None] * (len(block.sources) - len(seen)))
    targets = tuple(reader.name for reader in block.readers)
    rows = tuple(zip(*columns, strict=True))
    return BlockReuse(block.name, block.sources, targets, rows, contrast(kernels))


def contrast(kernels: Sequence[tuple[Floats, Sequence[int]]]) -> float:
    """How far absolute weights differ between sources within targets: a standard normal score.

    `kernels` have the channels of their sources in that order. An F test whose score is Wilson and
    Hilferty's (1931), for there are many weights; infinite where nothing is left to chance, and 0
    where each target has a single source.
    """
    import numpy as np

    between = within = 0.0
    sources = weights = 0
    for kernel, channels in kernels:
        sizes = np.abs(np.moveaxis(kernel, -2, 0).astype(np.float64))
        parts = np.split(sizes, np.cumsum(channels)[:-1])
        between += sum(part.size * float(part.mean() - sizes.mean()) ** 2 for part in parts)
        within += sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
        sources, weights = sources + len(parts) - 1, weights + sizes.size - len(parts)
    if not sources or not weights:
        return 0.0
    if not within:
        return math.inf
    ratio, variance = between / sources / (within / weights), 2 / (9 * sources)
    return (math.cbrt(ratio) - (1 - variance)) / math.sqrt(variance)


def mean_by_source(kernel: Floats, sources: Sequence[int]) -> list[float]:
    """Mean absolute weight of a kernel (…, channels, filters) for each group of its channels.

    It is the L1 norm of the weights divided by the number of input feature maps, and by the number
    of weights that each map has, which is the same for all sources of a target.

    Source: Huang et al. 2017, section 5, "Feature Reuse", and Figure 5.

    Raises:
        ValueError: the groups do not make up the channels.
    """
    import numpy as np

    if sum(sources) != kernel.shape[-2]:
        raise ValueError(f"{sum(sources)} channels in sources, {kernel.shape[-2]} in the kernel")
    axes = tuple(axis for axis in range(kernel.ndim) if axis != kernel.ndim - 2)
    by_channel = np.mean(np.abs(kernel.astype(np.float64)), axis=axes)
    return [float(np.mean(part)) for part in np.split(by_channel, np.cumsum(sources)[:-1])]


# ---------------------------------------------------------------------- heat maps as text


def unpainted(text: str, place: float) -> str:
    """No colours: the shades alone."""
    return text


def least_share(blocks: Sequence[BlockReuse]) -> float:
    """Where the scale of their maps begins: the smallest weight relative to its target's largest.

    Weights of a network that was trained for a short time are all alike. A scale from 0 would show
    one shade; this one shows what differences there are, and the legend how large they are.
    """
    shares = [v for block in blocks for row in block.relative() for v in row if v is not None]
    return min(shares, default=0.0)


def heat_map(
    block: BlockReuse, width: int, *, least: float = 0.0, paint: Paint = unpainted
) -> list[str]:
    """Sources from top to bottom, targets from left to right, at most `width` columns.

    A cell is the weight relative to the largest of its target, on a scale from `least` to 1. Where
    there are more targets than columns, neighbours share a cell and their mean is shown. Targets
    are numbered by where they stand.
    """
    margin = max(len(name) for name in block.sources) + 1
    room = max(1, width - margin)
    step = -(-len(block.targets) // room)
    cells = _pooled(block.relative(), step)
    cell = min(_WIDEST_CELL, max(1, room // len(cells[0])))
    lines = [" " * margin + _header(len(cells[0]), cell, step)]
    for place, row in enumerate(cells):
        name = block.sources[place * step]
        drawn = "".join(_cell(share, cell, least, paint) for share in row)
        lines.append(f"{name:>{margin - 1}} {drawn.rstrip()}")
    return [line.rstrip() for line in lines]


def legend(*, least: float = 0.0, paint: Paint = unpainted) -> str:
    """From which share of the largest on each shade stands."""
    part = (1 - least) / len(_SHADES)
    starts = [least + part * n for n in range(len(_SHADES))]
    keys = (f"{_cell(start + part / 2, 2, least, paint)} {start:.2f}" for start in starts)
    return "  ".join(keys) + " to 1 × the largest in the column"


def _cell(share: float | None, width: int, least: float, paint: Paint) -> str:
    if share is None:
        return " " * width
    place = (share - least) / (1 - least) if least < 1 else 1.0
    shade = _SHADES[max(0, min(len(_SHADES) - 1, int(place * len(_SHADES))))]
    return paint(shade * width, place)


def _header(count: int, cell: int, step: int) -> str:
    """Every fifth target's number, where it fits."""
    text = ""
    for place in range(0, count, 1 if cell > 2 else 5):
        text = text.ljust(place * cell) + f"{place * step + 1:<{cell}}"
    return text


def _pooled(rows: Sequence[Sequence[float | None]], step: int) -> list[list[float | None]]:
    """Means of step × step cells, of those that there are."""

    def mean(top: int, left: int) -> float | None:
        cells = [cell for row in rows[top : top + step] for cell in row[left : left + step]]
        known = [cell for cell in cells if cell is not None]
        return sum(known) / len(known) if known else None

    lefts = range(0, len(rows[0]), step)
    return [[mean(top, left) for left in lefts] for top in range(0, len(rows), step)]
