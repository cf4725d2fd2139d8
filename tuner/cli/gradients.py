"""`tuner show --gradients`: whether gradients reach the first layers of a trial."""

from __future__ import annotations

import click

from tuner.cli import terminal
from tuner.cli.which import wanted_trial
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.report import gradients, words
from tuner.report.tabular.render import finite


def show_gradients(folder: RunFolder, trial: str, *, as_json: bool) -> None:
    """Print the norms of a trial's gradients, layer by layer.

    Raises:
        InputError: there is no such trial, or it was not watched.
    """
    with Ledger.open_read_only(folder.ledger) as ledger:
        row = wanted_trial(ledger, folder, trial)
        metric, found = ledger.objective.metric, gradients.read_gradients(ledger, row)
    if found is None:
        what = f"trial {row.number} was not watched"
        mend = "training: {watch: [gradients]}; trials that have ended stay as they are"
        raise InputError(Problem(what, where=folder.name, mend=mend))
    if as_json:
        document = {"experiment": folder.name, "trial": row.number, **gradients.to_json(found)}
        terminal.echo_json(finite(document))
        return
    style, wide = terminal.style_for(), terminal.width()
    score = f", {metric} {words.score_text(row.score)}" if row.score is not None else ""
    lines = [style(f"Trial {row.number}: {words.state_word(row.state)}{score}", "title")]
    if row.values:
        lines.append(style(words.values_text(row.values)[:wide], "dim"))
    title = style("log10 of the gradient's norm, from the first layer to the last", "head")
    click.echo("\n".join([*lines, "", title, *gradients.chart_lines(found, wide)]))
