"""Reading a ledger: what every view, plan and search needs, while another process may write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger import connection as files
from tuner.ledger import sealed
from tuner.ledger.codec import decode
from tuner.ledger.connection import version_of
from tuner.ledger.damage import damaged, reading
from tuner.ledger.names import Names
from tuner.ledger.queries import Rows, Texts
from tuner.ledger.records import (
    CheckpointRow,
    EpochRow,
    EventRow,
    KnownTrial,
    TrialRow,
)
from tuner.ledger.rows import row_of


class LedgerReader:
    """One SQLite file: trials, their epochs, and events.

    A lock is held for the length of one query, and half a change is never seen.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        with reading(path):
            self._version = version_of(connection)

    @classmethod
    def open_read_only(cls, path: Path) -> Self:
        """A reader's ledger, safe while another process writes.

        Raises:
            InputError: the file is missing, damaged, foreign or of a newer version.
        """
        return cls(path, files.open_for_reading(path))

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
        found = self._whole("events", clauses)
        with self._decoding():
            return dict(decode(found[0][3])) if found else {}

    @property
    def last_run(self) -> dict[str, Any]:
        """What `begin_run` noted last: total, done, workers, started_at.

        And what was there before it: `finished_before` (trials), `epochs_before`.
        """
        found: dict[str, Any] = self._meta("run", {})
        return found

    def position(self, plan: str) -> int:
        """The place in a settled plan before which every trial is recorded; 0 in another plan."""
        return int(self._meta("position", 0)) if self.strangers(plan) is not None else 0

    def strangers(self, plan: str) -> frozenset[int] | None:
        """Trials that are not of the plan that was settled last; None if that was another."""
        found = self._meta("plan", {})
        return frozenset(found["strangers"]) if found.get("plan") == plan else None

    @property
    def exempt(self) -> frozenset[int]:
        """Trials that a person has continued although a rule had stopped them."""
        return frozenset(self._meta("exempt", ()))

    def source(self, number: int) -> str:
        """Where the trial was taken over from; empty for one of this experiment's own."""
        taken = (event.detail for event in self.events_of("reused"))
        return next((str(d["from"]) for d in taken if number in d["trials"]), "")

    # ------------------------------------------------------------------ trials, epochs, events

    def rows(self, states: Sequence[TrialState] | None = None) -> list[TrialRow]:
        """Trials in the order of their numbers, all or those in some states."""
        if states is None:
            return self._rows("ORDER BY number")
        marks = ", ".join("?" * len(states))
        wanted = tuple(state.value for state in states)
        return self._rows(f"WHERE state IN ({marks}) ORDER BY number", wanted)

    def each_row(self, at_once: int = 500) -> Iterator[TrialRow]:
        """All trials in the order of their numbers, a few in memory at a time."""
        number = 0
        while rows := self._rows("WHERE number > ? ORDER BY number LIMIT ?", (number, at_once)):
            yield from rows
            number = rows[-1].number

    def all_rows(self) -> Sequence[TrialRow]:
        """All trials in the order of their numbers; their records are made when looked at."""
        if self._version < sealed.SINCE_VERSION:
            return self.rows()  # no digest vouches for the texts: decoded at once
        return Rows(Texts(self._whole("trials", "ORDER BY number")))

    def row(self, number: int) -> TrialRow | None:
        """One trial, or None."""
        found = self._rows("WHERE number = ?", (number,))
        return found[0] if found else None

    def top(self, count: int) -> list[TrialRow]:
        """The best trials by score, ties to the earlier; reads no more than it returns."""
        order = "DESC" if self.objective.sign > 0 else "ASC"
        where = f"WHERE score IS NOT NULL ORDER BY score {order}, number LIMIT ?"
        return self._rows(where, (count,))

    def epochs(self, number: int | None = None) -> list[EpochRow]:
        """The epochs of one trial, or of all, in order."""
        if number is None:
            found = self._whole("epochs", "ORDER BY trial, epoch")
        else:
            found = self._whole("epochs", "WHERE trial = ? ORDER BY epoch", (number,))
        with self._decoding():
            return [EpochRow(n, epoch, decode(m), seconds) for n, epoch, m, seconds in found]

    def checkpoints(self, number: int | None = None) -> list[CheckpointRow]:
        """Checkpoints of a trial, newest first; or of all trials."""
        if number is None:
            found = self._whole("checkpoints", "ORDER BY trial, epoch DESC")
        else:
            found = self._whole("checkpoints", "WHERE trial = ? ORDER BY epoch DESC", (number,))
        return [CheckpointRow(*row) for row in found]

    def counts(self) -> dict[TrialState, int]:
        """How many trials are in each state; every state is present."""
        found = dict(self._fetch("SELECT state, count(*) FROM trials GROUP BY state"))
        return {state: int(found.get(state.value, 0)) for state in TrialState}

    def mean_seconds(self) -> float | None:
        """Mean seconds of a ranked trial, compiling included; None before there is one."""
        query = (
            "SELECT avg(train_seconds + coalesce(compile_seconds, 0)) FROM trials "
            "WHERE score IS NOT NULL"
        )
        found: float | None = self._fetch(query)[0][0]
        return found

    def trained_epochs(self, states: Sequence[TrialState] = tuple(TrialState)) -> int:
        """Epochs of all trials together, or of those in some states."""
        marks = ", ".join("?" * len(states))
        query = f"SELECT coalesce(sum(epochs), 0) FROM trials WHERE state IN ({marks})"
        return int(self._fetch(query, [state.value for state in states])[0][0])

    def epochs_here(self) -> int:
        """Epochs that were trained for this ledger, and not taken over from another."""
        query = "SELECT coalesce(sum(epochs), 0) FROM trials WHERE worker IS NOT NULL"
        return int(self._fetch(query)[0][0])

    def by_key(self) -> dict[str, KnownTrial]:
        """Every trial's number and state by its key: what continuing a run needs."""
        found = self._fetch("SELECT key, number, state FROM trials")
        states = {state.value: state for state in TrialState}
        with self._decoding():
            return {key: KnownTrial(number, states[state]) for key, number, state in found}

    def events(self) -> list[EventRow]:
        """Everything that `event` kept, oldest first."""
        found = self._whole("events", "ORDER BY id")
        with self._decoding():
            return [EventRow(at, kind, decode(detail)) for _, at, kind, detail in found]

    def events_of(self, kind: str, trial: int | None = None) -> list[EventRow]:
        """Events of one kind, oldest first; of one trial where their details name it."""
        clauses = "WHERE kind = ?"
        values: list[Any] = [kind]
        if trial is not None:
            clauses += " AND json_extract(detail, '$.trial') = ?"
            values.append(trial)
        found = self._whole("events", f"{clauses} ORDER BY id", values)
        with self._decoding():
            return [EventRow(at, kind, decode(detail)) for _, at, kind, detail in found]

    @property
    def value_names(self) -> tuple[str, ...]:
        """Dotted names that were searched or that differ between trials, oldest first."""
        return self._read_names().values

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all final metrics, oldest first."""
        return self._read_names().metrics

    # ------------------------------------------------------------------ inside

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with reading(self.path):
            return self._connection.execute(query, values).fetchall()

    def _whole(self, table: str, clauses: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows that are what was written; a table that an older version lacks has none."""
        columns = sealed.selection(table, self._version)
        if columns is None:
            return []
        found = self._fetch(f"SELECT {columns} FROM {table} {clauses}", values)
        with self._decoding():
            return list(sealed.opened(table, self._version, found))

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(self.path, f"an unreadable row: {error}") from error

    def _rows(self, clauses: str, values: Sequence[Any] = ()) -> list[TrialRow]:
        found = self._whole("trials", clauses, values)
        with self._decoding():
            return [row_of(fields, self._version) for fields in found]

    def _numbers(self, state: TrialState) -> list[int]:
        found = self._fetch("SELECT number FROM trials WHERE state = ?", (state.value,))
        return [row[0] for row in found]

    def _meta(self, name: str, default: Any) -> Any:
        found = self._whole("meta", "WHERE name = ?", (name,))
        with self._decoding():
            return decode(found[0][1]) if found else default

    def _read_names(self) -> Names:
        stored = self._meta("names", {})
        with self._decoding():
            return Names.from_json(stored)
