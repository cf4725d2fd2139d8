"""The page of a comparison: sentences, sides in numbers, figures, tables, and every trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.report import format, sides
from tuner.report.comparison import Comparison, SideSummary, sections
from tuner.report.page import contest_figures as figures
from tuner.report.page import trials as table
from tuner.report.page.contest import COLORS, Contest, compare_findings, contest_of, mean_text
from tuner.report.page.html import clean, number, render_file
from tuner.report.page.page import PageSection, page_data, panel_of
from tuner.report.table import Table

_MOST_NAMES = 4  # in the title


def render_comparison(sources: Sequence[sides.ComparedExperiment], comparison: Comparison) -> str:
    """The whole file, of a comparison and what it was computed from. Deterministic."""
    view = _view(contest_of(sources, comparison))
    return render_file("compare.html.j2", {"title": view["name"], "view": view})


def _view(contest: Contest) -> dict[str, Any]:
    """What the template shows; `data` is what its scripts read."""
    comparison, trials = contest.comparison, contest.trials
    drawn = _sections(contest)
    panels = [panel for section in drawn for panel in section.panels]
    counted = sum(not trial.out for trial in trials)
    columns = compare_columns(contest)
    return {
        "id": "compared",
        "name": _name(contest),
        "facts": [
            "comparison",
            clean(f"{comparison.metric}, {contest.objective.better} is better"),
            clean(f"baseline {contest.baseline}"),
        ],
        "head": contest.head,
        "target": "" if comparison.target is None else format.score_text(comparison.target),
        "sides": [_side(contest, place, side) for place, side in enumerate(comparison.sides)],
        "findings": compare_findings(contest),
        "sections": drawn,
        "tables": [_table(table) for table in sections(comparison)],
        "counted": f"{counted:,} of {format.counted(len(trials), 'trial')}",
        "num_trials": len(trials),
        "data": page_data(comparison.metric, 0 if counted else None, columns, panels),
    }


def _name(contest: Contest) -> str:
    if contest.comparison.by:
        experiments = format.joined([source.record.name for source in contest.sources])
        return clean(f"{experiments} by {contest.head}")
    names = [side.name for side in contest.comparison.sides]
    return f"{len(names)} experiments" if len(names) > _MOST_NAMES else clean(format.joined(names))


def _side(contest: Contest, place: int, side: SideSummary) -> dict[str, Any]:
    """One side in numbers; `color` is a number of the page's palette."""
    best, reached = side.best, side.reached
    row = best.row if best else None
    trial = contest.trial_text(best.experiment, best.row.number) if best else ""
    scores = [s.best.score for s in contest.comparison.sides if s.best]
    top = None if contest.comparison.incomparable else contest.objective.best(scores)
    epochs = reached.epochs if reached else None
    return {
        "name": clean(side.name),
        "color": place % COLORS,
        "is_baseline": side.name == contest.comparison.baseline,
        "is_best": best is not None and best.score == top,
        "mean": mean_text(side),
        "cells": (
            f"{side.num_trials:,}",
            f"{side.num_configurations:,}",
            format.score_text(best.score if best else None),
            clean(trial) or format.NOTHING,
            format.count_text(row.parameters if row else None),
            format.count_text(row.macs if row else None),
            f"{reached.count:,} of {reached.n:,}" if reached else format.NOTHING,
            format.NOTHING if epochs is None else f"{number(epochs, 3)}",
            format.seconds_text(reached.seconds if reached else None),
        ),
    }


def _sections(contest: Contest) -> list[PageSection]:
    less = f"The mean of each less that of {contest.baseline}, the baseline."
    soon, size = "How soon a trial gets there.", f"{contest.metric} and size"
    real = panel_of("forest", "", clean(less), figures.forest_figure(contest))
    scores = panel_of("spread", "", "Every trial that is counted.", figures.scores_figure(contest))
    cost = (
        *panel_of("sofar", "Best so far", soon, figures.so_far_figure(contest), span=6),
        *panel_of("sizes", size, "Left is smaller.", figures.sizes_figure(contest), span=6),
        *panel_of("ratios", "At equal score", "What it takes.", figures.ratios_figure(contest)),
    )
    drawn = [
        PageSection("real", "Differences", real),
        PageSection("scores", "Scores", scores),
        PageSection("cost", "Cost", cost),
    ]
    return [section for section in drawn if section.panels]


def _table(table: Table) -> dict[str, Any]:
    """A table of `tuner compare` as it is printed; `numeric` are the places of its numbers."""
    return {
        "title": clean(table.title),
        "heads": [clean(head) for head in (column.title for column in table.columns)],
        "rows": [[clean(cell) for cell in row] for row in table.texts()],
        "notes": [clean(note) for note in table.notes],
        "numeric": [place for place, column in enumerate(table.columns) if column.numeric],
        "marked": sorted(table.marked),
    }


def compare_columns(contest: Contest) -> list[table.TrialColumn]:
    """Trials that take part first, best first. A trial is known by its place, which is unique."""
    trials, by = contest.trials, contest.comparison.by
    rows = [trial.row for trial in trials]
    names = dict.fromkeys(n for source in contest.sources for n in source.record.value_names)
    texts = tuple(clean(contest.trial_text(t.experiment, t.row.number)) for t in trials)
    on = [trial.side or format.NOTHING for trial in trials]
    return [
        table.TrialColumn("trial", "trial", "trial", texts, tuple(range(len(trials)))),
        table.text_column("side", contest.head, "side", on),
        table.text_column("counted", "counted", "fact", [trial.out or "yes" for trial in trials]),
        table.state_column(rows),
        table.row_column("score", rows),
        *table.value_columns(rows, [name for name in names if name != by]),
        *(table.row_column(n, rows) for n in ("epochs", "parameters", "macs", "train", "seed")),
        table.reason_column(rows),
    ]
