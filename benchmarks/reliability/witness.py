"""Remembers everything that a ledger ever held, and says what was lost, changed or done twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.reliability.search import FINISHED, View, look


class Witness:
    """An epoch's seconds, measured to the nanosecond, tell the very training that it came from:
    when they change, a recorded epoch was trained a second time. Only epochs behind the trial's
    last checkpoint may be, and then must come out with the same metrics.
    """

    def __init__(self, results: Path, final: Sequence[str] = FINISHED) -> None:
        self._results = results
        self._final = final  # states in which a trial stays as it is
        self._epochs: dict[tuple[int, int], dict[str, Any]] = {}
        self._finished: dict[int, dict[str, Any]] = {}
        self._saved: dict[int, int] = {}  # trial → the last epoch that must stay
        self._retold: set[str] = set()
        self.broken: list[str] = []
        self.looks = 0

    def look(self) -> View:
        """Compare what is there with what was, and remember it."""
        view = look(self._results)
        self.looks += 1
        for where, row in self._epochs.items():
            self._check_epoch(where, row, view.epochs.get(where))
        for number, row in self._finished.items():
            if view.trials.get(number) != row:
                self._tell(f"finished trial {number} has changed", row, view.trials.get(number))
        self._epochs |= view.epochs
        self._finished |= {n: view.trials[n] for n in view.in_state(*self._final)}
        for number, epoch in view.checkpoints:
            self._saved[number] = max(epoch, self._saved.get(number, 0))
        for number in view.in_state(*FINISHED):
            self._saved[number] = view.trials[number]["epochs"]
        return view

    @property
    def num_epochs(self) -> int:
        return len(self._epochs)

    def _check_epoch(
        self, where: tuple[int, int], was: dict[str, Any], now: dict[str, Any] | None
    ) -> None:
        what = f"trial {where[0]} epoch {where[1]}"
        is_saved = where[1] <= self._saved.get(where[0], 0)
        if now is not None and now["metrics"] != was["metrics"]:
            self._tell(f"other metrics: {what}", was["metrics"], now["metrics"])
        elif now is None and is_saved:
            self._tell(f"lost: {what}")
        elif now is not None and is_saved and now["seconds"] != was["seconds"]:
            self._tell(f"trained twice: {what}")

    def _tell(self, what: str, *details: object) -> None:
        if what not in self._retold:
            self._retold.add(what)
            self.broken.append(" | ".join([what, *map(str, details)]))

    def check_files(self, view: View) -> None:
        """Every checkpoint that the ledger names is there and whole, and there are no others."""
        folder = self._results / "checkpoints"
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        named = {row["file"]: row["sha256"] for row in view.checkpoints.values()}
        for file in sorted(there - named.keys()):
            self._tell(f"a file that no ledger names: {file}")
        for file, digest in named.items():
            path = folder / file
            if not path.is_file():
                self._tell(f"a checkpoint is missing: {file}")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                self._tell(f"a checkpoint is damaged: {file}")
