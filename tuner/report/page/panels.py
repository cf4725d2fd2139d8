"""Which figures a page shows, in which order, under which titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.report import words
from tuner.report.page.axes import ValueAxis
from tuner.report.page.figure import Figure
from tuner.report.page.figures_curves import curves_figure, curves_of
from tuner.report.page.figures_gradients import gradients_figure
from tuner.report.page.figures_importance import importance_figure
from tuner.report.page.figures_pairs import pairs_figure
from tuner.report.page.figures_parallel import parallel_figure, parallel_of
from tuner.report.page.figures_progress import progress_figure, progress_of
from tuner.report.page.figures_reuse import reuse_figure
from tuner.report.page.figures_slices import slice_figure, slice_of
from tuner.report.page.figures_timeline import timeline_figure, timeline_of
from tuner.report.page.figures_tradeoff import tradeoff_figure, tradeoffs_of
from tuner.report.page.source import Source
from tuner.report.page.weights import Weights

MAX_SLICES = 12


@dataclass(frozen=True)
class Panel:
    """A figure in its place: `kind` tells the page how to frame it, `span` how many of the twelve
    columns it takes where there is room.
    """

    id: str
    title: str
    lead: str
    figure: Figure
    kind: str = ""
    span: int = 12


@dataclass(frozen=True)
class Section:
    """Panels that answer one question."""

    id: str
    title: str
    panels: tuple[Panel, ...]


def sections_of(source: Source, axes: Sequence[ValueAxis], weights: Weights) -> list[Section]:
    """All that can be drawn of an experiment, sections without a panel left out."""
    metric = words.printable(source.record.metric)
    ordered = weights.in_order(axes)
    sections = [
        Section("curves", "Learning curves", _curves(source)),
        Section("mattered", "What mattered", _mattered(source, ordered, weights, metric)),
        Section("together", "Values together", _together(source, ordered, metric)),
        Section("cost", "Progress and cost", _cost(source, metric)),
        Section("inside", "Inside the network", _inside(source)),
        Section("time", "Time line", _time(source)),
    ]
    return [section for section in sections if section.panels]


def _panel(
    id: str, title: str, lead: str, figure: Figure | None, kind: str = "", span: int = 12
) -> list[Panel]:
    return [Panel(id, title, lead, figure, kind, span)] if figure is not None else []


def spans_of(count: int) -> list[int]:
    """Columns for so many small figures, so that every row is full: three or four, or two."""
    tail = {0: [], 1: [3] * 4, 2: [6] * 2}[count % 3] if count > 1 else [12] * count
    return [4] * (count - len(tail)) + tail


def _curves(source: Source) -> tuple[Panel, ...]:
    figure = curves_figure(source, curves_of(source))
    lead = "One line a trial, in the colour of its rank; the best is on top."
    return tuple(_panel("curves", "", lead, figure, "shaded"))


def _mattered(
    source: Source, axes: Sequence[ValueAxis], weights: Weights, metric: str
) -> tuple[Panel, ...]:
    lead = f"How much each hyperparameter had to do with {metric}."
    panels = _panel("importance", "Importance", lead, importance_figure(source, weights))
    slices = [(axis, slice_figure(source, slice_of(source, axis))) for axis in axes[:MAX_SLICES]]
    drawn = [(axis, figure) for axis, figure in slices if figure is not None]
    for place, (span, (axis, figure)) in enumerate(zip(spans_of(len(drawn)), drawn, strict=True)):
        title, lead = words.printable(axis.title), f"{metric} at each value"
        panels.append(Panel(f"slice-{place}", title, lead, figure, "slice", span))
    return tuple(panels)


def _together(source: Source, axes: Sequence[ValueAxis], metric: str) -> tuple[Panel, ...]:
    parallel = parallel_figure(source, parallel_of(source, axes))
    pairs = pairs_figure(source, axes)
    brush = "Drag along an axis to keep only trials that pass there; the table follows."
    return (
        *_panel("parallel", "Parallel coordinates", brush, parallel, "parallel"),
        *_panel("pairs", "Pairs", f"Mean {metric} at each pair of values.", pairs, "pairs"),
    )


def _cost(source: Source, metric: str) -> tuple[Panel, ...]:
    progress = progress_figure(source, progress_of(source))
    tradeoff = tradeoff_figure(source, tradeoffs_of(source))
    rising = "How the best score came about."
    return (
        *_panel("progress", "Best so far", rising, progress, "", 6),
        *_panel("tradeoff", f"What {metric} costs", "Left is cheaper.", tradeoff, "", 6),
    )


def _inside(source: Source) -> tuple[Panel, ...]:
    """A panel for each dense block, and one for the gradients; most runs keep neither."""
    reuse = source.inside.reuse
    panels = []
    blocks = reuse.blocks if reuse else ()
    for place, (span, block) in enumerate(zip(spans_of(len(blocks)), blocks, strict=True)):
        figure = reuse_figure(reuse.row, block) if reuse else None
        name = f"Feature reuse in {words.printable(block.name)}"
        lead = "Which earlier layers each layer reads."
        panels += _panel(f"reuse-{place}", name, lead, figure, "slice", span)
    lead = "Do they reach the first layers?"
    figure = gradients_figure(source.inside.watched)
    return (*panels, *_panel("gradients", "Gradients", lead, figure))


def _time(source: Source) -> tuple[Panel, ...]:
    lead = "Which worker trained which trial when."
    return tuple(_panel("timeline", "", lead, timeline_figure(source, timeline_of(source))))
