"""`tuner show`: one trial, looked at closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuner.cli import terminal
from tuner.cli.curves import curve_lines
from tuner.cli.options import json_option, results_option
from tuner.cli.which import wanted_trial
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow, TrialRow
from tuner.report import words
from tuner.report.tabular.render import Style, finite


@click.command("show")
@click.argument("name", metavar="NAME")
@click.argument("trial", required=False, metavar="[TRIAL|best]")
@click.option(
    "-F",
    "--follow",
    "follows",
    is_flag=True,
    help="Watch TRIAL, or the newest one that runs, until it ends or Ctrl-C.",
)
@click.option(
    "--features", is_flag=True, help="Of a densenet: which earlier layers each layer reads."
)
@click.option(
    "--gradients",
    is_flag=True,
    help="Norm of the gradient in each layer (of trials with training.watch: [gradients]).",
)
@json_option()
@results_option()
def command(
    name: str,
    trial: str | None,
    follows: bool,
    features: bool,
    gradients: bool,
    as_json: bool,
    results_dir: Path,
) -> int:
    """One trial: configuration, metrics per epoch, timings, reason, files.

    NAME is a folder under --results, or a path. Without TRIAL, the best one. --follow shows the
    curves of a trial while another terminal trains it; on a pipe, a line an epoch.
    """
    folder = RunFolder.open(name, results_dir)
    if follows:
        return _followed(folder, trial, as_json=as_json)
    if features:
        from tuner.cli.features import show_features

        show_features(folder, trial or "best", as_json=as_json)
        return 0
    if gradients:
        from tuner.cli.gradients import show_gradients

        show_gradients(folder, trial or "best", as_json=as_json)
        return 0
    _show(folder, trial or "best", as_json=as_json)
    return 0


def _followed(folder: RunFolder, trial: str | None, *, as_json: bool) -> int:
    from tuner.cli.follow import follow

    if as_json:
        what = "one document cannot grow"
        raise InputError(Problem(what, "--follow --json", mend="leave one of them out"))
    if trial is None:
        return follow(folder, None)
    with Ledger.open_read_only(folder.ledger) as ledger:
        number = wanted_trial(ledger, folder, trial).number
    return follow(folder, number)


def _show(folder: RunFolder, trial: str, *, as_json: bool) -> None:
    with Ledger.open_read_only(folder.ledger) as ledger:
        row = wanted_trial(ledger, folder, trial)
        epochs = ledger.epochs(row.number)
        searched, metric = ledger.value_names, ledger.objective.metric
        source = ledger.source(row.number)
    if as_json:
        document = {"experiment": folder.name, **asdict(row)}
        document["taken_over_from"] = source or None
        document["curves"] = [asdict(epoch) for epoch in epochs]
        terminal.echo_json(finite(document))
        return
    style = terminal.style_for()
    blocks = [
        _head(row, metric, style),
        _configuration(row, searched, style),
        _curves(epochs, style),
        _facts(row, source or str(folder.path), style),
    ]
    click.echo("\n\n".join("\n".join(block) for block in blocks if block))


def _head(row: TrialRow, metric: str, style: Style) -> list[str]:
    score = f", {metric} {words.score_text(row.score)}" if row.score is not None else ""
    at = f" in epoch {row.best_epoch}" if row.score is not None and row.best_epoch else ""
    lines = [style(f"Trial {row.number}: {words.state_word(row.state)}{score}{at}", "title")]
    if row.reason:
        lines += [style(words.printable(line), "bad") for line in row.reason.strip().splitlines()]
    return lines


def _configuration(row: TrialRow, searched: Sequence[str], style: Style) -> list[str]:
    width = max((len(name) for name in row.configuration), default=0)
    lines = [style("Configuration", "head") + style("  (* searched or different)", "dim")]
    for name, value in row.configuration.items():
        mark = "*" if name in searched else " "
        line = f" {mark} {name:<{width}}  {words.value_text(value)}"
        lines.append(style(line, "best") if mark == "*" else line)
    return [*lines, f"   {'seed':<{width}}  {row.seed} (replicate {row.replicate})"]


def _curves(epochs: Sequence[EpochRow], style: Style) -> list[str]:
    if not epochs:
        return []
    head = style(f"Epochs 1 to {epochs[-1].epoch}", "head")
    return [head, *curve_lines(epochs, terminal.width())]


def _facts(row: TrialRow, files: str, style: Style) -> list[str]:
    per_epoch = row.train_seconds / row.epochs if row.train_seconds and row.epochs else None
    facts: dict[str, Any] = {
        "parameters": words.count_text(row.parameters),
        "multiply-adds": f"{words.count_text(row.macs)} per image",
        "training": f"{words.seconds_text(row.train_seconds)}, "
        f"{words.seconds_text(per_epoch)} per epoch",
        "compiling": words.seconds_text(row.compile_seconds),
        "structure": row.structure,
        "worker": words.NOTHING if row.worker is None else f"{row.worker}, attempt {row.attempt}",
        "started": row.started_at or words.NOTHING,
        "finished": row.finished_at or words.NOTHING,
        "files": words.printable(files),
    }
    width = max(len(name) for name in facts)
    return [style("Facts", "head"), *(f"   {n:<{width}}  {v}" for n, v in facts.items())]
