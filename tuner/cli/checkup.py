"""`tuner doctor NAME`: what is wrong in an experiment's folder, and its repair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from tuner.cli import terminal
from tuner.ledger.examination import Finding, examine
from tuner.ledger.folder import RunFolder
from tuner.ledger.repair import Repair, mend
from tuner.report import words

PROBLEMS = 3


def checkup(name: str, results_dir: Path, *, repair: bool, as_json: bool) -> int:
    """Examines, repairs if asked to, and prints; the exit status.

    Raises:
        InputError: there is no such experiment.
        TunerError: it is to be repaired while it runs, or there is no room.
    """
    folder = RunFolder.open(name, results_dir)
    result = mend(folder, datetime.now()) if repair else Repair(left=examine(folder))
    problems = [finding for finding in result.left if not finding.is_note]
    if as_json:
        terminal.echo_json(
            {
                "experiment": folder.name,
                "sound": not problems,
                "repaired": result.done,
                "findings": [asdict(finding) for finding in result.left],
            }
        )
    else:
        click.echo("\n".join(_lines(folder, result, len(problems))))
    return PROBLEMS if problems else 0


def _lines(folder: RunFolder, result: Repair, problems: int) -> list[str]:
    style = terminal.style_for()
    verdict = words.counted(problems, "problem") if problems else "sound"
    lines = [style(f"{folder.path}: {verdict}", "bad" if problems else "good")]
    lines += [f"  {words.printable(line)}" for line in result.done]
    for finding in sorted(result.left, key=lambda finding: finding.is_note):
        lines += _finding_lines(finding)
    return lines


def _finding_lines(finding: Finding) -> Sequence[str]:
    label = " (note)" if finding.is_note else ""
    lines = [words.printable(f"  {finding.where}{label}: {finding.what}")]
    for title, text in (("means", finding.means), ("mend", finding.mend)):
        if text:
            lines.append(words.printable(f"      {title + ':':<6} {text}"))
    return lines
