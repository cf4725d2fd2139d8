"""The ledger: the one file in which everything that a run learns is kept, one commit at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from tuner.errors import TunerError
from tuner.experiment.trial import TrialState
from tuner.ledger import connection as files
from tuner.ledger import sealed
from tuner.ledger.checkpoint import SavedCheckpoint
from tuner.ledger.codec import decode, encode
from tuner.ledger.damage import damaged, reading, writing
from tuner.ledger.names import Names
from tuner.ledger.records import (
    FINISHED_STATES,
    RANKED_STATES,
    CheckpointRow,
    EpochRow,
    EventRow,
    KnownTrial,
    NewTrial,
    Outcome,
    TrialRow,
)
from tuner.ledger.rows import row_of
from tuner.ledger.scores import best_of, rankable_score
from tuner.ledger.soundness import version_of


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
        with reading(path):
            self._version = version_of(connection)

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

    def settle_plan(self, plan: str, strangers: Collection[int]) -> None:
        """Notes which of the present trials are not of a plan; those added from now on are.

        A run calls it before it adds trials, so that what belongs to its plan is known without
        looking at any trial again.
        """
        with self._commit():
            self._set_meta("plan", {"plan": plan, "strangers": sorted(strangers)})

    def strangers(self, plan: str) -> frozenset[int] | None:
        """Trials that are not of the plan that was settled last; None if that was another."""
        found = self._meta("plan", {})
        return frozenset(found["strangers"]) if found.get("plan") == plan else None

    def keep_experiment(self, text: str) -> None:
        """Keeps the experiment as it was resolved: what restores a damaged experiment.yaml."""
        if text != self.experiment_yaml:
            with self._commit():
                self._set_meta("experiment_yaml", text)

    @property
    def experiment_yaml(self) -> str:
        """What `keep_experiment` kept last; empty in older ledgers."""
        return str(self._meta("experiment_yaml", ""))

    @property
    def data_record(self) -> dict[str, str] | None:
        """Fingerprints of the data sets that the experiment has used, by name; None at first."""
        found: dict[str, str] | None = self._meta("data", None)
        return found

    def keep_data_record(self, record: Mapping[str, str]) -> None:
        """Keeps them, so that a changed data set is noticed."""
        if dict(record) != self.data_record:
            with self._commit():
                self._set_meta("data", dict(record))

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, hardware and hashes of the last run, as its event keeps them; or nothing."""
        clauses = "WHERE kind = 'environment' ORDER BY id DESC LIMIT 1"
        found = self._whole("events", clauses)
        with self._decoding():
            return dict(decode(found[0][3])) if found else {}

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
        """The trial is RUNNING on a worker; it goes on after the epochs that it has."""
        with self._commit():
            self._update(
                number,
                state=TrialState.RUNNING.value,
                worker=worker,
                attempt=attempt,
                started_at=self._time(),
            )

    def record_epoch(
        self,
        number: int,
        epoch: int,
        metrics: Mapping[str, float],
        seconds: float,
        checkpoint: SavedCheckpoint | None = None,
        kept: Collection[int] = (),
    ) -> list[str]:
        """One epoch is done; a second report of the same epoch replaces the first.

        The checkpoint of the state after it is named in the same commit, and those of other epochs
        are named no more, but for the epochs in `kept`; gives their files.
        """
        superseded: list[str] = []
        with self._commit():
            self._execute(
                "INSERT OR REPLACE INTO epochs (trial, epoch, metrics, seconds) "
                "VALUES (?, ?, ?, ?)",
                (number, epoch, encode(dict(metrics)), seconds),
            )
            self._seal("epochs", "trial = ? AND epoch = ?", number, epoch)
            self._update(number, epochs=epoch)
            if checkpoint is not None:
                superseded = self._forget_checkpoints(number, kept)
                self._execute(
                    "INSERT OR REPLACE INTO checkpoints (trial, epoch, file, sha256, bytes) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (number, epoch, checkpoint.file, checkpoint.sha256, checkpoint.num_bytes),
                )
                self._seal("checkpoints", "trial = ? AND epoch = ?", number, epoch)
        return superseded

    def go_back(self, number: int, epoch: int) -> None:
        """The trial stands after `epoch`: what was recorded of later ones is dropped."""
        with self._commit():
            self._go_back(number, epoch)

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
        """The trial is WAITING again and will go on from its newest checkpoint."""
        with self._commit():
            self._requeue(number)

    def interrupted(self) -> int:
        """Requeues every trial that an earlier run left RUNNING; returns how many."""
        numbers = self._numbers(TrialState.RUNNING)
        with self._commit():
            for number in numbers:
                self._requeue(number)
        return len(numbers)

    def forget_spare_checkpoints(self, number: int, top: int) -> list[str]:
        """Name no checkpoint that nobody needs any more, after trial `number` has ended.

        A failed trial keeps its newest, to be tried again; a stopped one its newest and its best,
        to be continued; a completed one its best while it is among the `top`; a diverged one none.
        Gives the files of the others.
        """
        best = {row.number for row in self.top(top)}
        query = (
            "SELECT DISTINCT c.trial, t.state, t.best_epoch FROM checkpoints c "
            "JOIN trials t ON t.number = c.trial WHERE c.trial = ? OR t.state = ?"
        )
        files: list[str] = []
        found = self._fetch(query, (number, TrialState.COMPLETED.value))
        with self._commit():
            for trial, state, best_epoch in found:
                newest = self._newest_checkpoint(trial)
                kept = {
                    TrialState.COMPLETED.value: [best_epoch] if trial in best else [],
                    TrialState.STOPPED.value: [newest, best_epoch],
                    TrialState.FAILED.value: [newest],
                    TrialState.DIVERGED.value: [],
                }.get(state, [newest, best_epoch])
                files += self._forget_checkpoints(trial, kept)
        return files

    def forget_checkpoints(self, rows: Sequence[CheckpointRow]) -> None:
        """Name these no more, whatever became of their files."""
        with self._commit():
            for row in rows:
                statement = "DELETE FROM checkpoints WHERE trial = ? AND epoch = ?"
                self._execute(statement, (row.number, row.epoch))

    def retry(self, states: Sequence[TrialState]) -> int:
        """Requeues every trial in these states; returns how many.

        A failed one goes on from its newest checkpoint, a diverged one has none that is any good.
        """
        numbers = [number for state in states for number in self._numbers(state)]
        with self._commit():
            for number in numbers:
                self._requeue(number)
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
        with writing(self.path):
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

    def _seal(self, table: str, where: str, *key: Any) -> None:
        sealed.seal(self._connection, table, where, key)

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
        self._seal("trials", "number = ?", cursor.lastrowid)
        return cursor.lastrowid

    def _update(self, number: int, **fields: Any) -> None:
        assignments = ", ".join(f"{name} = ?" for name in fields)
        statement = f"UPDATE trials SET {assignments} WHERE number = ?"
        if self._execute(statement, (*fields.values(), number)).rowcount != 1:
            raise TunerError(f"{self.path}: there is no trial {number}")
        self._seal("trials", "number = ?", number)

    def _numbers(self, state: TrialState) -> list[int]:
        found = self._fetch("SELECT number FROM trials WHERE state = ?", (state.value,))
        return [row[0] for row in found]

    def _newest_checkpoint(self, number: int) -> int:
        query = "SELECT max(epoch) FROM checkpoints WHERE trial = ?"
        return self._execute(query, (number,)).fetchone()[0] or 0

    def _forget_checkpoints(self, number: int, kept: Collection[int | None]) -> list[str]:
        gone = [row for row in self.checkpoints(number) if row.epoch not in kept]
        for row in gone:
            statement = "DELETE FROM checkpoints WHERE trial = ? AND epoch = ?"
            self._execute(statement, (number, row.epoch))
        return [row.file for row in gone]

    def _requeue(self, number: int) -> None:
        self._go_back(number, self._newest_checkpoint(number))
        self._update(number, state=TrialState.WAITING.value, **_BLANK)

    def _go_back(self, number: int, epoch: int) -> None:
        for table in ("epochs", "checkpoints"):
            self._execute(f"DELETE FROM {table} WHERE trial = ? AND epoch > ?", (number, epoch))
        self._update(number, epochs=epoch)

    def _insert_event(self, kind: str, detail: dict[str, Any]) -> None:
        statement = "INSERT INTO events (at, kind, detail) VALUES (?, ?, ?)"
        cursor = self._execute(statement, (self._time(), kind, encode(detail)))
        self._seal("events", "id = ?", cursor.lastrowid)

    def _score_again(self, metric: str, direction: str) -> None:
        for row in self.rows(RANKED_STATES):
            epoch, score = best_of(self.epochs(row.number), metric, direction)
            self._update(row.number, score=score, best_epoch=epoch)

    def _meta(self, name: str, default: Any) -> Any:
        found = self._whole("meta", "WHERE name = ?", (name,))
        with self._decoding():
            return decode(found[0][1]) if found else default

    def _set_meta(self, name: str, value: Any) -> None:
        statement = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
        self._execute(statement, (name, encode(value)))
        self._seal("meta", "name = ?", name)

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
