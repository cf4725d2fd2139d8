"""What networks look like inside, where a run has kept it: weights of dense blocks, gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuner.errors import TunerError
from tuner.experiment.trial import TrialState
from tuner.ledger.checkpoint import best_checkpoints, model_section
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import TrialRow
from tuner.report import format
from tuner.report.inside import BlockReuse, Gradients, read_feature_reuse, read_gradients
from tuner.report.page import drawing as draw
from tuner.report.page.drawing import Figure, Layout, Trace, View
from tuner.report.page.html import clean, label, number, shortened, tick
from tuner.report.record import RunRecord

MAX_NETWORKS = 6
MAX_DIVERGED = 2
LONGEST_NAME = 44
_DIGITS = 3
_MOST_TICKS = 14
_MOST_WRITTEN = 8  # targets, in whose cells there is room for a number
_TICKS: Layout = {"tickformat": "", "dtick": None}  # what one view has, another must take back


Cells = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class WatchedTrial:
    """A trial and the norms of its gradients."""

    row: TrialRow
    gradients: Gradients


@dataclass(frozen=True)
class Inside:
    """What there is; nothing of it is needed for the rest of the page.

    `blocks` are the dense blocks of the network of `row`, as they were after its best epoch.
    """

    row: TrialRow | None = None
    blocks: tuple[BlockReuse, ...] = ()
    watched: tuple[WatchedTrial, ...] = ()


def read_inside(folder: RunFolder, ledger: Ledger, record: RunRecord) -> Inside:
    """The best densely connected network whose checkpoint is kept, and the watched trials."""
    watched = _read_watched(ledger, record)
    kept = best_checkpoints(ledger, record.ranking.ranked)
    for row in record.ranking.ranked:
        # Whether it may have dense blocks only its configuration has to say.
        if row.number in kept and model_section(row).get("family") in ("densenet", "dual_path"):
            return Inside(row, _read_blocks(folder, row), watched)
    return Inside(watched=watched)


def _read_blocks(folder: RunFolder, row: TrialRow) -> tuple[BlockReuse, ...]:
    """A checkpoint that is damaged or gone costs the page this figure alone."""
    try:
        return tuple(read_feature_reuse(folder, row) or ())
    except (TunerError, OSError, ValueError, KeyError):
        return ()


def _read_watched(ledger: Ledger, record: RunRecord) -> tuple[WatchedTrial, ...]:
    """The best trial of each network, and some that diverged: there it may be seen why."""
    best_of: dict[str, TrialRow] = {}
    for row in record.ranking.ranked:
        best_of.setdefault(row.structure, row)
    diverged = [row for row in record.ranking.unranked if row.state is TrialState.DIVERGED]
    chosen = [*list(best_of.values())[:MAX_NETWORKS], *diverged[:MAX_DIVERGED]]
    norms = [(row, read_gradients(ledger, row)) for row in chosen]
    return tuple(WatchedTrial(row, kept) for row, kept in norms if kept is not None)


# ---------------------------------------------------------------------- feature reuse


def reuse_said(row: TrialRow, blocks: Sequence[BlockReuse]) -> str:
    """Of blocks whose weights tell nothing: drawn, they would be a triangle of one colour."""
    alike = [format.printable(block.name) for block in blocks if not block.tells]
    if not alike:
        return ""
    return (
        f"Feature reuse in {format.joined(alike)} is not drawn: in trial {row.number} after epoch "
        f"{row.best_epoch}, its best, each layer weighs all that it reads alike, as a network does "
        "that was not trained, or for too short a time."
    )


def reuse_figure(row: TrialRow, block: BlockReuse) -> Figure:
    """Sources from top to bottom, targets from left to right: a light row is never read."""
    sources, targets = list(map(clean, block.sources)), list(map(clean, block.targets))
    layout: Layout = {
        "width": 300 + 46 * len(targets),
        "xaxis": draw.titled("read by", **_places(targets), side="bottom"),
        "yaxis": draw.titled("made by", **_places(sources), autorange="reversed"),
    }
    of_largest = " in units of its target's largest"
    views = [
        View(name, [_reuse_map(sources, targets, cells, unit)], {}, _reuse_note(row, normalized))
        for name, cells, unit, normalized in (
            ("relative", block.relative(), "of the target's largest", of_largest),
            ("absolute", block.weights, "mean |weight|", ""),
        )
    ]
    return Figure.of_views(views, layout, "", max(260, min(560, 140 + 26 * len(sources))))


def _reuse_note(row: TrialRow, normalized: str) -> str:
    return (
        f"Trial {row.number} after epoch {row.best_epoch}, its best. Colour: mean absolute weight "
        f"of the target's first convolution on the channels of the source{normalized}. After "
        "Huang et al. 2017, Figure 5."
    )


def _reuse_map(sources: Sequence[str], targets: Sequence[str], cells: Cells, unit: str) -> Trace:
    few = len(targets) <= _MOST_WRITTEN
    written = {"texttemplate": "%{z:.2g}", "textfont": {"size": 11}} if few else {}
    largest = max((value for line in cells for value in line if value is not None), default=1.0)
    return draw.heat_map(
        [[number(value, _DIGITS) for value in line] for line in cells],
        unit,
        1,
        zmin=0,
        zmax=number(largest),
        **written,
        meta={"columns": targets, "rows": sources, "axes": ["read by", "made by"], "unit": unit},
    )


def _places(names: Sequence[str]) -> Layout:
    """Every name, or so many of them that they can be read; the last one always."""
    last, step = len(names) - 1, max(1, math.ceil(len(names) / _MOST_TICKS))
    kept = [place for place in range(0, last, step) if last - place >= step] + [last]
    return draw.ticked(((place, tick(names[place])) for place in kept), showgrid=False)


# ---------------------------------------------------------------------- gradients


def gradients_figure(watched: Sequence[WatchedTrial]) -> Figure | None:
    """Before training dotted, after the last epoch solid; a name in the legend hides its trial."""
    if not watched:
        return None
    deepest = max(len(trial.gradients.layers) for trial in watched)
    by_layer = draw.epoch_axis("layer, counted from the image", deepest)
    by_share = draw.titled("depth: 0 is the image, 1 the logits", dtick=0.2)
    norm_axis = _size_axis("norm of the gradient", watched, False)
    weight_axis = _size_axis("gradient of one weight (RMS)", watched, True)
    views = [
        View(
            name,
            _ends(watched, per_weight, is_share),
            {"xaxis": {**_TICKS, **x_axis}, "yaxis": y_axis},
        )
        for name, per_weight, is_share, x_axis, y_axis in (
            ("norm", False, False, by_layer, norm_axis),
            ("per weight", True, False, by_layer, weight_axis),
            ("over depth", False, True, by_share, norm_axis),
        )
    ]
    return Figure.of_views(views, {"showlegend": True}, _gradients_note(watched), 400)


def _size_axis(text: str, watched: Iterable[WatchedTrial], per_weight: bool) -> Layout:
    gradients = [trial.gradients for trial in watched]
    sizes = (size for g in gradients for epoch in g.epochs for size in _sizes(g, epoch, per_weight))
    known = [size for size in sizes if size > 0 and math.isfinite(size)]
    ticks = draw.decades(min(known), max(known)) if known else []
    return draw.number_axis(text, ticks, format.value_text)


def _sizes(gradients: Gradients, epoch: int, per_weight: bool) -> Sequence[float]:
    return gradients.per_weight(epoch) if per_weight else gradients.norms[epoch]


def _gradients_note(watched: Iterable[WatchedTrial]) -> str:
    diverged = sum(trial.row.state is TrialState.DIVERGED for trial in watched)
    more = f", and {format.counted(diverged, 'trial')} that diverged" if diverged else ""
    return (
        f"The best watched trial of each network{more}. Dotted: the first epoch that was watched "
        "(0 is before training); solid: the last one. L2 norm of the mean gradient of the loss on "
        "one fixed batch, for each kernel. Where it falls towards the first layers it vanishes "
        "there. A click in the legend hides a trial, two clicks show it alone."
    )


def _ends(watched: Sequence[WatchedTrial], per_weight: bool, is_share: bool) -> list[Trace]:
    """Of each trial the first and the last epoch that was watched."""
    return [
        _line(trial, epoch, f"@side{place}", per_weight, is_share)
        for place, trial in enumerate(watched)
        for epoch in dict.fromkeys((trial.gradients.epochs[0], trial.gradients.epochs[-1]))
    ]


def _line(trial: WatchedTrial, epoch: int, color: str, per_weight: bool, is_share: bool) -> Trace:
    """Kernels from the image on; with `is_share` the depth goes from 0 to 1."""
    layers, sizes = trial.gradients.layers, _sizes(trial.gradients, epoch, per_weight)
    deepest = max(1, len(layers) - 1)
    is_last = epoch == trial.gradients.epochs[-1]
    when = "before training" if epoch == 0 else f"after epoch {epoch}"
    return draw.lines(
        (place / deepest if is_share else place + 1 for place in range(len(layers))),
        (value if value > 0 else None for value in sizes),
        {"color": color, "width": 2, "dash": "solid" if is_last else "dot"},
        mode="lines+markers" if is_last else "lines",
        customdata=[trial.row.number] * len(layers),
        text=[
            f"{clean(layer)}, {when}: {value:.3g}"
            for (layer, _), value in zip(layers, sizes, strict=True)
        ],
        marker={"color": color, "size": 5},
        opacity=1 if is_last else 0.75,
        name=label(_name(trial.row)),
        legendgroup=str(trial.row.number),
        showlegend=is_last,
    )


def _name(row: TrialRow) -> str:
    """The trial, and what of its network was searched."""
    state = ", diverged" if row.state is TrialState.DIVERGED else ""
    named = ", ".join(
        format.value_text(value)
        if name == "model.family"
        else f"{format.short_names([name])[name]} {format.value_text(value)}"
        for name, value in row.values.items()
        if name.startswith("model.")
    )
    return shortened(f"trial {row.number}{state}" + (f": {named}" if named else ""), LONGEST_NAME)
