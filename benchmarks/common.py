"""What the benchmarks share: the machine, the data, sub-processes, tables."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("tensorflow", "keras", "keras-tuner", "jax", "jaxlib", "numpy")


def data_dir() -> Path | None:
    """Where the real data set is looked for."""
    given = os.environ.get("TUNER_DATA_DIR")
    return Path(given) if given else None


def dataset() -> str:
    """The file in $TUNER_NPZ, CIFAR-100 where its files are found, or made-up images."""
    if given := os.environ.get("TUNER_NPZ"):
        return given
    from tuner.data import found_datasets

    found = {name: path for name, path, _ in found_datasets(data_dir())}
    return "cifar100" if found.get("cifar100") else "synthetic"


def environment() -> dict[str, Any]:
    """Hardware and versions, for the record."""
    from tuner.ledger.environment import available_cores, cpu_model, gpus

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu_model(),
        "cores": available_cores(),
        "gpus": [gpu.name for gpu in gpus()],
        "python": platform.python_version(),
        **versions,
    }


def in_process(
    script: str,
    arguments: dict[str, Any],
    *,
    timeout_seconds: float | None = None,
    **environ: str,
) -> dict[str, Any]:
    """Run `script --side JSON` in a process of its own; what it wrote to its answer file.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, script, "--side", json.dumps(arguments), "--answer", str(answer)]
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
        root = str(Path(__file__).parents[1])
        paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            command,
            env={**os.environ, **quiet, "PYTHONPATH": paths, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_seconds,
        )
        if done.returncode:
            raise SystemExit(f"{arguments} failed:\n{done.stdout[-4000:]}")
        found: dict[str, Any] = json.loads(answer.read_text())
        return found


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table under a heading."""
    lines = [f"### {title}", "", _row(head), _row(["---"] * len(head))]
    return "\n".join([*lines, *(_row(row) for row in rows), ""])


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(_text(cell) for cell in cells) + " |"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)
