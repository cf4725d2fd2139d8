"""How far gradients reach, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tuner.experiment.trial import TrialState
from tuner.ledger.records import TrialRow
from tuner.report import words
from tuner.report.gradients import LayerNorm
from tuner.report.page.figure import Figure, Layout, Trace, View, title
from tuner.report.page.figures_tradeoff import decades
from tuner.report.page.inside import Watched
from tuner.report.page.text import clean, label, number

_LONGEST_NAME = 44
_TICKS: Layout = {"tickformat": "", "dtick": None}  # what one view has, another must take back

Place = Callable[[LayerNorm, int], float]  # (layer, number of layers) → x
Size = Callable[[LayerNorm], float]


def gradients_figure(found: Sequence[Watched]) -> Figure | None:
    """Before training dotted, after the last epoch solid; a name in the legend hides its trial."""
    if not found:
        return None
    by_layer = _layer_axis(max(len(one.gradients.layers) for one in found))
    by_share = {"title": title("depth: 0 is the image, 1 the logits"), "dtick": 0.2}
    norm_axis = _axis("norm of the gradient", found, _norm)
    weight_axis = _axis("gradient of one weight (RMS)", found, _of_one_weight)
    views = tuple(
        View(name, _traces(found, size, place), {"xaxis": {**_TICKS, **xaxis}, "yaxis": yaxis})
        for name, size, place, xaxis, yaxis in (
            ("norm", _norm, _depth, by_layer, norm_axis),
            ("per weight", _of_one_weight, _depth, by_layer, weight_axis),
            ("over depth", _norm, _share, by_share, norm_axis),
        )
    )
    layout: Layout = {**views[0].layout, "showlegend": True, "hovermode": "closest"}
    return Figure(views[0].traces, layout, _gradients_note(found), 400, views)


def _layer_axis(deepest: int) -> Layout:
    """Whole numbers only."""
    few = {"dtick": 1} if deepest < 13 else {}
    return {"title": title("layer, counted from the image"), "tickformat": "d", **few}


def _norm(layer: LayerNorm) -> float:
    return layer.norm


def _of_one_weight(layer: LayerNorm) -> float:
    return layer.root_mean_square


def _depth(layer: LayerNorm, count: int) -> float:
    return layer.depth


def _share(layer: LayerNorm, count: int) -> float:
    return (layer.depth - 1) / max(1, count - 1)


def _axis(text: str, found: Sequence[Watched], size: Size) -> Layout:
    sizes = [size(layer) for one in found for layer in one.gradients.rows()]
    known = [value for value in sizes if value > 0 and math.isfinite(value)]
    ticks = decades(min(known), max(known)) if known else []
    return {
        "title": title(text),
        "type": "log",
        "autorange": True,
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{value:g}" for value in ticks],
    }


def _gradients_note(found: Sequence[Watched]) -> str:
    diverged = sum(one.row.state is TrialState.DIVERGED for one in found)
    more = f", and {words.counted(diverged, 'trial')} that diverged" if diverged else ""
    return (
        f"The best watched trial of each network{more}. Dotted: the first epoch that was watched "
        "(0 is before training); solid: the last one. L2 norm of the mean gradient of the loss on "
        "one fixed batch, for each kernel. Where it falls towards the first layers it vanishes "
        "there. A click in the legend hides a trial, two clicks show it alone."
    )


def _traces(found: Sequence[Watched], size: Size, place: Place) -> list[Trace]:
    return [
        _line(one, epoch, color, size, place)
        for color, one in enumerate(found)
        for epoch in dict.fromkeys((one.gradients.epochs[0], one.gradients.epochs[-1]))
    ]


def _line(one: Watched, epoch: int, color: int, size: Size, place: Place) -> Trace:
    layers = [layer for layer in one.gradients.rows() if layer.epoch == epoch]
    is_last = epoch == one.gradients.epochs[-1]
    when = "before training" if epoch == 0 else f"after epoch {epoch}"
    return {
        "type": "scatter",
        "mode": "lines+markers" if is_last else "lines",
        "x": [number(place(layer, len(layers))) for layer in layers],
        "y": [number(size(layer)) if size(layer) > 0 else None for layer in layers],
        "customdata": [one.row.number] * len(layers),
        "text": [f"{clean(layer.layer)}, {when}: {size(layer):.3g}" for layer in layers],
        "line": {"color": f"@side{color}", "width": 2, "dash": "solid" if is_last else "dot"},
        "marker": {"color": f"@side{color}", "size": 5},
        "opacity": 1 if is_last else 0.75,
        "name": label(_name(one.row)),
        "legendgroup": str(one.row.number),
        "showlegend": is_last,
    }


def _name(row: TrialRow) -> str:
    """The trial, and what of its network was searched."""
    values = {name: value for name, value in row.values.items() if name.startswith("model.")}
    state = ", diverged" if row.state is TrialState.DIVERGED else ""
    named = ", ".join(
        words.value_text(value)
        if name == "model.family"
        else f"{words.short_names([name])[name]} {words.value_text(value)}"
        for name, value in values.items()
    )
    text = f"trial {row.number}{state}" + (f": {named}" if named else "")
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
