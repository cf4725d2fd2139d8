"""What the same score costs each side, as multiples of what it costs the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.report import words
from tuner.report.comparing.compare import SideSummary
from tuner.report.comparing.reach import COSTS
from tuner.report.page.contest import Contest, Contestant
from tuner.report.page.figure import Figure, Layout, Trace, title
from tuner.report.page.figures_forest import line_at, rows_axis
from tuner.report.page.text import label, number

COST_NAMES = {
    "parameters": "parameters",
    "macs": "multiply-adds",
    "epochs": "epochs",
    "steps": "steps",
    "seconds": "seconds",
}
_MOST_LABELLED = 3  # sides whose ratios are written beside their points


def ratios_figure(contest: Contest) -> Figure | None:
    """What each side needs for the same score, as multiples of the baseline."""
    others = [side for side in contest.found.sides if side.name != contest.found.baseline]
    costs = [name for name in COSTS if any(side.ratios[name] for side in others)]
    if contest.found.target is None or not costs:
        return None
    costs.reverse()
    by_name = {one.side.name: one for one in contest.contestants}
    baseline = label(contest.named(contest.found.baseline))
    layout: Layout = {
        "xaxis": {"title": title(f"multiple of {baseline}; left is cheaper"), **_octaves(others)},
        "yaxis": rows_axis([COST_NAMES[name] for name in costs]),
        "shapes": [line_at(1.0)],
        "showlegend": True,
        "hovermode": "closest",
    }
    traces = [
        _ratios(side, by_name[side.name], costs, place, len(others))
        for place, side in enumerate(others)
    ]
    score = f"{words.printable(contest.found.metric)} {words.score_text(contest.found.target)}"
    note = f"For {score}, read off each side's best configurations. Missing: not reached or unknown"
    return Figure(traces, layout, f"{note}.", 130 + 40 * len(costs))


def _ratios(
    side: SideSummary, one: Contestant, costs: Sequence[str], place_among: int, count: int
) -> Trace:
    known = [(place, side.ratios[name]) for place, name in enumerate(costs)]
    drawn = [(place, ratio) for place, ratio in known if ratio]
    shift = 0.36 * (place_among / max(1, count - 1) - 0.5) if count > 1 else 0.0
    return {
        "type": "scatter",
        "mode": "markers+text" if count <= _MOST_LABELLED else "markers",
        "x": [number(ratio) for _, ratio in drawn],
        "y": [number(place - shift) for place, _ in drawn],
        "text": [f"{ratio:.3g}×" for _, ratio in drawn],
        "textposition": "middle right",
        "textfont": {"color": "@ink", "size": 12},
        "marker": {"color": one.color, "size": 11, "symbol": one.symbol},
        "cliponaxis": False,
        "name": label(side.name),
    }


def _octaves(sides: Sequence[SideSummary]) -> Layout:
    """A logarithmic axis on which a half is as far away as a double."""
    ratios = [ratio for side in sides for ratio in side.ratios.values() if ratio]
    low, high = min(1.0, *ratios), max(1.0, *ratios)
    factors: tuple[float, ...] = (1, 1.25, 1.5, 2, 2.5, 4, 5, 6, 8)
    if high / low > 4:
        factors = (1, 2, 5) if high / low < 200 else (1,)
    steps = [10.0**exponent * factor for exponent in range(-6, 7) for factor in factors]
    ticks = [step for step in steps if 0.7 * low <= step <= 1.4 * high]
    return {
        "type": "log",
        "autorange": True,
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{step:g}×" for step in ticks],
    }
