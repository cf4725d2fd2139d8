"""What training has been seen to cost on this machine: a small record that all runs share."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tuner.ledger.folder import write_atomically

_VERSION = 2
_MAX_SPEEDS = 1_000  # about half a megabyte; the oldest are forgotten
_MAX_BYTES = 4_000_000  # a larger file is not ours
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Speed:
    """What an epoch of a structure took on a device that `sharing` workers shared.

    `images` are those of the epoch, in forward passes; `compile_seconds` is None if it was not
    seen; `start_seconds` is what the worker took until it could train.
    """

    machine: str
    device: str
    sharing: int
    backend: str
    precision: str
    family: str
    structure: str
    macs: int
    images: int
    epoch_seconds: float
    compile_seconds: float | None
    start_seconds: float
    measured_at: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What a later measurement replaces."""
        return (*self.place, self.sharing, self.structure, self.macs)

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Where it holds."""
        return self.machine, self.backend, self.device, self.precision


class SpeedRecord:
    """A small file that all runs share. Writers take turns; a reader sees old content or new.

    It serves estimates alone: where it cannot be read or written, nothing is known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def at_home(cls, environment: Mapping[str, str]) -> SpeedRecord:
        """In the person's cache folder, or in $TUNER_CACHE_DIR."""
        return cls(cache_folder(environment) / "speeds.json")

    def read(self) -> list[Speed]:
        """What it holds, oldest first; nothing if it is missing, damaged or of another version."""
        try:
            if self.path.stat().st_size > _MAX_BYTES:
                return []
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return []
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            return []
        entries = content.get("speeds")
        return list(_sound(entries if isinstance(entries, list) else []))

    def of(self, machine: str, backend: str, precision: str) -> list[Speed]:
        """What was measured on the device on which workers of this backend were last."""
        here = [speed for speed in self.read() if speed.place[:2] == (machine, backend)]
        place = (machine, backend, here[-1].device, precision) if here else ()
        return [speed for speed in here if speed.place == place]

    def add(self, speeds: Iterable[Speed]) -> bool:
        """Newer measurements replace older ones; a program that was there already keeps the time
        that it took to compile. False where that is not possible, which harms nothing.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_suffix(".lock").open("a") as lock:
                if not _acquired(lock.fileno()):
                    return False
                known = {speed.key: speed for speed in self.read()}
                for speed in speeds:
                    before = known.pop(speed.key, None)
                    if speed.compile_seconds is None and before is not None:
                        compiling = before.compile_seconds
                        speed = dataclasses.replace(speed, compile_seconds=compiling)
                    known[speed.key] = speed
                entries = [dataclasses.asdict(s) for s in list(known.values())[-_MAX_SPEEDS:]]
                content = {"version": _VERSION, "speeds": entries}
                write_atomically(self.path, json.dumps(content, allow_nan=False))
        except (OSError, ValueError):
            return False
        return True


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where `tuner` keeps what can be measured again."""
    if given := environment.get("TUNER_CACHE_DIR"):
        return Path(given).expanduser()
    home = environment.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()) / "tuner"


def _acquired(descriptor: int) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)


def _sound(entries: Iterable[Any]) -> Iterator[Speed]:
    """The entries that are what they should be."""
    adapter = TypeAdapter(Speed)
    for values in entries:
        try:
            speed = adapter.validate_python(values)
        except ValidationError:
            continue
        numbers = [value for value in vars(speed).values() if isinstance(value, int | float)]
        if speed.images and all(math.isfinite(n) and n >= 0 for n in numbers):
            yield speed
