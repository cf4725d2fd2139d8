"""`tuner show`: one trial, looked at closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuner.cli import terminal
from tuner.cli.options import json_option, results_option
from tuner.errors import InputError, Problem
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import EpochRow, TrialRow
from tuner.report import curves, words
from tuner.report.render import Style, finite

_PANEL_HEIGHT = 6


@click.command("show")
@click.argument("name", metavar="NAME")
@click.argument("trial", default="best", metavar="[TRIAL|best]")
@json_option()
@results_option()
def command(name: str, trial: str, as_json: bool, results_dir: Path) -> None:
    """One trial: configuration, metrics per epoch, timings, reason, files.

    NAME is a folder under --results, or a path. Without TRIAL, the best one.
    """
    folder = RunFolder.open(name, results_dir)
    with Ledger.open_read_only(folder.ledger) as ledger:
        row = _wanted(ledger, folder, trial)
        epochs = ledger.epochs(row.number)
        searched, metric = ledger.value_names, ledger.objective[0]
    if as_json:
        document = {"experiment": folder.name, **asdict(row)}
        document["curves"] = [asdict(epoch) for epoch in epochs]
        terminal.echo_json(finite(document))
        return
    style = terminal.style_for()
    blocks = [
        _head(row, metric, style),
        _configuration(row, searched, style),
        _curves(epochs, terminal.width(), style),
        _facts(row, folder, style),
    ]
    click.echo("\n\n".join("\n".join(block) for block in blocks if block))


def _wanted(ledger: Ledger, folder: RunFolder, trial: str) -> TrialRow:
    if trial == "best":
        best = ledger.top(1)
        if best:
            return best[0]
        problem = Problem("no trial has a score", where=folder.name, mend="name a trial's number")
        raise InputError(problem)
    row = ledger.row(int(trial)) if trial.isascii() and trial.isdigit() else None
    if row is None:
        known = sum(ledger.counts().values())
        raise InputError(
            Problem(
                "there is no such trial",
                where=folder.name,
                received=trial,
                expected=f"best, or a number from 1 to {known}" if known else "no trial is there",
            )
        )
    return row


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


def _curves(epochs: Sequence[EpochRow], wide: int, style: Style) -> list[str]:
    if not epochs:
        return []
    lines = [style(f"Epochs 1 to {epochs[-1].epoch}", "head")]
    for pair in _pairs(list(epochs[-1].metrics)):
        series = [[row.metrics.get(name, float("nan")) for row in epochs] for name in pair]
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
    return f"{name} {words.score_text(values[0])} → {words.score_text(values[-1])}"


def _facts(row: TrialRow, folder: RunFolder, style: Style) -> list[str]:
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
        "files": str(folder.path),
    }
    width = max(len(name) for name in facts)
    return [style("Facts", "head"), *(f"   {n:<{width}}  {v}" for n, v in facts.items())]
