"""Where a run happened: versions, hardware and hashes, found without importing a framework."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from tuner.code.process import recorded_variables

PACKAGES = (
    "convtuner",
    "tensorflow",
    "keras",
    "keras-tuner",
    "jax",
    "jaxlib",
    "numpy",
    "pandas",
    "pydantic",
    "ray",
)
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Gpu:
    """One GPU as its driver names it."""

    index: int
    name: str
    memory_bytes: int
    driver: str


def environment_record(
    *,
    backend: str,
    precision: str,
    data: Mapping[str, Any],
    device: str = "",
    folder: Path | None = None,
) -> dict[str, Any]:
    """What environment.json holds. `data` are the hashes of what was trained on.

    `folder` is where to look for the git commit; the working folder by default.
    """
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "backend": backend,
        "precision": precision,
        "device": device,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": versions(),
        "variables": recorded_variables(os.environ),
        "cpu": {"model": cpu_model(), "cores": available_cores()},
        "memory_bytes": memory_bytes(),
        "gpus": [asdict(gpu) for gpu in gpus()],
        "git": git_state(folder or Path.cwd()),
        "data": dict(data),
    }


def versions() -> dict[str, str]:
    """Installed versions of what decides a result; absent packages are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_instructions() -> frozenset[str] | None:
    """The processor's extensions by the names that Linux gives them on x86, as `avx512_bf16`.

    None where the system does not say.
    """
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    return None


def memory_bytes() -> int | None:
    """Main memory of the machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def free_memory_bytes() -> int | None:
    """Main memory that processes may still take; None where the system does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def gpus() -> list[Gpu]:
    """GPUs that NVIDIA's driver reports; an empty list where there is no driver."""
    fields = "index,name,memory.total,driver_version"
    output = _output(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    rows = [[cell.strip() for cell in line.split(",")] for line in output.splitlines()]
    return [
        Gpu(int(row[0]), row[1], int(row[2]) * 2**20 if row[2].isdigit() else 0, row[3])
        for row in rows
        if len(row) == 4 and row[0].isdigit()
    ]


def gpu_memory_bytes(name: str) -> int | None:
    """Memory of a GPU by index or UUID; None where the driver does not say."""
    query = ["--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    text = _output(["nvidia-smi", f"--id={name}", *query]).strip()
    return int(text) * 2**20 if text.isdecimal() else None


def git_state(folder: Path) -> dict[str, Any]:
    """Commit of the repository around `folder`, and whether files differ from it; or nothing."""
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"]).strip()
    if not commit:
        return {}
    changes = _output(["git", "-C", str(folder), "status", "--porcelain", "-uno"])
    return {"commit": commit, "changed": bool(changes.strip())}


def _output(command: list[str]) -> str:
    """Standard output of a program; empty when it is missing, slow or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
