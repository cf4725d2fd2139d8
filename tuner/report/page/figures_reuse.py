"""Feature reuse: which earlier layers each layer of a dense block reads, as heat maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuner.ledger.records import TrialRow
from tuner.report.feature_reuse import BlockReuse
from tuner.report.page.figure import SCALE, Figure, Layout, Trace, View, title
from tuner.report.page.text import clean, number, tick

_DIGITS = 3
_MOST_TICKS = 14
_MOST_WRITTEN = 8  # targets, in whose cells there is room for a number

Weights = Sequence[Sequence[float | None]]


def reuse_figure(row: TrialRow, block: BlockReuse) -> Figure:
    """Sources from top to bottom, targets from left to right: a light row is never read."""
    sources, targets = list(map(clean, block.sources)), list(map(clean, block.targets))
    layout: Layout = {
        "width": 300 + 46 * len(targets),
        "xaxis": {"title": title("read by"), **_places(targets), "side": "bottom"},
        "yaxis": {"title": title("made by"), **_places(sources), "autorange": "reversed"},
        "hovermode": "closest",
    }
    relative = _heat_map(block, block.relative(), "of the target's largest")
    absolute = _heat_map(block, block.weights, "mean |weight|")
    views = (
        View("relative", [relative], {}, _reuse_note(row, " in units of its target's largest")),
        View("absolute", [absolute], {}, _reuse_note(row, "")),
    )
    height = max(260, min(560, 140 + 26 * len(sources)))
    return Figure([relative], layout, views[0].note, height, views)


def _reuse_note(row: TrialRow, normalized: str) -> str:
    return (
        f"Trial {row.number} after epoch {row.best_epoch}, its best. Colour: mean absolute weight "
        f"of the target's first convolution on the channels of the source{normalized}. After "
        "Huang et al. 2017, Figure 5."
    )


def _heat_map(block: BlockReuse, weights: Weights, unit: str) -> Trace:
    few = len(block.targets) <= _MOST_WRITTEN
    written = {"texttemplate": "%{z:.2g}", "textfont": {"size": 11}} if few else {}
    return {
        "type": "heatmap",
        "z": [[number(value, _DIGITS) for value in line] for line in weights],
        "zmin": 0,
        "zmax": number(max((v for line in weights for v in line if v is not None), default=1.0)),
        "colorscale": SCALE,
        **written,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "colorbar": {"title": title(unit)},
        "meta": {
            "columns": list(map(clean, block.targets)),
            "rows": list(map(clean, block.sources)),
            "axes": ["read by", "made by"],
            "unit": unit,
        },
    }


def _places(names: Sequence[str]) -> Layout:
    """Every name, or so many of them that they can be read."""
    step = max(1, math.ceil(len(names) / _MOST_TICKS))
    kept = list(range(0, len(names), step))
    if len(names) - 1 not in kept:
        kept = [*(place for place in kept if len(names) - 1 - place >= step), len(names) - 1]
    return {
        "tickmode": "array",
        "tickvals": kept,
        "ticktext": [tick(names[place]) for place in kept],
        "showgrid": False,
        "zeroline": False,
    }
