"""What training has been seen to cost on this machine: a small record that all runs share.

It serves estimates alone. Where it cannot be read or written, nothing is known and nothing is said.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tuner.ledger.environment import available_cores, cpu_model
from tuner.ledger.folder import write_atomically

VERSION = 1
MAX_SPEEDS = 1_000  # about half a megabyte; the oldest are forgotten
MAX_STARTS = 50
_MAX_BYTES = 4_000_000  # a larger file is not ours
_PATIENCE_SECONDS = 2.0

_Record = TypeVar("_Record", "Speed", "Start")


@dataclass(frozen=True)
class Start:
    """How long a worker took until it could train, and on what device it then was."""

    machine: str
    backend: str
    device: str
    seconds: float
    measured_at: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What a later measurement replaces."""
        return self.machine, self.backend


@dataclass(frozen=True)
class Speed:
    """What one structure costs on one device; times in seconds.

    Attributes:
        sharing: workers that shared the device (of a CPU: the cores) meanwhile.
        step_seconds: of a training step with `batch_size` images.
        image_seconds: of validating one image.
        epoch_seconds: what an epoch takes besides, as for its checkpoint.
        trial_seconds: what a trial takes besides its epochs and compiling.
        compile_seconds: of building and compiling the program; None if that was not seen.
        spread: half the range of the middle half of the step times, as a share of their median.
        epochs: how many were measured; 0 for a measurement of a few steps.
    """

    machine: str
    device: str
    sharing: int
    backend: str
    precision: str
    family: str
    structure: str
    image_shape: tuple[int, ...]
    num_classes: int
    batch_size: int
    parameters: int
    macs: int
    step_seconds: float
    image_seconds: float
    epoch_seconds: float
    trial_seconds: float
    compile_seconds: float | None
    spread: float
    epochs: int
    measured_at: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What a later measurement replaces."""
        return (*_place(self), self.sharing, self.structure, *self.network)

    @property
    def network(self) -> tuple[Any, ...]:
        """What tells a structure on one data set from the same on another."""
        return self.image_shape, self.num_classes, self.batch_size, self.parameters, self.macs


@dataclass(frozen=True)
class Speeds:
    """What the record holds, each key once, oldest first."""

    speeds: tuple[Speed, ...] = ()
    starts: tuple[Start, ...] = ()

    def with_more(self, speeds: Iterable[Speed], starts: Iterable[Start]) -> Speeds:
        """Newer measurements replace older ones; a program that was there already keeps the time
        that it took to compile.
        """
        known = {speed.key: speed for speed in self.speeds}
        for speed in speeds:
            before = known.pop(speed.key, None)
            if speed.compile_seconds is None and before is not None:
                speed = dataclasses.replace(speed, compile_seconds=before.compile_seconds)
            known[speed.key] = speed
        begun = {start.key: start for start in self.starts}
        for start in starts:
            begun.pop(start.key, None)
            begun[start.key] = start
        return Speeds(tuple(known.values())[-MAX_SPEEDS:], tuple(begun.values())[-MAX_STARTS:])

    def start(self, machine: str, backend: str) -> Start | None:
        """How workers of a backend start here; the device they were on last."""
        found = [s for s in self.starts if (s.machine, s.backend) == (machine, backend)]
        return found[-1] if found else None

    def of(self, start: Start, precision: str) -> list[Speed]:
        """Everything that was measured on that device."""
        place = (start.machine, start.device, start.backend, precision)
        return [speed for speed in self.speeds if _place(speed) == place]


class SpeedRecord:
    """The file. Writers take turns; a reader sees the old content or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def at_home(cls, environment: Mapping[str, str]) -> SpeedRecord:
        """In the person's cache folder, or in $TUNER_CACHE_DIR."""
        return cls(cache_folder(environment) / "speeds.json")

    def read(self) -> Speeds:
        """What it holds; nothing if it is missing or damaged."""
        try:
            if self.path.stat().st_size > _MAX_BYTES:
                return Speeds()
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return Speeds()
        if not isinstance(content, dict) or content.get("version") != VERSION:
            return Speeds()
        speeds, starts = content.get("speeds"), content.get("starts")
        return Speeds(tuple(_made(Speed, speeds)), tuple(_made(Start, starts)))

    def add(self, speeds: Iterable[Speed], starts: Iterable[Start]) -> bool:
        """Keeps new measurements; False where that is not possible, which harms nothing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock() as is_held:
                if not is_held:
                    return False
                merged = self.read().with_more(speeds, starts)
                content = {"version": VERSION, **dataclasses.asdict(merged)}
                write_atomically(self.path, json.dumps(content, allow_nan=False))
        except (OSError, ValueError):
            return False
        return True

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        with self.path.with_suffix(".lock").open("a") as file:
            yield _acquired(file.fileno())


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where `tuner` keeps what can be measured again."""
    if given := environment.get("TUNER_CACHE_DIR"):
        return Path(given).expanduser()
    home = environment.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()) / "tuner"


def this_machine(environment: Mapping[str, str]) -> str:
    """What the same figures may be expected of: processor, cores, and whether GPUs are hidden."""
    hides = environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    cores = available_cores()
    name = f"{cpu_model()}, {cores} {'core' if cores == 1 else 'cores'}"
    return f"{name}, GPUs hidden" if hides else name


def spread(values: Sequence[float]) -> float:
    """Half the range of the middle half of the values, as a share of their median."""
    if len(values) < 2 or not (middle := median(values)):
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle


def _place(speed: Speed) -> tuple[str, str, str, str]:
    return speed.machine, speed.device, speed.backend, speed.precision


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


def _made(kind: type[_Record], found: Any) -> Iterator[_Record]:
    """The records that are what they should be."""
    adapter = TypeAdapter(kind)
    for values in found if isinstance(found, list) else []:
        try:
            record = adapter.validate_python(values)
        except ValidationError:
            continue
        numbers = [value for value in vars(record).values() if isinstance(value, int | float)]
        if all(math.isfinite(number) and number >= 0 for number in numbers):
            yield record
