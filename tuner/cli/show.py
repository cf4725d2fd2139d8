"""`tuner show`: one trial, looked at closely."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli import terminal
from tuner.cli.options import json_option, results_option
from tuner.errors import InputError, Problem
from tuner.ledger.checkpoint import best_checkpoint
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import FINISHED_STATES, EpochRow, TrialRow
from tuner.ledger.trial_name import find_trial, folder_and_trial
from tuner.report import curves, format
from tuner.report.render import Style, finite, grid_lines
from tuner.report.table import text_table

if TYPE_CHECKING:
    from tuner.actions.follow import FollowedTrial
    from tuner.report.inside import BlockReuse

_INTERRUPTED = 130  # as `tail -f` ends
_PANEL_HEIGHT = 6
_LINES_OF_A_PAIR = _PANEL_HEIGHT + 1
_LINES_BESIDE = 6  # head, values, empty lines, the prompt
_DENSE_FAMILIES = ("densenet", "dual_path")
# From dark to bright on any background; 256-colour terminals all have them.
_HEAT = (17, 18, 54, 90, 126, 162, 197, 203, 209, 215, 221, 228)


@click.command("show")
@click.argument("name", metavar="NAME[/TRIAL]")
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
@json_option
@results_option
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
    curves of a trial while another terminal trains it; on a pipe, one line for each epoch.
    """
    folder, trial = folder_and_trial(name, trial, results_dir)
    if follows:
        return _follow(folder, trial, as_json=as_json)
    look = _features if features else _gradients if gradients else _whole_trial
    with Ledger.open_read_only(folder.ledger) as ledger:
        document, lines = look(ledger, folder, find_trial(ledger, folder, trial or "best"))
    if as_json:
        terminal.echo_json(finite({"experiment": folder.name, **document}))
    else:
        click.echo("\n".join(lines))
    return 0


# ---------------------------------------------------------------------- the whole trial

# What --json prints of a trial, and lines for people, which are made only if they are printed.
Look = tuple[dict[str, Any], Iterator[str]]


def _whole_trial(ledger: Ledger, folder: RunFolder, row: TrialRow) -> Look:
    epochs, source = ledger.epochs(row.number), ledger.source(row.number)
    document = asdict(row) | {
        "taken_over_from": source or None,
        "curves": [asdict(epoch) for epoch in epochs],
    }
    searched, metric = ledger.value_names, ledger.objective.metric

    def lines() -> Iterator[str]:
        style = terminal.style_for()
        yield from _head(row, metric, style)
        yield from ("", *_configuration(row, searched, style))
        if epochs:
            yield from ("", style(f"Epochs 1 to {epochs[-1].epoch}", "head"))
            yield from curve_lines(epochs, terminal.width())
        yield from ("", *_facts(row, source or str(folder.path), style))

    return document, lines()


def _head(row: TrialRow, metric: str, style: Style) -> list[str]:
    score = f", {metric} {format.score_text(row.score)}" if row.score is not None else ""
    at = f" in epoch {row.best_epoch}" if row.score is not None and row.best_epoch else ""
    lines = [style(f"Trial {row.number}: {format.state_word(row.state)}{score}{at}", "title")]
    if not row.is_current:
        lines.append(style("of an earlier version of the experiment: it counts no more", "dim"))
    if row.reason:
        lines += [style(format.printable(line), "bad") for line in row.reason.strip().splitlines()]
    return lines


def _configuration(row: TrialRow, searched: Sequence[str], style: Style) -> list[str]:
    values = row.configuration
    rows = [(f"{' *'[n in searched]} {n}", format.value_text(value)) for n, value in values.items()]
    rows.append(("  seed", f"{row.seed} (replicate {row.replicate})"))
    marked = frozenset(place for place, name in enumerate(values) if name in searched)
    table = text_table("Configuration", ("", ""), rows, marked=marked, num_numeric=0)
    head = style("Configuration", "head") + style("  (* searched or different)", "dim")
    return [head, *grid_lines(table, style=style, indent=" ")]


def _facts(row: TrialRow, files: str, style: Style) -> list[str]:
    per_epoch = row.train_seconds / row.epochs if row.train_seconds and row.epochs else None
    facts = {
        "parameters": format.count_text(row.parameters),
        "multiply-adds": f"{format.count_text(row.macs)} per image",
        "training": f"{format.seconds_text(row.train_seconds)}, "
        f"{format.seconds_text(per_epoch)} per epoch",
        "compiling": format.seconds_text(row.compile_seconds),
        "structure": row.structure,
        "worker": _worker_text(row),
        "started": row.started_at or format.NOTHING,
        "finished": row.finished_at or format.NOTHING,
        "files": format.printable(files),
    }
    table = text_table("Facts", ("", ""), facts.items(), num_numeric=0)
    return [style("Facts", "head"), *grid_lines(table, indent="   ")]


def _worker_text(row: TrialRow) -> str:
    parts = [] if row.worker is None else [f"{row.worker}, attempt {row.attempt}"]
    if row.threads is not None:
        parts.append(f"{format.threads_text(row.threads)} thread{'s' * (row.threads != 1)}")
    return ", ".join(parts) or format.NOTHING


def curve_lines(
    epochs: Sequence[EpochRow], wide: int, *, most_pairs: int | None = None
) -> list[str]:
    """A chart for every metric, in pairs that share their axis, the most telling pairs first."""
    lines = []
    for pair in _pairs(list(epochs[-1].metrics))[:most_pairs]:
        series = [[row.metrics.get(name, float("nan")) for row in epochs] for name in pair]
        if "top5" in pair[0] and all(value == 1 for values in series for value in values):
            continue  # as of every network where there are five classes or fewer
        bounds = curves.bounds_of(*series)
        panels = [
            curves.panel(
                _panel_title(name, values),
                values,
                width=(min(wide, 100) - 3) // 2,
                height=_PANEL_HEIGHT,
                bounds=bounds,
            )
            for name, values in zip(pair, series, strict=True)
        ]
        lines += ["   ".join(parts).rstrip() for parts in zip(*panels, strict=True)]
    return lines


def _pairs(names: list[str]) -> list[tuple[str, ...]]:
    """Training and validation side by side, accuracy first; every metric once."""
    wanted = [name for name in ("accuracy", "loss", "top5_accuracy") if name in names]
    plain = wanted + [n for n in names if not n.startswith("val_") and n not in wanted]
    pairs = [tuple(n for n in (name, f"val_{name}") if n in names) for name in plain]
    alone = [(n,) for n in names if n.startswith("val_") and n.removeprefix("val_") not in names]
    return [*pairs, *alone]


def _panel_title(name: str, values: Sequence[float]) -> str:
    return f"{name} {format.score_text(values[0])} → {format.score_text(values[-1])}"


# ---------------------------------------------------------------------- --gradients, --features


def _gradients(ledger: Ledger, folder: RunFolder, row: TrialRow) -> Look:
    """The norms of a trial's gradients, layer by layer.

    Raises:
        InputError: it was not watched.
    """
    from tuner.report import inside

    norms = inside.read_gradients(ledger, row)
    if norms is None:
        what = f"trial {row.number} was not watched"
        mend = "training: {watch: [gradients]}; trials that have ended stay as they are"
        raise InputError(Problem(what, where=folder.name, mend=mend))
    metric = ledger.objective.metric

    def lines() -> Iterator[str]:
        style, wide = terminal.style_for(), terminal.width()
        score = f", {metric} {format.score_text(row.score)}" if row.score is not None else ""
        yield style(f"Trial {row.number}: {format.state_word(row.state)}{score}", "title")
        if row.values:
            yield style(format.values_text(row.values)[:wide], "dim")
        yield ""
        yield style("log10 of the gradient's norm, from the first layer to the last", "head")
        yield from inside.gradient_chart(norms, wide)

    return {"trial": row.number, **inside.gradients_json(norms)}, lines()


def _features(ledger: Ledger, folder: RunFolder, row: TrialRow) -> Look:
    """A heat map for each dense block of a trial's network.

    Raises:
        InputError: it has no dense block, or its network is not kept.
    """
    from tuner.report.inside import read_feature_reuse

    blocks = read_feature_reuse(folder, row)
    family = str(row.configuration.get("model.family"))
    if blocks is None and family not in _DENSE_FAMILIES:
        what = "feature reuse is seen in dense blocks, and this network has none"
        expected = " or ".join(_DENSE_FAMILIES)
        raise InputError(Problem(what, f"trial {row.number}", received=family, expected=expected))
    if blocks is None:
        best_checkpoint(ledger, folder, row)  # says which trials have one
        raise AssertionError("a kept checkpoint was not read")
    document = {
        "trial": row.number,
        "epoch": row.best_epoch,
        "features": [asdict(block) for block in blocks],
    }
    return document, _feature_lines(row, blocks)


def _feature_lines(row: TrialRow, blocks: Sequence[BlockReuse]) -> Iterator[str]:
    from tuner.report.inside import heat_map, least_share, legend, unpainted

    style, wide = terminal.style_for(), min(terminal.width(), 100)
    paint = _painted if terminal.has_colours(sys.stdout) else unpainted
    about = (
        "Mean absolute weight on the channels of each source (rows) in the first convolution of "
        "each layer that reads them (columns), relative to the largest of the column."
    )
    least = least_share(blocks)
    title = f"Trial {row.number}, epoch {row.best_epoch}: which earlier layers each layer reads"
    yield style(title, "title")
    yield from textwrap.wrap(about, wide)
    for block in blocks:
        yield from ("", style(f"{block.name}; last column: {block.targets[-1]}", "head"))
        yield from heat_map(block, wide, least=least, paint=paint)
    yield from ("", legend(least=least, paint=paint))
    if not all(block.tells for block in blocks):
        note = "Where a block is of nearly one shade, its layers weigh all that they read alike, "
        note += "as in a network that was not trained, or for too short a time."
        yield from ("", *(style(line, "dim") for line in textwrap.wrap(note, wide)))


def _painted(text: str, place: float) -> str:
    colour = _HEAT[min(len(_HEAT) - 1, int(place * len(_HEAT)))]
    return click.style(" " * len(text), bg=colour)


# ---------------------------------------------------------------------- --follow


def _follow(folder: RunFolder, trial: str | None, *, as_json: bool) -> int:
    """Show a trial, or the newest that runs, until it ends; gives the exit status."""
    from tuner.actions.follow import follow_trial

    if as_json:
        what = "one document cannot grow"
        raise InputError(Problem(what, "--follow --json", mend="leave one of them out"))
    number = None
    if trial is not None:
        with Ledger.open_read_only(folder.ledger) as ledger:
            number = find_trial(ledger, folder, trial).number
    looks = follow_trial(folder, number, time.sleep)
    try:
        if terminal.can_redraw(sys.stdout):
            terminal.redraw(_frames(looks))
        else:
            for line in follow_lines(looks):
                click.echo(line)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def follow_lines(looks: Iterator[FollowedTrial]) -> Iterator[str]:
    """A line for every epoch, each once, and one for the end."""
    shown = 0
    for trial in looks:
        for epoch in trial.epochs:
            if epoch.epoch > shown:
                yield _epoch_text(trial, epoch)
        shown = max(shown, trial.row.epochs)
        if trial.is_over:
            yield _state_text(trial)


def _frames(looks: Iterator[FollowedTrial]) -> Iterator[str]:
    for trial in looks:
        size = shutil.get_terminal_size()
        yield "\n".join(frame(trial, size.columns, size.lines, terminal.style_for()))


def frame(trial: FollowedTrial, width: int, height: int, style: Style) -> list[str]:
    """The trial on a terminal of that size."""
    most = max(1, (height - _LINES_BESIDE) // _LINES_OF_A_PAIR)
    values = {n: v for n, v in trial.row.configuration.items() if n in trial.row.values}
    head = [style(_state_text(trial)[:width], "title")]
    head += [style(format.values_text(values)[: width - 1], "dim")] if values else []
    if not trial.epochs:
        return [*head, "", "no epoch has ended yet"]
    return [*head, "", *curve_lines(trial.epochs, width, most_pairs=most)]


def _state_text(trial: FollowedTrial) -> str:
    row, metric = trial.row, trial.metric
    at = f"epoch {row.epochs}/{trial.planned}"
    if row.state not in FINISHED_STATES:
        state = format.state_word(row.state) if trial.is_run else "the run has ended"
        return f"Trial {row.number}: {state}, {at}{_last(trial.epochs, metric)}"
    if row.score is None:
        return (
            f"Trial {row.number}: {format.state_word(row.state)}: {format.first_line(row.reason)}"
        )
    score = f"{metric} {format.score_text(row.score)} in epoch {row.best_epoch}"
    return f"Trial {row.number}: {format.state_word(row.state)} after {at}, {score}"


def _last(epochs: Sequence[EpochRow], metric: str) -> str:
    found = epochs[-1].metrics.get(metric) if epochs else None
    return "" if found is None else f", {metric} {format.score_text(found)}"


def _epoch_text(trial: FollowedTrial, epoch: EpochRow) -> str:
    metrics = [f"{name} {format.score_text(value)}" for name, value in epoch.metrics.items()]
    parts = [*metrics, format.seconds_text(epoch.seconds)]
    return f"trial {epoch.number}: epoch {epoch.epoch}/{trial.planned}, {', '.join(parts)}"
