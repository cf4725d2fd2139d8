"""The page as text: everything in one file, and nothing in it that a trial could execute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.report import words
from tuner.report.page import overview
from tuner.report.page.axes import axes_of
from tuner.report.page.confirmed_view import ConfirmedView, confirmed_view
from tuner.report.page.figures_experiments import scores_figure, scores_of
from tuner.report.page.findings import Finding, findings
from tuner.report.page.histogram import Histogram, Sparkline, histogram_of, sparkline_of
from tuner.report.page.html import render_file
from tuner.report.page.panels import Panel, Section, sections_of
from tuner.report.page.source import Source
from tuner.report.page.text import clean, embedded
from tuner.report.page.trials import trial_columns
from tuner.report.page.weights import weights_of


@dataclass(frozen=True)
class ExperimentView:
    """What the template shows of one experiment; `data` is what its scripts read."""

    id: str
    name: str
    description: str
    objective: str
    facts: list[str]
    tiles: list[overview.Tile]
    histogram: Histogram | None
    states: list[overview.StateCount]
    best_values: list[tuple[str, str]]
    best_curve: Sparkline | None
    findings: list[Finding]
    confirmed: ConfirmedView | None
    sections: list[Section]
    failures: list[overview.Failure]
    num_trials: int
    yaml: str
    environment: list[tuple[str, str]]
    data: str


def render_page(sources: Sequence[Source]) -> str:
    """The whole file. Deterministic: the same ledgers give the same page."""
    views = [_view(source, place) for place, source in enumerate(sources)]
    comparison = _comparison(sources) if len(sources) > 1 else None
    context = {"title": _title(views), "experiments": views, "comparison": comparison}
    return render_file("page.html.j2", context)


def _view(source: Source, place: int) -> ExperimentView:
    record = source.record
    axes = axes_of(source)
    weights = weights_of(source, axes)
    sections = sections_of(source, axes, weights)
    confirmed = confirmed_view(source)
    panels = [panel for section in sections for panel in section.panels]
    return ExperimentView(
        id=f"e{place}",
        name=clean(record.name),
        description=clean(str(source.document.get("description") or "")),
        objective=f"{clean(record.metric)}, {overview.better_text(source)}",
        facts=overview.facts(source),
        tiles=overview.tiles(source),
        histogram=histogram_of(source),
        states=overview.state_counts(source),
        best_values=overview.best_values(source),
        best_curve=sparkline_of(source),
        findings=[_cleaned(finding) for finding in findings(source, weights)],
        confirmed=confirmed,
        sections=sections,
        failures=overview.failures(source),
        num_trials=len(source.rows),
        yaml=clean(source.yaml),
        environment=overview.environment_rows(dict(record.environment)),
        data=embedded(_data(source, [*([confirmed.panel] if confirmed else []), *panels])),
    )


def _data(source: Source, panels: Sequence[Panel]) -> dict[str, Any]:
    best = source.best
    return {
        "metric": clean(source.record.metric),
        "best": best.number if best else None,
        "columns": [column.to_json() for column in trial_columns(source)],
        "figures": {panel.id: panel.figure.to_json() for panel in panels},
    }


def _comparison(sources: Sequence[Source]) -> dict[str, Any]:
    """The overview of several experiments."""
    shared = overview.shared_objective(sources)
    figure = scores_figure([scores_of(s) for s in sources], shared[0]) if shared else None
    panel = Panel("scores", "", "", figure, "") if figure else None
    data = {"figures": {"scores": figure.to_json()} if figure else {}, "columns": []}
    rows = [_comparison_row(source, place) for place, source in enumerate(sources)]
    return {"rows": rows, "panel": panel, "data": embedded(data)}


def _comparison_row(source: Source, place: int) -> dict[str, Any]:
    best = source.best
    return {
        "id": f"e{place}",
        "name": clean(source.record.name),
        "objective": clean(source.record.metric),
        "score": words.score_text(best.score if best else None),
        "trial": best.number if best else None,
        "best_values": clean(words.values_text(best.values)) if best else "",
        "ranked": len(source.ranked),
        "trials": len(source.rows),
        "parameters": words.count_text(best.parameters if best else None),
        "seconds": words.seconds_text(overview.wall_seconds(source)),
    }


def _cleaned(finding: Finding) -> Finding:
    return Finding(finding.question, tuple(clean(text) for text in finding.sentences))


def _title(views: Sequence[ExperimentView]) -> str:
    return words.joined([view.name for view in views]) or "tuner"
