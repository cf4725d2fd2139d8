"""What a machine has for a run: versions, processor, memory, GPUs, data sets, disk."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

from tuner.data import found_datasets
from tuner.ledger import environment
from tuner.ledger.folder import network_file_system


def examination(disk: Path, data_dir: Path | None) -> dict[str, Any]:
    """Of the machine that this runs on; `disk` is where free room is looked for."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": environment.versions(),
        "cpu": {"model": environment.cpu_model(), "cores": environment.available_cores()},
        "memory_bytes": environment.memory_bytes(),
        "free_memory_bytes": environment.free_memory_bytes(),
        "gpus": [
            {"index": gpu.index, "name": gpu.name, "memory_bytes": gpu.memory_bytes}
            for gpu in environment.gpus()
        ],
        "datasets": [
            {"name": name, "path": str(path) if path else None, "state": state}
            for name, path, state in found_datasets(data_dir)
        ],
        "free_bytes": shutil.disk_usage(_existing(disk)).free,
        "network_file_system": network_file_system(disk) or None,
    }


def _existing(path: Path) -> Path:
    """The folder itself or the nearest one above it that exists."""
    path = path.resolve()
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
