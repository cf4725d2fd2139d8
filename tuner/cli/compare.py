"""`tuner compare`: experiments, or groups of their trials, side by side."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli import terminal
from tuner.cli.options import json_option, output_option, results_option
from tuner.errors import InputError, Problem
from tuner.report.render import plain

if TYPE_CHECKING:
    from tuner.report.comparison import Comparison

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
@click.option(
    "-f",
    "--format",
    "form",
    default="table",
    show_default=True,
    metavar="FORMAT",
    help=", ".join(FORMATS) + ".",
)
@output_option()
@json_option()
@results_option()
def command(
    names: tuple[str, ...],
    by: str,
    baseline: str,
    target: float | None,
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
    form = _checked_format("json" if as_json else form)
    if form == "html" and output is None:
        raise InputError(Problem("needs a file", "-f html", expected="-o FILE"))
    if target is not None and not math.isfinite(target):
        raise InputError(Problem("this is no score", "--target", str(target), "a finite number"))
    # Late: they need numpy.
    from tuner.actions.compare import read_sources
    from tuner.report.comparison import CompareOptions, compare

    sources = read_sources(names, results_dir)
    found = compare(sources, CompareOptions(by, baseline, target))
    if form == "html":
        from tuner.report.page.compare_page import comparison_page

        text = comparison_page(sources, found)
    else:
        text = _rendered(found, form, output is None)
    terminal.emit(text, output)


def _rendered(found: Comparison, form: str, to_terminal: bool) -> str:
    from tuner.report import comparison, render

    if form == "json":
        return json.dumps(comparison.to_json(found), indent=2, allow_nan=False) + "\n"
    if form == "csv":
        return comparison.to_csv(found)
    sections = comparison.sections(found)
    if form == "markdown":
        return render.to_markdown(*sections)
    if form == "latex":
        return render.to_latex(*sections)
    style = terminal.style_for() if to_terminal else plain
    return render.to_text(*sections, width=terminal.width(), style=style)


def _checked_format(form: str) -> str:
    if form not in FORMATS:
        expected = ", ".join(FORMATS)
        raise InputError(Problem("there is no such format", "--format", form, expected))
    return form
