"""A search as a person runs it, and what its ledger says while things go wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.preload import ROOT, forked

FINISHED = ("completed", "stopped", "diverged", "failed")
NUM_CLASSES = 4


def write_data(folder: Path, images: int) -> Path:
    """8x8 images of 4 classes that differ in how red they are."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % NUM_CLASSES
    pixels = rng.integers(0, 120, (images, 8, 8, 3))
    pixels[..., 0] += (labels * 40)[:, None, None]
    path = folder / "images.npz"
    np.savez(path, x_train=pixels.astype(np.uint8), y_train=labels)
    return path


def environment() -> dict[str, str]:
    """Quiet frameworks, and our packages for a command that runs in another folder."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": paths}


# ---------------------------------------------------------------------- the command


class Search:
    """`tuner run` in a folder with experiment.yaml, started again as often as it dies."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], options: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.environ = dict(environ)
        self.options = list(options)
        self.results = folder / "results" / "experiment"
        self.first_signs: list[float] = []  # seconds from the start to the first line
        self.process: subprocess.Popen[bytes] | None = None
        self.said = bytearray()

    def start(self, **settings: Any) -> None:
        """Start it; what it says is read as it comes."""
        command = [sys.executable, "-m", "tuner", "run", "experiment.yaml", *self.options]
        self.said = bytearray()
        begun = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **settings,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process, begun), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes], begun: float) -> None:
        assert process.stdout is not None
        while piece := os.read(process.stdout.fileno(), 65536):
            if not self.said:
                self.first_signs.append(time.monotonic() - begun)
            self.said += piece
        process.stdout.close()

    @property
    def text(self) -> str:
        """What the last run said, on both streams."""
        return self.said.decode(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds: float = 600) -> int:
        """The exit status of the command, all of whose words have been read."""
        assert self.process is not None
        status = self.process.wait(seconds)
        self._reader.join(10)
        return status

    def run(self, seconds: float = 600) -> int:
        self.start()
        return self.wait(seconds)

    def workers(self) -> dict[int, tuple[int, int]]:
        """Processes of each worker by its number: the one that trains, and its stand-in."""
        assert self.process is not None
        found = {}
        for child in children(self.process.pid):
            with contextlib.suppress(OSError, ValueError):
                log = os.readlink(f"/proc/{child}/fd/1")
                number = int(Path(log).stem.removeprefix("worker-"))
                found[number] = (forked(self.environ, child), child)
        return found

    def kill_worker(self, number: int | None = None) -> int | None:
        """SIGKILL for the process that trains, of any worker by default; its number."""
        workers = self.workers()
        if number is None:
            number = next(iter(workers), None)
        if number not in workers:
            return None
        kill(workers[number][0])
        return number

    def kill(self) -> None:
        """SIGKILL for the scheduler alone."""
        assert self.process is not None
        self.process.kill()
        self.wait()

    def close(self) -> None:
        """Nothing of it is left."""
        if self.process is None:
            return
        pids = [pid for pair in self.workers().values() for pid in pair] if self.is_running else []
        self.process.kill()
        self.wait()
        for pid in pids:
            kill(pid)


def kill(pid: int) -> None:
    send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> bool:
    """Whether there was a process to send the signal to."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


# ---------------------------------------------------------------------- the ledger


@dataclass(frozen=True)
class View:
    """What a ledger holds at one moment: whole rows of trials and epochs, by their names."""

    trials: dict[int, dict[str, Any]] = field(default_factory=dict)
    epochs: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    checkpoints: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)

    def running(self) -> dict[int, int]:
        """Worker → trial."""
        rows = self.trials.items()
        return {row["worker"]: n for n, row in rows if row["state"] == "running"}

    def in_state(self, *states: str) -> list[int]:
        return [n for n, row in self.trials.items() if row["state"] in states]

    def outcome(self) -> dict[str, Any]:
        """All that must not depend on what went wrong meanwhile, by the trials' keys."""
        columns = ("state", "score", "best_epoch", "epochs", "metrics")
        return {
            row["key"]: (
                *(row[name] for name in columns),
                tuple(
                    (epoch, values["metrics"])
                    for (trial, epoch), values in sorted(self.epochs.items())
                    if trial == number
                ),
            )
            for number, row in self.trials.items()
        }


def look(results: Path) -> View:
    """The ledger as it is; its files are not touched, also where a commit was cut short."""
    path = results / "ledger.sqlite"
    if not path.exists():
        return View()
    for _ in range(100):
        try:
            return _view(f"{path.as_uri()}?mode=ro")
        except sqlite3.OperationalError:
            if (path.parent / "ledger.sqlite-journal").exists():
                with contextlib.suppress(sqlite3.DatabaseError, OSError):
                    return _view_of_copy(path)
            time.sleep(0.02)
    raise AssertionError(f"{path} cannot be read")


def _view_of_copy(path: Path) -> View:
    """Where SQLite must undo a half commit first, it does so in a copy."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("ledger.sqlite-journal", "ledger.sqlite"):
            shutil.copy(path.with_name(name), folder)
        return _view(f"{(Path(folder) / path.name).as_uri()}?mode=rw")


def _view(uri: str) -> View:
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
        trials = _rows(connection, "trials")
        epochs = _rows(connection, "epochs")
        checkpoints = _rows(connection, "checkpoints") if "checkpoints" in tables else []
    return View(
        {row["number"]: row for row in trials},
        {(row["trial"], row["epoch"]): row for row in epochs},
        {(row["trial"], row["epoch"]): row for row in checkpoints},
    )


def _rows(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
