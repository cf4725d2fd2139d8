"""`tuner replay`: what a stopping rule would have done to the recorded curves."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli import terminal
from tuner.cli.options import (
    check_format,
    count_option,
    format_option,
    json_option,
    output_option,
    results_option,
)
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder
from tuner.report import render
from tuner.report.render import Style

if TYPE_CHECKING:
    from tuner.report.replay import ReplayedRule, Replays

FORMATS = ("table", "csv", "json", "markdown", "latex", "html")


@click.command("replay")
@click.argument("name", metavar="NAME")
@click.option(
    "--stop",
    "stops",
    multiple=True,
    metavar="RULE",
    help="A rule as search.stop has it: '{rule: asha, min_epochs: 4}', or a list of rules that "
    "are asked together. May be given often: a row for each.",
)
@click.option(
    "-m",
    "--max-trials",
    "counts",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Only so many trials begin. May be given often.",
)
@count_option("-j", "--workers", default=1, text="Trials that run at a time.")
@format_option(", ".join(FORMATS) + ".")
@output_option
@json_option
@results_option
def command(
    name: str,
    stops: tuple[str, ...],
    counts: tuple[int, ...],
    workers: int,
    form: str,
    output: Path | None,
    as_json: bool,
    results_dir: Path,
) -> None:
    """What stopping rules would have done to an experiment that was trained without.

    Its trials begin in 200 random orders, and the rule sees every epoch as a run shows it. The
    table says how many epochs it saves, whether the best trials come to their end, and what is
    lost. Nothing is trained. NAME is a folder under --results, or a path.
    """
    form = "json" if as_json else form
    check_format(form, FORMATS)
    if form == "html" and output is None:
        raise InputError(Problem("needs a file", "-f html", expected="-o FILE"))
    if not stops and not counts:
        what, mend = (
            "says no rule",
            f"tuner replay {shlex.quote(name)} --stop '{{rule: asha, min_epochs: 4}}'",
        )
        raise InputError(Problem(what, "tuner replay", expected="--stop RULE", mend=mend))
    # Late: they need numpy.
    from tuner.actions.replay import replay_rules

    folder = RunFolder.open(name, results_dir)
    replays = replay_rules(folder, _rules(stops, counts), workers=workers)
    style = terminal.style_for() if output is None else render.plain
    terminal.emit(_rendered(replays, form, style), output)


def _rules(stops: tuple[str, ...], counts: tuple[int, ...]) -> list[ReplayedRule]:
    """Every rule with every number of trials."""
    from dataclasses import replace

    from tuner.actions.replay import read_rule
    from tuner.report.replay import ReplayedRule

    rules = [read_rule(text) for text in stops] or [ReplayedRule()]
    return [replace(rule, max_trials=count) for count in counts or (None,) for rule in rules]


def _rendered(replays: Replays, form: str, style: Style) -> str:
    from tuner.report.replay import plain_table, replay_table

    if form == "json":
        return terminal.json_text(render.finite(replays.to_json()))
    if form == "csv":
        return render.to_csv(plain_table(replays))
    if form == "html":
        from tuner.report.page.replayed import replay_page

        return replay_page(replays)
    table = replay_table(replays)
    if form == "table":
        return render.to_text(table, width=terminal.width(), style=style)
    return (render.to_markdown if form == "markdown" else render.to_latex)(table)
