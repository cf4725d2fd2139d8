"""`tuner doctor`: is this machine ready?"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

import click

from tuner.cli import terminal
from tuner.cli.options import data_option, json_option, results_option
from tuner.ledger import environment
from tuner.report import words


@click.command("doctor")
@json_option()
@results_option()
@data_option()
def command(as_json: bool, results_dir: Path, data_dir: Path | None) -> None:
    """Versions, devices, data sets found, free disk. Imports no framework, writes nothing."""
    found = examination(results_dir, data_dir)
    if as_json:
        terminal.echo_json(found)
    else:
        click.echo("\n".join(_lines(found)))


def examination(results_dir: Path, data_dir: Path | None) -> dict[str, Any]:
    """Everything that `--json` prints."""
    from tuner.data.datasets import found_datasets

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
    memory = words.bytes_text(found["memory_bytes"])
    cores = words.counted(found["cpu"]["cores"], "core")
    lines += ["", style("Devices", "head"), f"  {found['cpu']['model']}, {cores}, {memory}"]
    lines += [
        f"  GPU {gpu['index']}: {gpu['name']}, {words.bytes_text(gpu['memory_bytes'])}"
        for gpu in found["gpus"]
    ] or ["  no GPU (nvidia-smi reports none)"]
    lines += ["", style("Data sets", "head")]
    width = max((len(entry["name"]) for entry in found["datasets"]), default=0)
    for entry in found["datasets"]:
        where = f"  {entry['path']}" if entry["path"] else ""
        lines.append(f"  {entry['name']:<{width}}  {entry['state']}{where}")
    free = words.bytes_text(found["free_bytes"])
    return [*lines, "", style("Disk", "head"), f"  {free} free for {found['results']}"]


def _existing(path: Path) -> Path:
    """The folder itself or the nearest one above it that exists."""
    path = path.resolve()
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
