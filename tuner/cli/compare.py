"""`tuner compare`: experiments, or groups of their trials, side by side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli import terminal
from tuner.cli.options import (
    check_format,
    format_option,
    json_option,
    only_option,
    output_option,
    results_option,
)
from tuner.errors import InputError, Problem
from tuner.report import render
from tuner.report.render import Style

if TYPE_CHECKING:
    from tuner.report.comparison import Comparison
    from tuner.report.trial_fields import Setting

FORMATS = ("table", "markdown", "latex", "csv", "json", "html")


@click.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--by", default="", metavar="VALUE", help="Compare groups: model.family, depth, …")
@click.option("--baseline", default="", metavar="SIDE", help="The others are compared with it.")
@click.option(
    "--target",
    type=float,
    metavar="SCORE",
    help="Cost of reaching this score. Default: the best that every side reaches.",
)
@only_option
@click.option(
    "--metric",
    default="",
    metavar="METRIC",
    help="Compare another recorded metric: loss (of training), val_loss, … Default: the "
    "objective's.",
)
@format_option(", ".join(FORMATS) + ".")
@output_option
@json_option
@results_option
def command(
    names: tuple[str, ...],
    by: str,
    baseline: str,
    target: float | None,
    settings: list[Setting],
    metric: str,
    form: str,
    output: Path | None,
    as_json: bool,
    results_dir: Path,
) -> None:
    """Experiments side by side: scores, cost of equal scores, and which differences are real.

    NAME is a folder under --results, or a path. The first side is the baseline. With --by the
    trials of all NAMEs are grouped by a value. Trials are paired by seed and by the settings that
    both sides have, where they have them.
    """
    form = "json" if as_json else form
    check_format(form, FORMATS)
    if form == "html" and output is None:
        raise InputError(Problem("needs a file", "-f html", expected="-o FILE"))
    if target is not None and not math.isfinite(target):
        raise InputError(Problem("this is no score", "--target", str(target), "a finite number"))
    # Late: they need numpy.
    from tuner.actions.compare import read_sources
    from tuner.report.comparison import CompareOptions, compare

    sources = read_sources(names, results_dir, settings, metric)
    comparison = compare(sources, CompareOptions(by, baseline, target))
    if form == "html":
        from tuner.report.page.compare_page import comparison_page

        text = comparison_page(sources, comparison)
    else:
        text = _rendered(comparison, form, terminal.style_for() if output is None else render.plain)
    terminal.emit(text, output)


def _rendered(comparison: Comparison, form: str, style: Style) -> str:
    from tuner.report.comparison_tables import sections, to_csv, to_json

    if form == "json":
        return terminal.json_text(to_json(comparison))
    if form == "csv":
        return to_csv(comparison)
    tables = sections(comparison)
    if form == "table":
        return render.to_text(*tables, width=terminal.width(), style=style)
    return (render.to_markdown if form == "markdown" else render.to_latex)(*tables)
