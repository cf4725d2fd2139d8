"""`tuner doctor`: is this machine ready, and is an experiment's folder whole?"""

from __future__ import annotations

import platform
import shutil
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tuner.cli import terminal
from tuner.cli.options import data_option, json_option, results_option
from tuner.ledger import environment
from tuner.ledger.folder import RunFolder
from tuner.ledger.repair import Repair, examine, mend
from tuner.report import format

PROBLEMS = 3


@click.command("doctor")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--repair", is_flag=True, help="Repair what can be repaired; copies are kept.")
@json_option
@results_option
@data_option
def command(
    name: str | None, repair: bool, as_json: bool, results_dir: Path, data_dir: Path | None
) -> int:
    """Is this machine ready? With NAME: is everything in that experiment's folder whole?

    Without NAME: versions, devices, data sets found, free disk. With NAME, every row, checkpoint
    and file is read, and each problem comes with what it means and what to do; with --repair it is
    done, after a copy. Exit status: 0 sound, 3 problems found or still there, 2 not found.
    """
    if name is not None:
        return checkup(name, results_dir, repair=repair, as_json=as_json)
    if repair:
        raise click.UsageError("--repair needs the NAME of an experiment")
    found = examination(results_dir, data_dir)
    if as_json:
        terminal.echo_json(found)
    else:
        click.echo("\n".join(_lines(found)))
    return 0


def examination(results_dir: Path, data_dir: Path | None) -> dict[str, Any]:
    """Everything that `--json` prints."""
    from tuner.data import found_datasets

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": environment.versions(),
        "cpu": {"model": environment.cpu_model(), "cores": environment.available_cores()},
        "memory_bytes": environment.memory_bytes(),
        "gpus": [
            {"index": gpu.index, "name": gpu.name, "memory_bytes": gpu.memory_bytes}
            for gpu in environment.gpus()
        ],
        "datasets": [
            {"name": name, "path": str(path) if path else None, "state": state}
            for name, path, state in found_datasets(data_dir)
        ],
        "results": str(results_dir),
        "free_bytes": shutil.disk_usage(_existing(results_dir)).free,
    }


def _lines(found: dict[str, Any]) -> list[str]:
    style = terminal.style_for()
    packages = found["packages"]
    lines = [style("Versions", "head"), f"  python {found['python']} on {found['platform']}"]
    lines += [f"  {name} {version}" for name, version in packages.items()]
    if not {"tensorflow", "jax"} & set(packages):
        lines.append(style("  neither tensorflow nor jax is installed", "bad"))
    memory = format.bytes_text(found["memory_bytes"])
    cores = format.counted(found["cpu"]["cores"], "core")
    lines += ["", style("Devices", "head"), f"  {found['cpu']['model']}, {cores}, {memory}"]
    lines += [
        f"  GPU {gpu['index']}: {gpu['name']}, {format.bytes_text(gpu['memory_bytes'])}"
        for gpu in found["gpus"]
    ] or ["  no GPU (nvidia-smi reports none)"]
    lines += ["", style("Data sets", "head")]
    width = max((len(entry["name"]) for entry in found["datasets"]), default=0)
    for entry in found["datasets"]:
        where = f"  {entry['path']}" if entry["path"] else ""
        lines.append(f"  {entry['name']:<{width}}  {entry['state']}{where}")
    free = format.bytes_text(found["free_bytes"])
    return [*lines, "", style("Disk", "head"), f"  {free} free for {found['results']}"]


def _existing(path: Path) -> Path:
    """The folder itself or the nearest one above it that exists."""
    path = path.resolve()
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))


# ---------------------------------------------------------------------- an experiment's folder


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
        click.echo("\n".join(_checkup_lines(folder, result, len(problems))))
    return PROBLEMS if problems else 0


def _checkup_lines(folder: RunFolder, result: Repair, problems: int) -> list[str]:
    style = terminal.style_for()
    verdict = format.counted(problems, "problem") if problems else "sound"
    lines = [style(f"{folder.path}: {verdict}", "bad" if problems else "good")]
    lines += [f"  {format.printable(line)}" for line in result.done]
    for finding in sorted(result.left, key=lambda finding: finding.is_note):
        label = " (note)" if finding.is_note else ""
        lines.append(format.printable(f"  {finding.where}{label}: {finding.what}"))
        for title, text in (("means", finding.means), ("mend", finding.mend)):
            if text:
                lines.append(format.printable(f"      {title + ':':<6} {text}"))
    return lines
