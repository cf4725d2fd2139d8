"""Hostile experiments and names: each is read or refused in words, fast, and nothing of it runs.

python -m benchmarks.reliability.fuzz [--inputs 100000] [--quick] [-o FILE.md]

Inputs are mutations of the shipped experiments at byte and token level and texts that were made to
hurt (nasty.py). Each goes through the door that a person's file goes through, `load_experiment`,
one of eight with an override. Measured for each: processor seconds, peak memory above what the
process held before (VmHWM, reset for each), whether anything but an InputError came out, whether
every refusal names its place, and whether a process was started, a socket opened or a file written
(audit hook). A person's own `build(hp)` is imported by contract, and left out here.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from benchmarks.common import table
from benchmarks.reliability import nasty
from benchmarks.reliability.report import publish, verdict
from tuner.errors import InputError, Problem
from tuner.experiment import load_experiment
from tuner.ledger.folder import RunFolder

MAX_SECONDS = 1.0
MAX_BYTES = 200 << 20
GIVE_UP_SECONDS = 20
ADDRESS_SPACE = 8 << 30

PLACED = re.compile(r":[0-9]+:[0-9]+$|^-S ")
# What is wrong with a text as a whole has no line.
UNPLACED = ("the text is too long", "the file is too large", "not UTF-8", "100 problems are listed")
CODE = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect",
        "os.remove", "os.rename", "os.mkdir", "shutil.rmtree", "ctypes.dlopen")  # fmt: skip


@dataclass
class Seen:
    """What came of some inputs; `failures` name the input, what was seen, and how it begins."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    num_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def __add__(self, other: Seen) -> Seen:
        return Seen(
            self.outcomes + other.outcomes,
            max(self.seconds, other.seconds),
            max(self.num_bytes, other.num_bytes),
            [*self.failures, *other.failures],
        )


class TooSlow(BaseException):
    """Raised by the alarm; no handler of the tuner catches it."""


class Watch:
    """Notes what hostile input made the interpreter do; audit hooks stay for good."""

    def __init__(self) -> None:
        self.is_armed = False
        self.events: list[str] = []
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_armed:
            return
        writes = (
            event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1])
        )
        if writes or event.startswith(CODE):
            self.events.append(f"{event}{arguments[:1]}")

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Watches the body."""
        self.is_armed, self.events = True, []
        try:
            yield
        finally:
            self.is_armed = False


def read(path: Path, overrides: Sequence[str]) -> str:
    """Read or refused; raises AssertionError for a refusal without its place."""
    try:
        load_experiment(path, overrides)
    except InputError as error:
        for problem in error.problems:
            placed = PLACED.search(problem.where) or problem.what.startswith(UNPLACED)
            if not (problem.where and placed):
                raise AssertionError(f"no place: {problem}") from error
        return "refused"
    return "read"


def measure(
    numbers: Sequence[int], folder: Path, watch: Watch, max_seconds: float = MAX_SECONDS
) -> Seen:
    """Reads the experiments of these numbers."""
    seeds, seen = nasty.shipped(), Seen()
    path = folder / "x.yaml"
    for number in numbers:
        content = nasty.experiment(number, seeds)
        path.write_bytes(content)
        overrides = [nasty.override(number)] if number % 8 == 0 else []
        outcome, seconds, num_bytes = _measured(path, overrides, watch)
        seen.outcomes[outcome if outcome in ("read", "refused") else "failed"] += 1
        seen.seconds, seen.num_bytes = max(seen.seconds, seconds), max(seen.num_bytes, num_bytes)
        if outcome not in ("read", "refused") or seconds > max_seconds or num_bytes > MAX_BYTES:
            told = f"{number}: {outcome}, {seconds:.2f} s, {num_bytes >> 20} MiB"
            seen.failures.append(f"{told}, {overrides} {content[:60]!r}")
    return seen


def _measured(path: Path, overrides: Sequence[str], watch: Watch) -> tuple[str, float, int]:
    before = _reset_peak()
    handler = signal.signal(signal.SIGALRM, _on_alarm)
    started = time.process_time()
    signal.alarm(GIVE_UP_SECONDS)
    try:
        with watch.armed(), own_functions_refused():
            outcome = read(path, overrides)
    except TooSlow:
        outcome = "too slow"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
    seconds = time.process_time() - started
    return (f"ran {watch.events[0]}" if watch.events else outcome), seconds, _peak() - before


@contextlib.contextmanager
def own_functions_refused() -> Iterator[None]:
    """`family: module:function` imports the module, which is what it is for."""

    def refuse(name: str, *arguments: Any) -> NoReturn:
        raise InputError(Problem("an own function", received=name))

    with (
        mock.patch("tuner.experiment.shapes.own_family", refuse),
        mock.patch("tuner.models.families.own_family", refuse),
    ):
        yield


def measure_names(numbers: Sequence[int], folder: Path) -> Seen:
    """Makes the run folders of hostile names; none may lie elsewhere than in its results folder."""
    results, seen = folder / "results", Seen()
    results.mkdir(exist_ok=True)
    link = results / "link"
    if not link.is_symlink():
        link.symlink_to(folder)
    before = sorted(folder.iterdir())
    for number in numbers:
        name = nasty.name(number)
        try:
            run = RunFolder(results, name)
            run.prepare()
        except InputError:
            seen.outcomes["refused"] += 1
        except Exception as error:
            seen.outcomes["failed"] += 1
            seen.failures.append(f"{number}: {name!r}: {type(error).__name__}: {error}"[:300])
        else:
            seen.outcomes["made"] += 1
            if run.path.resolve().parent != results.resolve() or sorted(folder.iterdir()) != before:
                seen.failures.append(f"{number}: {name!r} left its results folder")
    return seen


def _reset_peak() -> int:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return (
        int(found[1]) * 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )


def _on_alarm(*_: Any) -> NoReturn:
    raise TooSlow


def _part(numbers: Sequence[int], what: str) -> Seen:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    with tempfile.TemporaryDirectory() as folder:
        if what == "names":
            return measure_names(numbers, Path(folder))
        for name in ("quickstart", "cifar100-densenet-grid"):  # so that imports are not measured
            load_experiment(nasty.ROOT / "experiments" / f"{name}.yaml")
        import_module("numpy")
        return measure(numbers, Path(folder), Watch())


def _all(numbers: range, what: str, processes: int) -> Seen:
    parts = [numbers[first : first + 500] for first in range(0, len(numbers), 500)]
    total = Seen()
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=10) as pool:
        for done, seen in enumerate(pool.imap_unordered(partial(_part, what=what), parts), 1):
            total += seen
            progress = f"{what}: {done}/{len(parts)}, {len(total.failures)} failures"
            print(progress, *seen.failures, sep="\n    ", file=sys.stderr, flush=True)
    return total


def main() -> None:
    """Print the table; exit status 1 when something got through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="2,000 inputs of each kind")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    count = 2_000 if options.quick else options.inputs
    numbers = range(options.first, options.first + count)
    kinds = ("experiments", "names")
    experiments, names = (_all(numbers, kind, options.processes) for kind in kinds)
    rows = [
        ("experiments", count, _told(experiments), f"{experiments.seconds:.2f} s",
         f"{experiments.num_bytes >> 20} MiB", verdict(not experiments.failures)),
        ("names of run folders", count, _told(names), "", "", verdict(not names.failures)),
    ]  # fmt: skip
    head = ("input", "tried", "seen", "slowest (≤ 1 s)", "largest (≤ 200 MiB)", "as it should be")
    publish(
        [table("Hostile input", head, rows), *experiments.failures[:50], *names.failures[:50]],
        options.output,
    )
    sys.exit(bool(experiments.failures or names.failures))


def _told(seen: Seen) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(seen.outcomes.items()))


if __name__ == "__main__":
    main()
