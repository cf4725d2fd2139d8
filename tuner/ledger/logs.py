"""What workers printed, in `logs/worker-N.log`, and which trial each line belongs to.

A worker writes a line when it begins a trial and one when that ends; what it prints in between is
the trial's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BEGINS = "=== trial {number} begins (attempt {attempt}) ==="
_ENDS = "=== trial {number} ends ==="
_MARK = re.compile(r"=== trial (\d+) (begins|ends)(?: \(attempt \d+\))? ===")
STARTED = "=== a worker starts ==="


@dataclass(frozen=True)
class LogLine:
    """A line and the trial that was trained when it was printed; None between trials."""

    worker: str
    text: str
    trial: int | None


def begins(number: int, attempt: int) -> str:
    """The line that begins a trial's part of a log."""
    return _BEGINS.format(number=number, attempt=attempt)


def ends(number: int) -> str:
    """The line that ends it."""
    return _ENDS.format(number=number)


def log_files(logs: Path) -> list[Path]:
    """The logs in a folder, by the number of their worker."""
    found = logs.glob("worker-*.log")
    return sorted(found, key=lambda path: (len(path.name), path.name))


def log_lines(logs: Path) -> Iterator[LogLine]:
    """Every line of every worker, one worker after the other."""
    for path in log_files(logs):
        trial: int | None = None
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:
                text = line.rstrip("\r\n")
                mark = _MARK.fullmatch(text)
                if text == STARTED:
                    trial = None
                elif mark and mark[2] == "begins":
                    trial = int(mark[1])
                yield LogLine(path.stem, text, trial)
                if mark and mark[2] == "ends":
                    trial = None
