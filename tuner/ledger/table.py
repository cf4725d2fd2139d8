"""trials.csv: one row a trial, safe for spreadsheets, kept up to date at a bounded cost."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tuner.ledger.folder import Draft, write_atomically
from tuner.ledger.reader import LedgerReader
from tuner.ledger.records import TrialRow

# A spreadsheet takes text that begins so for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_REST_PER_WRITE = 50.0  # writing the file takes at most 1/50 of a run
_MOMENT = 0.05  # seconds that workers wait for it at a time
_PIECE = 200  # lines that take some milliseconds


def csv_columns(ledger: LedgerReader) -> list[str]:
    """The columns of trials.csv, in order."""
    return [
        *("trial", "state", "score", "epochs"),
        *ledger.value_names,
        *("replicate", "seed"),
        *ledger.metric_names,
        *("parameters", "macs", "train_seconds", "compile_seconds", "reason"),
    ]


def csv_row(row: TrialRow, value_names: Sequence[str], metric_names: Sequence[str]) -> list[Any]:
    """One trial's values in the order of `csv_columns`."""
    return [
        *(row.number, row.state.value, row.score, row.epochs),
        *(row.value(name) for name in value_names),
        *(row.replicate, row.seed),
        *(row.metrics.get(name) for name in metric_names),
        *(row.parameters, row.macs, row.train_seconds, row.compile_seconds, row.reason),
    ]


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV text with one header line; numbers in full precision, text never a formula."""
    return "".join(_lines(columns, rows))


def _lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    writer = csv.writer(_Echo(), lineterminator="\n")
    yield writer.writerow([csv_cell(column) for column in columns])
    for row in rows:
        yield writer.writerow([csv_cell(value) for value in row])


class _Echo:
    """What `csv` writes to; gives every line back."""

    def write(self, line: str) -> str:
        """The line itself."""
        return line


def csv_cell(value: Any) -> str:
    """One value as text: nothing for None, JSON for lists, a leading ' before formulas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return "'" + text if text.startswith(_FORMULA_STARTS) else text


def csv_lines(ledger: LedgerReader) -> Iterator[str]:
    """What trials.csv holds when it is up to date, line by line: a ledger may be large."""
    names, metrics = ledger.value_names, ledger.metric_names
    rows = (csv_row(row, names, metrics) for row in ledger.each_row())
    return _lines(csv_columns(ledger), rows)


def csv_text(ledger: LedgerReader) -> str:
    """The same in one piece."""
    return "".join(csv_lines(ledger))


class TrialsCsv:
    """Keeps trials.csv in step with the ledger.

    `refresh` may be called at every trial's end: it writes only when the time since the last
    writing is long beside what writing costs, and a long table piece by piece, since workers wait
    meanwhile: a million trials take a minute. `write` at the end of a run makes it exact.
    """

    def __init__(
        self, path: Path, ledger: LedgerReader, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._ledger = ledger
        self._clock = clock
        self._next_write = clock()
        self._begun: tuple[Draft, Iterator[str]] | None = None  # with what is still to be written

    def refresh(self) -> None:
        """Writes on at the file for a moment, unless that was done a moment ago."""
        begun = self._clock()
        if begun < self._next_write:
            return
        try:
            self._write_on(begun + _MOMENT)
        except BaseException:
            self._discard()
            raise
        finally:
            ended = self._clock()
            self._next_write = ended + max(1.0, _REST_PER_WRITE * (ended - begun))

    def write(self) -> None:
        """Writes the file now, whole or not at all."""
        self._discard()
        write_atomically(self._path, csv_lines(self._ledger))

    def _write_on(self, until: float) -> None:
        draft, lines = self._begun = self._begun or (Draft(self._path), csv_lines(self._ledger))
        while piece := list(islice(lines, _PIECE)):
            draft.write(piece)
            if len(piece) == _PIECE and self._clock() >= until:
                return
        draft.publish()
        self._begun = None

    def _discard(self) -> None:
        if self._begun is not None:
            self._begun[0].discard()
            self._begun = None
