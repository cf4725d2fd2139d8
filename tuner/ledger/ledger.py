"""The ledger: the one file in which everything that a run learns is kept, one commit at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from tuner.errors import TunerError
from tuner.experiment.trial import TrialState
from tuner.ledger import connection as files
from tuner.ledger.codec import decode, encode
from tuner.ledger.names import Names
from tuner.ledger.records import (
    FINISHED_STATES,
    RANKED_STATES,
    EpochRow,
    EventRow,
    KnownTrial,
    NewTrial,
    Outcome,
    TrialRow,
)
from tuner.ledger.rows import TRIAL_COLUMNS, row_of
from tuner.ledger.scores import best_of, rankable_score


def utc_now() -> datetime:
    """The clock that ledgers use unless a test passes its own."""
    return datetime.now(UTC)


class Ledger:
    """One SQLite file: trials, their epochs, and events. One process writes, any number read.

    Every method that changes something is one commit and is on the disk when it returns (0.5 to 2
    milliseconds). Readers hold a lock for the length of one query and never see half a change.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.path = path
        self._connection = connection
        self._now = now
        self._names: Names | None = None

    @classmethod
    def create_or_open(
        cls, path: Path, experiment_name: str, *, now: Callable[[], datetime] = utc_now
    ) -> Ledger:
        """The writer's ledger. Hold the run's lock (`RunFolder.lock`) while it is open.

        Raises:
            InputError: the file is damaged, foreign or of a newer version; it is left as it is.
        """
        if not path.exists():
            files.create(path, experiment_name)
        return cls(path, files.open_for_writing(path), now)

    @classmethod
    def open_read_only(cls, path: Path) -> Ledger:
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
    def objective(self) -> tuple[str, str]:
        """Metric and direction (`max` or `min`) of the scores."""
        metric, direction = self._meta("objective", ("val_accuracy", "max"))
        return str(metric), str(direction)

    def set_objective(self, metric: str, direction: str) -> None:
        """Says what scores mean. When that changes, every score is computed again from the epochs.

        A score is the best value of the metric over a trial's epochs, the earliest one in a tie.
        """
        previous = self._meta("objective", None)
        if previous is not None and tuple(previous) == (metric, direction):
            return
        with self._commit():
            self._set_meta("objective", (metric, direction))
            if previous is not None:
                self._score_again(metric, direction)

    def begin_run(self, *, total: int | None, done: int, workers: int) -> None:
        """Notes what a run sets out to do, so that `status` can tell how far it is."""
        finished = sum(n for state, n in self.counts().items() if state in FINISHED_STATES)
        with self._commit():
            self._set_meta(
                "run",
                {
                    "total": total,
                    "done": done,
                    "workers": workers,
                    "finished_before": finished,
                    "started_at": self._time(),
                },
            )
            self._insert_event("run", {"total": total, "done": done, "workers": workers})

    @property
    def last_run(self) -> dict[str, Any]:
        """What `begin_run` noted last: total, done, workers, finished_before, started_at."""
        found: dict[str, Any] = self._meta("run", {})
        return found

    # ------------------------------------------------------------------ the life of a trial

    def add(self, trials: Sequence[NewTrial]) -> list[int]:
        """Records proposed trials as WAITING, all in one commit; returns their numbers."""
        names = self._known_names()
        changed = names.note(trials)
        with self._commit():
            if changed:
                self._set_meta("names", names.to_json())
            return [self._insert(trial) for trial in trials]

    def start(self, number: int, worker: int, attempt: int = 1) -> None:
        """The trial is RUNNING on a worker, from its beginning."""
        with self._commit():
            self._forget_epochs(number)
            self._update(
                number,
                state=TrialState.RUNNING.value,
                worker=worker,
                attempt=attempt,
                started_at=self._time(),
            )

    def record_epoch(
        self, number: int, epoch: int, metrics: Mapping[str, float], seconds: float
    ) -> None:
        """One epoch is done; a second report of the same epoch replaces the first."""
        with self._commit():
            self._execute(
                "INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?)",
                (number, epoch, encode(dict(metrics)), seconds),
            )
            self._update(number, epochs=epoch)

    def finish(self, number: int, outcome: Outcome) -> None:
        """The trial's end. Only COMPLETED and STOPPED trials keep a score, and NaN is none."""
        names = self._known_names()
        with self._commit():
            if names.note_metrics(outcome.metrics):
                self._set_meta("names", names.to_json())
            self._update(
                number,
                state=outcome.state.value,
                score=rankable_score(outcome),
                best_epoch=outcome.best_epoch,
                metrics=encode(dict(outcome.metrics)),
                train_seconds=outcome.train_seconds,
                compile_seconds=outcome.compile_seconds,
                reason=outcome.reason,
                finished_at=self._time(),
            )

    def requeue(self, number: int) -> None:
        """The trial is WAITING again and starts from its beginning; its epochs are dropped."""
        with self._commit():
            self._forget_epochs(number)
            self._update(number, state=TrialState.WAITING.value, **_BLANK)

    def interrupted(self) -> int:
        """Requeues every trial that an earlier run left RUNNING; returns how many."""
        query = "SELECT number FROM trials WHERE state = ?"
        numbers = [row[0] for row in self._fetch(query, (TrialState.RUNNING.value,))]
        with self._commit():
            for number in numbers:
                self._forget_epochs(number)
                self._update(number, state=TrialState.WAITING.value, **_BLANK)
        return len(numbers)

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Keeps something worth remembering that is no trial."""
        with self._commit():
            self._insert_event(kind, dict(detail or {}))

    # ------------------------------------------------------------------ reading

    def rows(self, states: Sequence[TrialState] | None = None) -> list[TrialRow]:
        """Trials in the order of their numbers, all or those in some states."""
        if states is None:
            return self._rows("ORDER BY number")
        marks = ", ".join("?" * len(states))
        wanted = tuple(state.value for state in states)
        return self._rows(f"WHERE state IN ({marks}) ORDER BY number", wanted)

    def row(self, number: int) -> TrialRow | None:
        """One trial, or None."""
        found = self._rows("WHERE number = ?", (number,))
        return found[0] if found else None

    def top(self, count: int) -> list[TrialRow]:
        """The best trials by score, ties to the earlier; reads no more than it returns."""
        order = "DESC" if self.objective[1] == "max" else "ASC"
        where = f"WHERE score IS NOT NULL ORDER BY score {order}, number LIMIT ?"
        return self._rows(where, (count,))

    def epochs(self, number: int | None = None) -> list[EpochRow]:
        """The epochs of one trial, or of all, in order."""
        query = "SELECT trial, epoch, metrics, seconds FROM epochs"
        if number is None:
            found = self._fetch(f"{query} ORDER BY trial, epoch")
        else:
            found = self._fetch(f"{query} WHERE trial = ? ORDER BY epoch", (number,))
        with self._decoding():
            return [EpochRow(n, epoch, decode(m), seconds) for n, epoch, m, seconds in found]

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

    def by_key(self) -> dict[str, KnownTrial]:
        """Every trial's number and state by its key: what continuing a run needs."""
        found = self._fetch("SELECT key, number, state FROM trials")
        states = {state.value: state for state in TrialState}
        with self._decoding():
            return {key: KnownTrial(number, states[state]) for key, number, state in found}

    def events(self) -> list[EventRow]:
        """Everything that `event` kept, oldest first."""
        found = self._fetch("SELECT at, kind, detail FROM events ORDER BY id")
        with self._decoding():
            return [EventRow(at, kind, decode(detail)) for at, kind, detail in found]

    @property
    def value_names(self) -> tuple[str, ...]:
        """Dotted names that were searched or that differ between trials, oldest first."""
        return self._read_names().values

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of all final metrics, oldest first."""
        return self._read_names().metrics

    # ------------------------------------------------------------------ inside

    @contextmanager
    def _commit(self) -> Iterator[None]:
        with files.writing(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with files.reading(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError, TypeError) as error:
            raise files.damaged(self.path, f"an unreadable row: {error}") from error

    def _rows(self, clauses: str, values: Sequence[Any] = ()) -> list[TrialRow]:
        found = self._fetch(f"SELECT {TRIAL_COLUMNS} FROM trials {clauses}", values)
        with self._decoding():
            return [row_of(fields) for fields in found]

    def _insert(self, trial: NewTrial) -> int:
        try:
            cursor = self._execute(
                "INSERT INTO trials (key, state, configuration, searched, replicate, seed, "
                "structure, parameters, macs) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    trial.key,
                    TrialState.WAITING.value,
                    encode(dict(trial.configuration)),
                    encode(dict(trial.values)),
                    trial.replicate,
                    trial.seed,
                    trial.structure,
                    trial.parameters,
                    trial.macs,
                ),
            )
        except sqlite3.IntegrityError as error:
            raise TunerError(f"{self.path}: trial {trial.key} is there already") from error
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _update(self, number: int, **fields: Any) -> None:
        assignments = ", ".join(f"{name} = ?" for name in fields)
        statement = f"UPDATE trials SET {assignments} WHERE number = ?"
        if self._execute(statement, (*fields.values(), number)).rowcount != 1:
            raise TunerError(f"{self.path}: there is no trial {number}")

    def _forget_epochs(self, number: int) -> None:
        self._execute("DELETE FROM epochs WHERE trial = ?", (number,))
        self._update(number, epochs=0)

    def _insert_event(self, kind: str, detail: dict[str, Any]) -> None:
        statement = "INSERT INTO events (at, kind, detail) VALUES (?, ?, ?)"
        self._execute(statement, (self._time(), kind, encode(detail)))

    def _score_again(self, metric: str, direction: str) -> None:
        for row in self.rows(RANKED_STATES):
            epoch, score = best_of(self.epochs(row.number), metric, direction)
            self._update(row.number, score=score, best_epoch=epoch)

    def _meta(self, name: str, default: Any) -> Any:
        found = self._fetch("SELECT value FROM meta WHERE name = ?", (name,))
        with self._decoding():
            return decode(found[0][0]) if found else default

    def _set_meta(self, name: str, value: Any) -> None:
        self._execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, encode(value)))

    def _known_names(self) -> Names:
        if self._names is None:
            self._names = self._read_names()
        return self._names

    def _read_names(self) -> Names:
        stored = self._meta("names", {})
        with self._decoding():
            return Names.from_json(stored)

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds")


_BLANK: dict[str, Any] = {
    "score": None,
    "best_epoch": None,
    "metrics": "{}",
    "train_seconds": None,
    "compile_seconds": None,
    "reason": "",
    "started_at": None,
    "finished_at": None,
}
