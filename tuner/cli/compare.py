"""`tuner compare`: experiments, or groups of their trials, side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli import terminal
from tuner.cli.options import json_option, output_option, results_option
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.report.record import read_record
from tuner.report.tabular.render import plain

if TYPE_CHECKING:
    from tuner.report.comparing.compare import Comparison
    from tuner.report.comparing.sides import Source

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
    from tuner.report.comparing import compare  # late: needs numpy

    options = compare.CompareOptions(by, baseline, target)
    sources = _sources(names, results_dir)
    found = compare.compare(sources, options)
    text = _page(sources, found) if form == "html" else _rendered(found, form, output is None)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_atomically(output, text)
    except OSError as error:
        problem = Problem("cannot write", where=str(output), received=error.strerror or str(error))
        raise InputError(problem) from error


def _sources(names: Sequence[str], results_dir: Path) -> list[Source]:
    """Records first, so that a wrong name or objective is said before the curves are read."""
    from tuner.report.comparing import sides

    folders = [RunFolder.open(name, results_dir) for name in names]
    records = [read_record(folder) for folder in folders]
    records = [
        replace(record, name=name) if _is_ambiguous(folder, folders) else record
        for name, folder, record in zip(names, folders, records, strict=True)
    ]
    sides.check_objectives(records)
    return [sides.read_source(f, record) for f, record in zip(folders, records, strict=True)]


def _is_ambiguous(folder: RunFolder, folders: Sequence[RunFolder]) -> bool:
    """Whether another folder has its name, so that only the path tells them apart."""
    return any(other.name == folder.name and other != folder for other in folders)


def _page(sources: Sequence[Source], found: Comparison) -> str:
    from tuner.report.page import comparison_page

    return comparison_page(sources, found)


def _rendered(found: Comparison, form: str, to_terminal: bool) -> str:
    from tuner.report.comparing import comparison, sheet

    if form == "json":
        return json.dumps(comparison.to_json(found), indent=2, allow_nan=False) + "\n"
    if form == "csv":
        return comparison.to_csv(found)
    sections = comparison.sections(found)
    if form == "markdown":
        return sheet.to_markdown(sections)
    if form == "latex":
        return sheet.to_latex(sections)
    style = terminal.style_for() if to_terminal else plain
    return sheet.to_text(sections, width=terminal.width(), style=style)


def _checked_format(form: str) -> str:
    if form not in FORMATS:
        expected = ", ".join(FORMATS)
        raise InputError(Problem("there is no such format", "--format", form, expected))
    return form
