"""The page of a comparison: sentences, sides in numbers, figures, tables, and every trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.report import words
from tuner.report.comparing import sides
from tuner.report.comparing.compare import Comparison, SideSummary
from tuner.report.comparing.comparison import sections
from tuner.report.comparing.sheet import Section as Sheet
from tuner.report.page.compare_findings import compare_findings
from tuner.report.page.compare_trials import compare_columns
from tuner.report.page.contest import Contest, contest_of
from tuner.report.page.figure import Figure
from tuner.report.page.figures_forest import forest_figure
from tuner.report.page.figures_ratios import ratios_figure
from tuner.report.page.figures_sides import scores_figure, so_far_figure
from tuner.report.page.figures_sizes import sizes_figure
from tuner.report.page.findings import Finding
from tuner.report.page.html import render_file
from tuner.report.page.panels import Panel, Section
from tuner.report.page.text import clean, embedded, number

_MOST_NAMES = 4  # in the title


@dataclass(frozen=True)
class SideView:
    """One side in numbers; `color` is a number of the page's palette."""

    name: str
    color: int
    is_baseline: bool
    is_best: bool
    mean: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class TableView:
    """A table of `tuner compare` as it is printed; `numeric` are the places of its numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    numeric: tuple[int, ...]
    marked: tuple[int, ...]


@dataclass(frozen=True)
class ComparisonView:
    """What the template shows; `data` is what its scripts read."""

    id: str
    name: str
    facts: list[str]
    head: str
    target: str
    sides: list[SideView]
    findings: list[Finding]
    sections: list[Section]
    tables: list[TableView]
    counted: str
    num_trials: int
    data: str


def render_comparison(sources: Sequence[sides.Source], found: Comparison) -> str:
    """The whole file, of a comparison and what it was computed from. Deterministic."""
    view = _view(contest_of(sources, found))
    return render_file("compare.html.j2", {"title": view.name, "view": view})


def _view(contest: Contest) -> ComparisonView:
    found = contest.found
    drawn = _sections(contest)
    panels = [panel for section in drawn for panel in section.panels]
    counted = sum(not place.out for place in contest.places)
    return ComparisonView(
        id="compared",
        name=_name(contest),
        facts=_facts(contest),
        head=contest.head,
        target=words.score_text(found.target) if found.target is not None else "",
        sides=[_side(contest, place, side) for place, side in enumerate(found.sides)],
        findings=compare_findings(contest),
        sections=drawn,
        tables=[_table(sheet) for sheet in sections(found)],
        counted=f"{counted:,} of {words.counted(len(contest.places), 'trial')}",
        num_trials=len(contest.places),
        data=embedded(_data(contest, panels)),
    )


def _name(contest: Contest) -> str:
    if not contest.found.by:
        names = [side.name for side in contest.found.sides]
        several = len(names) > _MOST_NAMES
        return f"{len(names)} experiments" if several else clean(words.joined(names))
    experiments = words.joined([source.record.name for source in contest.sources])
    return clean(f"{experiments} by {contest.head}")


def _facts(contest: Contest) -> list[str]:
    found = contest.found
    better = "higher" if found.direction == "max" else "lower"
    facts = ["comparison", f"{found.metric}, {better} is better"]
    return [clean(fact) for fact in (*facts, f"baseline {contest.named(found.baseline)}")]


def _side(contest: Contest, place: int, side: SideSummary) -> SideView:
    scores = [s.best.score for s in contest.found.sides if s.best]
    top = max((contest.sign * score for score in scores), default=None)
    row = side.best.row if side.best else None
    to = side.reached
    trial = contest.trial_text(side.best.experiment, row.number) if side.best and row else ""
    cells = (
        f"{side.num_trials:,}",
        f"{side.num_configurations:,}",
        words.score_text(side.best.score if side.best else None),
        clean(trial) or words.NOTHING,
        words.count_text(row.parameters if row else None),
        words.count_text(row.macs if row else None),
        f"{to.count:,} of {to.n:,}" if to else words.NOTHING,
        _epochs(to.epochs if to else None),
        words.seconds_text(to.seconds if to else None),
    )
    return SideView(
        name=clean(side.name),
        color=place % 8,
        is_baseline=side.name == contest.found.baseline,
        is_best=side.best is not None and contest.sign * side.best.score == top,
        mean=_mean(side),
        cells=cells,
    )


def _mean(side: SideSummary) -> str:
    if side.mean is None:
        return words.NOTHING
    mean = words.score_text(side.mean.mean)
    half = side.mean.high - side.mean.mean
    return f"{mean} ± {words.score_text(half)}" if side.mean.is_bounded else mean


def _epochs(value: float | None) -> str:
    return words.NOTHING if value is None else f"{number(value, 3)}"


def _sections(contest: Contest) -> list[Section]:
    metric = words.printable(contest.found.metric)
    less = f"The mean of each less that of {contest.named(contest.found.baseline)}, the baseline."
    real = _panel("forest", "", clean(less), forest_figure(contest))
    scores = _panel("spread", "", "Every trial that is counted.", scores_figure(contest))
    courses = "How soon a trial gets there."
    cost = (
        *_panel("sofar", "Best so far", courses, so_far_figure(contest), 6),
        *_panel("sizes", f"{metric} and size", "Left is smaller.", sizes_figure(contest), 6),
        *_panel("ratios", "At equal score", "What it takes.", ratios_figure(contest)),
    )
    found = [
        Section("real", "Differences", tuple(real)),
        Section("scores", "Scores", tuple(scores)),
        Section("cost", "Cost", cost),
    ]
    return [section for section in found if section.panels]


def _panel(id: str, title: str, lead: str, figure: Figure | None, span: int = 12) -> list[Panel]:
    return [Panel(id, title, lead, figure, "", span)] if figure is not None else []


def _table(sheet: Sheet) -> TableView:
    places = range(len(sheet.heads))
    return TableView(
        clean(sheet.title),
        tuple(clean(head) for head in sheet.heads),
        tuple(tuple(clean(cell) for cell in row) for row in sheet.rows),
        tuple(clean(note) for note in sheet.notes),
        tuple(place for place in places if sheet.is_numeric(place)),
        tuple(sorted(sheet.marked)),
    )


def _data(contest: Contest, panels: Sequence[Panel]) -> dict[str, Any]:
    has_best = any(not place.out for place in contest.places)
    return {
        "metric": clean(contest.found.metric),
        "best": 0 if has_best else None,
        "columns": [column.to_json() for column in compare_columns(contest)],
        "figures": {panel.id: panel.figure.to_json() for panel in panels},
    }
