"""The ledger: the one file in which everything that a run learns is kept, one commit at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuner.errors import TunerError
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger import connection as files
from tuner.ledger.checkpoint import SavedCheckpoint
from tuner.ledger.codec import encode
from tuner.ledger.connection import writing
from tuner.ledger.profile import LEDGER, RunProfile, Stopwatch
from tuner.ledger.reader import LedgerReader
from tuner.ledger.records import (
    RANKED_STATES,
    SEVERAL,
    CheckpointRow,
    EpochRow,
    Names,
    NewTrial,
    Outcome,
    best_of,
)
from tuner.ledger.schema import seal
from tuner.ledger.workers import WorkerRecord


def utc_now() -> datetime:
    """The clock that ledgers use unless a test passes its own."""
    return datetime.now(UTC)


class Ledger(LedgerReader):
    """A ledger that is written to: by one process, while any number read.

    Every method that changes something is one commit and is on the disk when it returns (0.5 to 2
    milliseconds, 10 where others write, too), but within `together`.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        now: Callable[[], datetime] = utc_now,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        super().__init__(path, connection)
        self._now = now
        self.stopwatch = stopwatch or Stopwatch()
        self._names: Names | None = None
        self._is_together = False
        self._best: set[int] | None = None  # when a trial ended last; None: may be others now

    @classmethod
    def create_or_open(
        cls,
        path: Path,
        experiment_name: str,
        *,
        now: Callable[[], datetime] = utc_now,
        stopwatch: Stopwatch | None = None,
    ) -> Ledger:
        """The writer's ledger. Hold the run's lock (`RunFolder.lock`) while it is open.

        The `stopwatch` is told what writing takes.

        Raises:
            InputError: the file is damaged, foreign or of a newer version; it is left as it is.
        """
        if not path.exists():
            files.create(path, experiment_name)
        return cls(path, files.open_for_writing(path), now, stopwatch)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Changes within are on the disk at its end, in one commit; each is kept whole, or not."""
        self._is_together = True
        try:
            yield
        finally:
            self._is_together = False
            if self._connection.in_transaction:
                with self._writing(), self._or_undone("ROLLBACK"):
                    self._connection.execute("COMMIT")

    # ------------------------------------------------------------------ what the run is

    def set_objective(self, objective: Objective) -> None:
        """Says what scores mean. When that changes, every score is computed again from the epochs.

        A score is the best value of the metric over a trial's epochs, the earliest one in a tie.
        """
        previous = self._meta("objective", None)
        if previous is not None and self.objective == objective:
            return
        self._best = None
        with self._commit():
            self._set_meta("objective", (objective.metric, objective.direction))
            ranked = self.rows(RANKED_STATES, all_versions=True) if previous else []
            for row in ranked:
                epoch, score = best_of(self.epochs(row.number), objective)
                self._update(row.number, score=score, best_epoch=epoch)

    def mark_current(
        self,
        plan: str,
        numbers: Collection[int],
        contexts: Mapping[int, Mapping[str, Any]] | None = None,
        searched: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        """Says which of the present trials are of the experiment as it stands, known by a plan.

        The rest is superseded: kept, and seen by nobody who does not ask for all versions. Those
        that are added from now on are current. Their names are the columns of tables. `contexts`
        are those of trials that an older tuner recorded without; `searched` has the open values of
        those for which an edit has opened or closed some.
        """
        current = frozenset(numbers)
        self._best = None
        flags = self._fetch("SELECT number, is_current FROM trials")
        changed = [(int(n in current), n) for n, flag in flags if bool(flag) != (n in current)]
        with self._commit():
            statement = "UPDATE trials SET is_current = ? WHERE number = ?"
            self._connection.executemany(statement, changed)
            for number, context in (contexts or {}).items():
                self._update(number, context=self._context_number(context))
            for number, values in (searched or {}).items():
                self._update(number, searched=encode(dict(values)))
            self._set_meta("plan", {"plan": plan})
            self._set_meta("position", 0)
            if changed or searched:
                self._note_names_again()

    def forget_plan(self) -> None:
        """After a repair: the next run begins at the plan's first place, and marks trials anew."""
        with self._commit():
            self._execute("DELETE FROM meta WHERE name IN ('position', 'plan')")
            self._note_names_again()

    def advance(self, position: int) -> None:
        """Every trial before this place of the plan is recorded."""
        self._keep("position", position)

    def keep_experiment(self, text: str) -> None:
        """Keeps the experiment as it was resolved: what restores a damaged experiment.yaml."""
        self._keep("experiment_yaml", text)

    def keep_data_record(self, record: Mapping[str, str]) -> None:
        """Keeps them, so that a changed data set is noticed."""
        self._keep("data", dict(record))

    def keep_workers(
        self, workers: Sequence[WorkerRecord], profile: RunProfile | None = None
    ) -> None:
        """Keeps what the workers of the run do now, in place of what they did before.

        The `profile` takes the place of that of an earlier run, which else stays.
        """
        with self._commit():
            self._set_meta("workers", [vars(worker) for worker in workers])
            if profile is not None:
                self._set_meta("profile", asdict(profile))

    def begin_run(
        self,
        *,
        total: int | None,
        done: int,
        workers: int,
        epochs_to_run: int | None = None,
        takes_up: bool = False,
    ) -> None:
        """Notes what a run sets out to do, so that `status` can tell how far it is.

        `epochs_to_run` is known of a search that shares epochs out itself. Where a rule `takes_up`
        whom it has stopped, the search may go on when every trial has ended, until
        `note_all_done`.
        """
        begun = {"total": total, "done": done, "workers": workers, "takes_up": takes_up}
        more = {"epochs_before": self.trained_epochs(), "epochs_to_run": epochs_to_run}
        with self._commit():
            self._set_meta("workers", [])
            self._set_meta("run", {**begun, **more, "started_at": self._time()})
            self._insert_event("run", begun)

    def note_all_done(self) -> None:
        """Notes that no trial is to be taken up again."""
        if self.last_run.get("takes_up"):
            with self._commit():
                self._set_meta("run", {**self.last_run, "takes_up": False})

    def end_run(self, *, total: int, reason: str) -> None:
        """Notes that the search has ended with so many trials, and why: no more are missing."""
        with self._commit():
            self._set_meta("run", {**self.last_run, "total": total, "enough": reason})
            self._insert_event("enough", {"total": total, "reason": reason})

    # ------------------------------------------------------------------ the life of a trial

    def add(self, trials: Sequence[NewTrial], position: int | None = None) -> list[int]:
        """Records proposed trials as WAITING, all in one commit; returns their numbers.

        `position` is what `advance` notes, in the same commit.
        """
        names = self._known_names()
        changed = sum(names.note(trial.values) for trial in trials)
        with self._commit():
            if position is not None:
                self._set_meta("position", position)
            if changed:
                self._set_meta("names", names.to_json())
            return [self._insert(trial) for trial in trials]

    def take_over(
        self, trials: Sequence[tuple[NewTrial, Sequence[EpochRow], Outcome]], source: str
    ) -> list[int]:
        """Records trials that another experiment has finished, all in one commit.

        An event names their `source`. Gives their numbers here.
        """
        names = self._known_names()
        for new, _, outcome in trials:
            names.note(new.values)
            names.note_metrics(outcome.metrics)
        numbers = []
        with self._commit():
            self._set_meta("names", names.to_json())
            for new, epochs, outcome in trials:
                number = self._insert(new)
                for row in epochs:
                    self._insert_epoch(number, row.epoch, row.metrics, row.seconds)
                self._update(number, epochs=len(epochs), threads=outcome.threads)
                self._finish(number, outcome)
                numbers.append(number)
            self._insert_event("reused", {"from": source, "trials": numbers})
        return numbers

    def start(self, number: int, worker: int, attempt: int = 1, threads: int | None = None) -> None:
        """The trial is RUNNING on a worker with `threads`; it goes on after the epochs it has."""
        with self._commit():
            self._update(
                number,
                state=TrialState.RUNNING.value,
                worker=worker,
                attempt=attempt,
                started_at=self._time(),
                threads=self._threads_from_now(number, threads),
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
        replaced: list[str] = []
        with self._commit():
            self._insert_epoch(number, epoch, metrics, seconds)
            self._update(number, epochs=epoch)
            if checkpoint is not None:
                replaced = self._forget_checkpoints(number, kept)
                self._put_checkpoint(number, epoch, checkpoint)
        return replaced

    def record_checkpoint(
        self, number: int, epoch: int, checkpoint: SavedCheckpoint, best_epoch: int | None = None
    ) -> list[str]:
        """Names the state after an epoch that was recorded without; gives files not needed now.

        Of a trial that has not ended, its newest state is needed, and that of its `best_epoch`.
        """
        query = "SELECT 1 FROM epochs WHERE trial = ? AND epoch = ?"
        if self._execute(query, (number, epoch)).fetchone() is None:
            return [checkpoint.file]  # its report came too late, and counts no more
        with self._commit():
            self._put_checkpoint(number, epoch, checkpoint)
            needed = [*self._needed_epochs(number, self._best or ()), best_epoch]
            return self._forget_checkpoints(number, needed)

    def go_back(self, number: int, epoch: int) -> None:
        """The trial stands after `epoch`: what was recorded of later ones is dropped."""
        with self._commit():
            self._go_back(number, epoch)

    def finish(self, number: int, outcome: Outcome, top: int | None = None) -> list[str]:
        """The trial's end. Only COMPLETED and STOPPED trials keep a score, and NaN is none.

        With `top`, checkpoints that nobody needs any more are named no more, in the same commit;
        gives their files. A failed trial keeps its newest, to be tried again; a stopped one its
        newest and its best, to be continued; a completed one its best while it is among the `top`;
        a diverged one none.
        """
        names = self._known_names()
        before = self._best
        if top is not None and before is None:
            before = self._completed_with_checkpoint()
        files: list[str] = []
        with self._commit():
            if names.note_metrics(outcome.metrics):
                self._set_meta("names", names.to_json())
            self._finish(number, outcome)
            best = set() if top is None else set(self._best_numbers(top))
            # Only a trial that is no longer among the best may have become spare besides this one.
            for trial in () if top is None else sorted({number} | (before or set()) - best):
                files += self._forget_checkpoints(trial, self._needed_epochs(trial, best))
        self._best = None if top is None else best
        return files

    def requeue(self, number: int) -> None:
        """The trial is WAITING again and will go on from its newest checkpoint."""
        with self._commit():
            self._requeue(number)
        if self._best is not None:
            self._best.discard(number)  # it may have been among them, and needs its checkpoints

    def interrupted(self) -> int:
        """Requeues every trial that an earlier run left RUNNING; returns how many."""
        numbers = self._numbers(TrialState.RUNNING, all_versions=True)
        with self._commit():
            for number in numbers:
                self._requeue(number)
        return len(numbers)

    def forget_checkpoints(self, rows: Sequence[CheckpointRow]) -> None:
        """Name these no more, whatever became of their files."""
        with self._commit():
            self._delete_checkpoints(rows)

    def retry(self, states: Sequence[TrialState]) -> int:
        """Requeues every current trial in these states; returns how many.

        A failed or stopped one goes on from its newest checkpoint, a diverged one has none that is
        any good. What was stopped is `exempt` from now on: no rule stops it again.
        """
        found = {state: set(self._numbers(state)) for state in states}
        stopped = found.get(TrialState.STOPPED, set())
        numbers = sorted(set().union(*found.values()))
        with self._commit():
            for number in numbers:
                self._requeue(number)
            if stopped:
                self._set_meta("exempt", sorted({*self.exempt, *stopped}))
        return len(numbers)

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Keeps something worth remembering that is no trial."""
        with self._commit():
            self._insert_event(kind, detail or {})

    # ------------------------------------------------------------------ inside

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self.stopwatch.phase(LEDGER), writing(self.path):
            yield

    @contextmanager
    def _commit(self) -> Iterator[None]:
        with self._writing():
            if self._is_together:
                begin, undo, end = "SAVEPOINT change", "ROLLBACK TO change", "RELEASE change"
                if not self._connection.in_transaction:
                    self._connection.execute("BEGIN IMMEDIATE")
            else:
                begin, undo, end = "BEGIN IMMEDIATE", "ROLLBACK", "COMMIT"
            self._connection.execute(begin)
            with self._or_undone(undo):
                yield
                self._connection.execute(end)

    @contextmanager
    def _or_undone(self, undo: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk ends it by itself
                self._connection.execute(undo)
            raise

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _put(self, table: str, **fields: Any) -> int:
        """Adds a row with its digest, in place of the one with its key; its number, if it has one.

        A row of a table with numbers is a new one, whatever else is unique in it.
        """
        keys = _KEYS.get(table, ())
        verb = "INSERT OR REPLACE" if keys else "INSERT"
        columns, marks = ", ".join(fields), ", ".join("?" * len(fields))
        statement = f"{verb} INTO {table} ({columns}) VALUES ({marks})"
        number = self._execute(statement, tuple(fields.values())).lastrowid or 0
        where = " AND ".join(f"{key} = ?" for key in keys or ["rowid"])
        key = [fields[key] for key in keys] or [number]
        seal(self._connection, table, where, key)
        return number

    def _insert(self, trial: NewTrial) -> int:
        try:
            return self._put(
                "trials",
                key=trial.key,
                state=TrialState.WAITING.value,
                configuration=encode(dict(trial.configuration)),
                searched=encode(dict(trial.values)),
                replicate=trial.replicate,
                seed=trial.seed,
                structure=trial.structure,
                parameters=trial.parameters,
                macs=trial.macs,
                context=self._context_number(trial.context),
            )
        except sqlite3.IntegrityError as error:
            raise TunerError(f"{self.path}: trial {trial.key} is there already") from error

    def _context_number(self, context: Mapping[str, Any]) -> int:
        """Of its row, which is made where there is none."""
        if not context:
            return 0
        content = encode(dict(context))
        row = self._execute("SELECT id FROM contexts WHERE content = ?", (content,)).fetchone()
        return int(row[0]) if row else self._put("contexts", content=content)

    def _insert_epoch(
        self, number: int, epoch: int, metrics: Mapping[str, float], seconds: float
    ) -> None:
        text = encode(dict(metrics))
        self._put("epochs", trial=number, epoch=epoch, metrics=text, seconds=seconds)

    def _finish(self, number: int, outcome: Outcome) -> None:
        self._update(
            number,
            state=outcome.state.value,
            score=outcome.rankable_score,
            best_epoch=outcome.best_epoch,
            metrics=encode(dict(outcome.metrics)),
            train_seconds=outcome.train_seconds,
            compile_seconds=outcome.compile_seconds,
            reason=outcome.reason.encode("utf-8", "replace").decode(),  # it may be anybody's text
            finished_at=self._time(),
        )

    def _update(self, number: int, **fields: Any) -> None:
        assignments = ", ".join(f"{name} = ?" for name in fields)
        statement = f"UPDATE trials SET {assignments} WHERE number = ?"
        if self._execute(statement, (*fields.values(), number)).rowcount != 1:
            raise TunerError(f"{self.path}: there is no trial {number}")
        seal(self._connection, "trials", "number = ?", (number,))

    def _threads_from_now(self, number: int, threads: int | None) -> int | None:
        """What has trained a trial from its first epoch on, if that is one number of threads."""
        query = "SELECT epochs, threads FROM trials WHERE number = ?"
        epochs, before = self._execute(query, (number,)).fetchone() or (0, None)
        if not epochs or before == threads:
            return threads
        return None if before is None else SEVERAL

    def _put_checkpoint(self, number: int, epoch: int, checkpoint: SavedCheckpoint) -> None:
        self._put(
            "checkpoints",
            trial=number,
            epoch=epoch,
            file=checkpoint.file,
            sha256=checkpoint.sha256,
            bytes=checkpoint.num_bytes,
        )

    def _completed_with_checkpoint(self) -> set[int]:
        query = (
            "SELECT DISTINCT c.trial FROM checkpoints c JOIN trials t ON t.number = c.trial "
            "WHERE t.is_current = 1 AND t.state = ?"
        )
        return {row[0] for row in self._fetch(query, (TrialState.COMPLETED.value,))}

    def _needed_epochs(self, number: int, best: Collection[int]) -> list[int | None]:
        """Those whose checkpoint a trial keeps."""
        query = "SELECT state, best_epoch FROM trials WHERE number = ?"
        state, best_epoch = self._execute(query, (number,)).fetchone()
        newest = self._newest_checkpoint(number)
        kept = {
            TrialState.COMPLETED.value: [best_epoch] if number in best else [],
            TrialState.FAILED.value: [newest],
            TrialState.DIVERGED.value: [],
        }
        return kept.get(state, [newest, best_epoch])

    def _newest_checkpoint(self, number: int) -> int:
        query = "SELECT max(epoch) FROM checkpoints WHERE trial = ?"
        return self._execute(query, (number,)).fetchone()[0] or 0

    def _forget_checkpoints(self, number: int, kept: Collection[int | None]) -> list[str]:
        gone = [row for row in self.checkpoints(number) if row.epoch not in kept]
        self._delete_checkpoints(gone)
        return [row.file for row in gone]

    def _delete_checkpoints(self, rows: Sequence[CheckpointRow]) -> None:
        statement = "DELETE FROM checkpoints WHERE trial = ? AND epoch = ?"
        self._connection.executemany(statement, [(row.number, row.epoch) for row in rows])

    def _requeue(self, number: int) -> None:
        self._go_back(number, self._newest_checkpoint(number))
        self._update(number, state=TrialState.WAITING.value, **_BLANK)

    def _go_back(self, number: int, epoch: int) -> None:
        for table in ("epochs", "checkpoints"):
            self._execute(f"DELETE FROM {table} WHERE trial = ? AND epoch > ?", (number, epoch))
        self._update(number, epochs=epoch)

    def _insert_event(self, kind: str, detail: Mapping[str, Any]) -> None:
        self._put("events", at=self._time(), kind=kind, detail=encode(dict(detail)))

    def _set_meta(self, name: str, value: Any) -> None:
        self._put("meta", name=name, value=encode(value))

    def _keep(self, name: str, value: Any) -> None:
        """In a commit of its own, and only if it has changed."""
        if value != self._meta(name, None):
            with self._commit():
                self._set_meta(name, value)

    def _note_names_again(self) -> None:
        names = Names({})
        for row in self.each_row():
            names.note(row.values)
            names.note_metrics(row.metrics)
        self._names = names
        self._set_meta("names", names.to_json())

    def _known_names(self) -> Names:
        if self._names is None:
            self._names = self._read_names()
        return self._names

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds")


# What identifies a row of a table without numbers.
_KEYS = {"meta": ("name",), "epochs": ("trial", "epoch"), "checkpoints": ("trial", "epoch")}
_BLANK: dict[str, Any] = {
    **dict.fromkeys(("score", "best_epoch", "train_seconds", "compile_seconds")),
    **dict.fromkeys(("started_at", "finished_at")),
    "metrics": "{}",
    "reason": "",
}
