"""The page of a comparison: sentences, sides in numbers, figures, tables, and every trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tuner.report import format
from tuner.report.comparison import Comparison, SideSummary
from tuner.report.comparison_tables import counts_text, tables
from tuner.report.page import contest as figures
from tuner.report.page import trials as table
from tuner.report.page.contest import COLORS, COST_NAMES, Contest, verdict_text
from tuner.report.page.html import clean, number, render_file
from tuner.report.page.overview import Answer
from tuner.report.page.page import PageSection, page_data, panel_of
from tuner.report.sides import ComparedExperiment, SideDifference
from tuner.report.statistics import Verdict
from tuner.report.table import Table

_MOST_NAMES = 4  # in the title
_MOST_SIDES = 6  # in one sentence


def comparison_page(sources: Sequence[ComparedExperiment], comparison: Comparison) -> str:
    """The whole file, of a comparison and what it was computed from. Deterministic."""
    view = _view(Contest(sources, comparison))
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
            clean(f"{comparison.objective.metric}, {contest.objective.better} is better"),
            clean(f"baseline {contest.baseline}"),
        ],
        "head": comparison.head,
        "target": "" if comparison.target is None else format.score_text(comparison.target),
        "sides": [_side(contest, place, side) for place, side in enumerate(comparison.sides)],
        "findings": compare_findings(contest),
        "sections": drawn,
        "tables": [_table(table) for table in tables(comparison)],
        "counted": f"{counted:,} of {format.counted(len(trials), 'trial')}",
        "num_trials": len(trials),
        "data": page_data(comparison.objective.metric, 0 if counted else None, columns, panels),
    }


def _name(contest: Contest) -> str:
    if contest.comparison.by:
        experiments = format.joined([source.record.name for source in contest.sources])
        return clean(f"{experiments} by {contest.comparison.head}")
    names = [side.name for side in contest.comparison.sides]
    return f"{len(names)} experiments" if len(names) > _MOST_NAMES else clean(format.joined(names))


def _side(contest: Contest, place: int, side: SideSummary) -> dict[str, Any]:
    """One side in numbers; `color` is a number of the page's palette."""
    best, reached = side.best, side.reached
    row = best.row if best else None
    trial = contest.trial_text(best.experiment, best.row.number) if best else ""
    epochs = reached.epochs if reached else None
    return {
        "name": clean(side.name),
        "color": place % COLORS,
        "is_baseline": side.name == contest.comparison.baseline,
        "is_best": best is not None and best.score == contest.comparison.top_score,
        "mean": side.mean_text,
        "cells": (
            f"{len(side.entries):,}",
            f"{len(side.tried):,}",
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
        table.text_column("side", contest.comparison.head, "side", on),
        table.text_column("counted", "counted", "fact", [trial.out or "yes" for trial in trials]),
        table.state_column(rows),
        table.row_column("score", rows),
        *table.value_columns(rows, [name for name in names if name != by]),
        *(table.row_column(n, rows) for n in ("epochs", "parameters", "macs", "train", "seed")),
        table.reason_column(rows),
    ]


# ---------------------------------------------------------------------- findings


def compare_findings(contest: Contest) -> list[Answer]:
    """The questions that this comparison can answer."""
    comparison = contest.comparison
    answers = {
        "Do they compare?": comparison.incomparable,
        "Is there a difference?": _real(contest),
        "Who is ahead?": [] if comparison.incomparable else _ahead(contest),
        "At what cost?": _cost(contest),
        "What is left out?": _left_out(contest),
        "Mind that": comparison.notes,
    }
    return [Answer(question, tuple(map(clean, said))) for question, said in answers.items() if said]


def _ahead(contest: Contest) -> list[str]:
    gain = contest.objective.gain
    known = [(s, s.mean.mean, s.best) for s in contest.comparison.sides if s.mean and s.best]
    if not known:
        return ["No trial of any side has a score."]
    known.sort(key=lambda side: -gain(side[1]))
    means = [
        f"{contest.named(side.name)} {side.mean_text} (n = {len(side.entries):,})"
        for side, _, _ in known[:_MOST_SIDES]
    ]
    more = f"; and {len(known) - _MOST_SIDES} more" if len(known) > _MOST_SIDES else ""
    side, _, best = max(known, key=lambda side: gain(side[2].score))
    return [
        f"Mean {contest.metric}: {'; '.join(means)}{more}.",
        f"The best single trial is {contest.trial_text(best.experiment, best.row.number)} of "
        f"{contest.named(side.name)} with {format.score_text(best.score)}; the best of many is "
        "optimistic.",
    ]


def _real(contest: Contest) -> list[str]:
    differences = contest.comparison.differences
    said = [_difference(contest, row) for row in differences[:_MOST_SIDES]]
    if (rest := len(differences) - _MOST_SIDES) > 0:
        said.append(f"{rest} more differences stand below.")
    if any(d.difference and d.difference.verdict is Verdict.UNDECIDABLE for d in differences):
        said.append(
            "Not decidable means that so few values could not show any difference, however large; "
            "more seeds would."
        )
    return said


def _difference(contest: Contest, row: SideDifference) -> str:
    names = f"{contest.named(row.side)} against {contest.baseline}"
    if row.difference is None:
        return f"{names}: {row.how}."
    without = f", {row.alone_text}" if row.alone_text else ""
    return f"{names}: {row.difference_text}, {verdict_text(row)}; {row.how}{without}."


def _cost(contest: Contest) -> list[str]:
    comparison = contest.comparison
    if comparison.target is None:
        return []
    priced = [side for side in comparison.others if any(side.ratios.values())]
    score = f"{contest.metric} {format.score_text(comparison.target)}"
    why = "" if comparison.target_is_given else ", the best that every side reaches,"
    said = [
        f"For {score}{why} {contest.named(side.name)} needs {_multiples(side)} of "
        f"{contest.baseline}."
        for side in priced[:_MOST_SIDES]
    ]
    missed = [s.name for s in comparison.sides if s.reached and not s.reached.count]
    if missed:
        names = format.joined([contest.named(name) for name in missed])
        said.append(f"{names} never {'reaches' if len(missed) == 1 else 'reach'} {score}.")
    return said


def _multiples(side: SideSummary) -> str:
    known = [(COST_NAMES[n], side.ratios[n]) for n in ("parameters", "macs", "epochs", "seconds")]
    return format.joined([f"{ratio:.3g}× the {name}" for name, ratio in known if ratio])


def _left_out(contest: Contest) -> list[str]:
    comparison = contest.comparison
    said = [
        f"Of {contest.named(side.name)}: {counts_text(side.left_out)}."
        for side in comparison.sides
        if side.left_out
    ]
    if comparison.left_out:
        said.append(f"On no side: {counts_text(comparison.left_out)}.")
    stopped = [f"{s.stopped:,} of {contest.named(s.name)}" for s in comparison.sides if s.stopped]
    if stopped:
        said.append(f"Stopped early by a rule, and still counted: {format.joined(stopped)}.")
    return said
