"""Reading a ledger: what every view, plan and search needs, while another process may write."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger.codec import Late, decode, decode_all
from tuner.ledger.connection import damaged, open_for_reading, reading, version_of
from tuner.ledger.migration import migrated_copy
from tuner.ledger.profile import RunProfile
from tuner.ledger.records import CheckpointRow, EpochRow, EventRow, KnownTrial, Names, TrialRow
from tuner.ledger.schema import COLUMNS, SCHEMA_VERSION, checked_rows
from tuner.ledger.workers import WorkerRecord

_STATES = {state.value: state for state in TrialState}
_FIELDS = tuple(field.name for field in dataclasses.fields(TrialRow))
_STATE, _CONFIGURATION, _SEARCHED, _METRICS, _CONTEXT = (
    COLUMNS["trials"].index(name)
    for name in ("state", "configuration", "searched", "metrics", "context")
)


class LedgerReader:
    """One SQLite file: trials, their epochs, and events.

    Whatever reads several trials reads the current ones, those of the experiment as it stands,
    unless it is asked for `all_versions`. A lock is held for the length of one query, and half a
    change is never seen.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._contexts: dict[int, Mapping[str, Any]] = {0: {}}

    @classmethod
    def open_read_only(cls, path: Path) -> Self:
        """A reader's ledger, safe while another process writes.

        Raises:
            InputError: the file is missing, damaged, foreign or of a newer version.
        """
        connection = open_for_reading(path)
        with reading(path), _decoding(path):
            version = version_of(connection)
            if version < SCHEMA_VERSION:
                connection = migrated_copy(connection, version)
        return cls(path, connection)

    def close(self) -> None:
        """Closes the file; nothing is pending."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ------------------------------------------------------------------ what the run is

    @property
    def experiment_name(self) -> str:
        """The name of the experiment that made this ledger."""
        return str(self._meta("experiment", ""))

    @property
    def objective(self) -> Objective:
        """What the scores are of."""
        return Objective(*self._meta("objective", ("val_accuracy", "max")))

    @property
    def has_objective(self) -> bool:
        """Whether any run has said what the scores are of."""
        return self._meta("objective", None) is not None

    @property
    def experiment_yaml(self) -> str:
        """What `keep_experiment` kept last; empty in older ledgers."""
        return str(self._meta("experiment_yaml", ""))

    @property
    def data_record(self) -> dict[str, str] | None:
        """Fingerprints of the data sets that the experiment has used, by name; None at first."""
        found: dict[str, str] | None = self._meta("data", None)
        return found

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, hardware and hashes of the last run, as its event keeps them; or nothing."""
        clauses = "WHERE kind = 'environment' ORDER BY id DESC LIMIT 1"
        events = self._events(clauses)
        return dict(events[0].detail) if events else {}

    @property
    def last_run(self) -> dict[str, Any]:
        """What `begin_run` noted last: total, done, workers, started_at, epochs_before."""
        found: dict[str, Any] = self._meta("run", {})
        return found

    def may_take_up(self, counts: Mapping[TrialState, int]) -> bool:
        """Whether a rule may yet let stopped trials go on, as far as the last run has seen."""
        return bool(self.last_run.get("takes_up")) and counts[TrialState.STOPPED] > 0

    @property
    def workers(self) -> list[WorkerRecord]:
        """The workers of the last run, as they were some seconds ago, or at its end."""
        fields = {field.name for field in dataclasses.fields(WorkerRecord)}
        kept = self._meta("workers", [])
        with _decoding(self.path):
            known = [{n: v for n, v in one.items() if n in fields} for one in kept]
            return [WorkerRecord(**one) for one in known]

    @property
    def profile(self) -> RunProfile | None:
        """Where the time of the last run with `--profile` went; None where there was none."""
        kept = self._meta("profile", None)
        with _decoding(self.path):
            return RunProfile.from_json(kept) if kept else None

    @property
    def plan(self) -> str:
        """The key of the plan of which trials are current; empty before the first run."""
        return str(self._meta("plan", {}).get("plan", ""))

    @property
    def position(self) -> int:
        """The place in the plan before which every trial is recorded."""
        return int(self._meta("position", 0))

    @property
    def exempt(self) -> frozenset[int]:
        """Trials that a person has continued although a rule had stopped them."""
        return frozenset(self._meta("exempt", ()))

    def source(self, number: int) -> str:
        """Where the trial was taken over from; empty for one of this experiment's own."""
        taken = (event.detail for event in self.events_of("reused"))
        return next((str(d["from"]) for d in taken if number in d["trials"]), "")

    # ------------------------------------------------------------------ trials, epochs, events

    def rows(
        self, states: Sequence[TrialState] | None = None, *, all_versions: bool = False
    ) -> list[TrialRow]:
        """Trials in the order of their numbers, all or those in some states."""
        current = _current(all_versions)
        if states is None:
            # `+` keeps SQLite from an index here: the table lies in the order of its numbers.
            return self._rows(f"WHERE +{current} ORDER BY number")
        clauses = f"WHERE {current} AND state IN ({_marks(states)}) ORDER BY number"
        return self._rows(clauses, [state.value for state in states])

    def each_row(self, at_once: int = 500) -> Iterator[TrialRow]:
        """All current trials in the order of their numbers, a few in memory at a time."""
        number = 0
        clauses = "WHERE +is_current = 1 AND number > ? ORDER BY number LIMIT ?"
        while rows := self._rows(clauses, (number, at_once)):
            yield from rows
            number = rows[-1].number

    def row(self, number: int) -> TrialRow | None:
        """One trial of any version, or None."""
        rows = self._rows("WHERE number = ?", (number,))
        return rows[0] if rows else None

    def top(self, count: int) -> list[TrialRow]:
        """The best current trials by score, ties to the earlier; reads no more than it returns."""
        return self._rows(self._by_score, (count,))

    def _best_numbers(self, count: int) -> list[int]:
        """Those of `top`."""
        rows = self._fetch(f"SELECT number FROM trials {self._by_score}", (count,))
        return [row[0] for row in rows]

    @property
    def _by_score(self) -> str:
        order = "DESC" if self.objective.sign > 0 else "ASC"
        return f"WHERE is_current = 1 AND score IS NOT NULL ORDER BY score {order}, number LIMIT ?"

    def epochs(self, number: int | None = None, *, all_versions: bool = False) -> list[EpochRow]:
        """The epochs of one trial, or of all, in order."""
        if number is not None:
            rows = self._whole("epochs", "WHERE trial = ? ORDER BY epoch", (number,))
        elif all_versions:
            rows = self._whole("epochs", "ORDER BY trial, epoch")
        else:
            current = "SELECT number FROM trials WHERE is_current = 1"
            rows = self._whole("epochs", f"WHERE trial IN ({current}) ORDER BY trial, epoch")
        with _decoding(self.path):
            return [EpochRow(n, epoch, decode(m), seconds) for n, epoch, m, seconds in rows]

    def checkpoints(self, number: int | None = None) -> list[CheckpointRow]:
        """Checkpoints of a trial, newest first; or of all trials of all versions."""
        if number is None:
            rows = self._whole("checkpoints", "ORDER BY trial, epoch DESC")
        else:
            rows = self._whole("checkpoints", "WHERE trial = ? ORDER BY epoch DESC", (number,))
        return [CheckpointRow(*row) for row in rows]

    def counts(self, *, all_versions: bool = False) -> dict[TrialState, int]:
        """How many trials are in each state; every state is present."""
        query = f"SELECT state, count(*) FROM trials WHERE {_current(all_versions)} GROUP BY state"
        counts = dict(self._fetch(query))
        return {state: int(counts.get(state.value, 0)) for state in TrialState}

    def threads(self) -> dict[int, int]:
        """How many current trials were trained with how many threads; see `TrialRow`."""
        query = (
            "SELECT threads, count(*) FROM trials WHERE is_current = 1 AND epochs > 0 "
            "AND threads IS NOT NULL GROUP BY threads"
        )
        return dict(self._fetch(query))

    def num_superseded(self) -> int:
        """How many trials of earlier versions of the experiment are kept."""
        return int(self._fetch("SELECT count(*) FROM trials WHERE is_current = 0")[0][0])

    def trained_since(self, started_at: str) -> list[tuple[Any, ...]]:
        """By structure, of trials that were begun since then.

        Structure, trials with an outcome, their epochs and seconds, seconds of compiling.
        """
        query = (
            "SELECT structure, count(finished_at), "
            "coalesce(sum(CASE WHEN finished_at IS NOT NULL THEN epochs END), 0), "
            "coalesce(sum(train_seconds), 0.0), coalesce(max(compile_seconds), 0.0) "
            "FROM trials WHERE is_current = 1 AND started_at >= ? GROUP BY structure"
        )
        return self._fetch(query, (started_at,))

    def trained_epochs(self, states: Sequence[TrialState] = tuple(TrialState)) -> int:
        """Epochs of all current trials together, or of those in some states."""
        query = (
            "SELECT coalesce(sum(epochs), 0) FROM trials "
            f"WHERE is_current = 1 AND state IN ({_marks(states)})"
        )
        return int(self._fetch(query, [state.value for state in states])[0][0])

    def epochs_here(self) -> int:
        """Epochs of current trials that were trained for this ledger, not taken over."""
        query = (
            "SELECT coalesce(sum(epochs), 0) FROM trials "
            "WHERE is_current = 1 AND worker IS NOT NULL"
        )
        return int(self._fetch(query)[0][0])

    def by_key(self, *, all_versions: bool = False) -> dict[str, KnownTrial]:
        """Every trial's number and state by its key: what continuing a run needs."""
        query = f"SELECT key, number, state FROM trials WHERE {_current(all_versions)}"
        rows = self._fetch(query)
        with _decoding(self.path):
            return {key: KnownTrial(number, _STATES[state]) for key, number, state in rows}

    def events(self) -> list[EventRow]:
        """Everything that `event` kept, oldest first."""
        return self._events("ORDER BY id")

    def events_of(self, kind: str, trial: int | None = None) -> list[EventRow]:
        """Events of one kind, oldest first; of one trial where their details name it."""
        if trial is None:
            return self._events("WHERE kind = ? ORDER BY id", (kind,))
        clauses = "WHERE kind = ? AND json_extract(detail, '$.trial') = ? ORDER BY id"
        return self._events(clauses, (kind, trial))

    @property
    def value_names(self) -> tuple[str, ...]:
        """Dotted names that were searched in current trials, oldest first."""
        return tuple(self._read_names().values)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all final metrics of current trials, oldest first."""
        return tuple(self._read_names().metrics)

    # ------------------------------------------------------------------ inside

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with reading(self.path):
            return self._connection.execute(query, values).fetchall()

    def _whole(
        self, table: str, clauses: str, values: Sequence[Any] = (), more: str = ""
    ) -> list[tuple[Any, ...]]:
        """Rows that are what was written, with `more` columns that no digest covers."""
        columns = ", ".join((*COLUMNS[table], "digest"))
        rows = self._fetch(f"SELECT {columns}{more} FROM {table} {clauses}", values)
        with _decoding(self.path):
            return list(checked_rows(table, rows))

    def _rows(self, clauses: str, values: Sequence[Any] = ()) -> list[TrialRow]:
        rows = self._whole("trials", clauses, values, ", is_current")
        with _decoding(self.path):
            searched = decode_all([fields[_SEARCHED] for fields in rows])
            return [self._row(*pair) for pair in zip(rows, searched, strict=True)]

    def _row(self, fields: tuple[Any, ...], searched: dict[str, Any]) -> TrialRow:
        """The record of a line; its long texts, for which a digest vouches, are decoded late."""
        values = list(fields)
        values[_STATE] = _STATES[fields[_STATE]]
        values[_SEARCHED] = searched
        values[_CONFIGURATION] = Late(fields[_CONFIGURATION])
        values[_METRICS] = Late(fields[_METRICS])
        values[_CONTEXT] = self._context(fields[_CONTEXT])
        values[-1] = bool(fields[-1])
        row = object.__new__(TrialRow)
        # A frozen record's own __init__ sets field by field: three times as long, for 100,000 rows.
        row.__dict__.update(zip(_FIELDS, values, strict=True))
        return row

    def _context(self, number: int) -> Mapping[str, Any]:
        if number not in self._contexts:
            rows = self._whole("contexts", "")
            self._contexts |= {number: decode(content) for number, content in rows}
        return self._contexts[number]

    def _events(self, clauses: str, values: Sequence[Any] = ()) -> list[EventRow]:
        rows = self._whole("events", clauses, values)
        with _decoding(self.path):
            return [EventRow(at, kind, decode(detail)) for _, at, kind, detail in rows]

    def _numbers(self, state: TrialState, *, all_versions: bool = False) -> list[int]:
        query = f"SELECT number FROM trials WHERE {_current(all_versions)} AND state = ?"
        return [row[0] for row in self._fetch(query, (state.value,))]

    def _meta(self, name: str, default: Any) -> Any:
        rows = self._whole("meta", "WHERE name = ?", (name,))
        with _decoding(self.path):
            return decode(rows[0][1]) if rows else default

    def _read_names(self) -> Names:
        stored = self._meta("names", {})
        with _decoding(self.path):
            return Names(stored)


def _current(all_versions: bool) -> str:
    return "TRUE" if all_versions else "is_current = 1"


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"an unreadable row: {error}") from error
