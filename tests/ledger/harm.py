"""A run with every file that we write, ways to harm them, and what must hold afterwards."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tuner.errors import TunerError
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger import checkpoint
from tuner.ledger.backup import backup_of, keep_copy
from tuner.ledger.folder import RunFolder, write_atomically
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome
from tuner.ledger.repair import mend
from tuner.ledger.table import TrialsCsv
from tuner.report.record import read_record
from tuner.report.status import status_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NUM_TRIALS = 60
NUM_COPIED = 40  # trials that had ended when the copy was made
CURVE = (0.1, 0.3, 0.2)
EXPERIMENT = "name: grid\nobjective:\n  metric: val_accuracy\n  direction: max\n"
ENVIRONMENT = {"data": {"num_classes": 100}, "python": "3.11"}


@dataclass(frozen=True)
class Harm:
    """One change of a file: `kind` is cut, zero or flip."""

    kind: str
    start: int
    length: int
    mask: int = 0

    def __call__(self, content: bytes) -> bytes:
        if self.kind == "cut":
            return content[: self.start]
        end = min(len(content), self.start + self.length)
        part = content[self.start : end]
        changed = bytes(len(part)) if self.kind == "zero" else bytes(b ^ self.mask for b in part)
        return content[: self.start] + changed + content[end:]


def harms(size: int, count: int, seed: int = 0) -> Iterator[Harm]:
    """`count` of each kind, at offsets spread over the whole file."""
    rng = random.Random(seed)
    for index in range(count):
        start = int((index + rng.random()) * size / count)
        yield Harm("cut", start, 0)
        yield Harm("zero", start, rng.choice((1, 16, 512, 4096)))
        yield Harm("flip", start, rng.choice((1, 1, 1, 64)), rng.randrange(1, 256))


def make(results: Path) -> RunFolder:
    """A run that was interrupted: ended, failed, running and waiting trials; checkpoints.

    The copy of the ledger is older: as if a second run had gone on after `NUM_COPIED` trials.
    """
    folder = RunFolder(results, "grid")
    folder.prepare()
    write_atomically(folder.experiment, EXPERIMENT)
    write_atomically(folder.environment, json.dumps(ENVIRONMENT, indent=2) + "\n")
    folder.lock_file.write_text(json.dumps({"pid": 1, "host": "h", "started_at": "2026"}))
    with Ledger.create_or_open(folder.ledger, "grid", now=lambda: NOW) as ledger:
        ledger._connection.execute("PRAGMA synchronous = OFF")  # 300 commits; no test of power cuts
        ledger.set_objective(Objective("val_accuracy", "max"))
        ledger.keep_experiment(EXPERIMENT)
        ledger.begin_run(total=NUM_TRIALS + 5, done=0, workers=1)
        ledger.event("environment", ENVIRONMENT)
        ledger.add([_trial(index) for index in range(NUM_TRIALS)])
        for number in range(1, NUM_TRIALS - 5):
            _train(ledger, folder, number)
            if number == NUM_COPIED:
                assert keep_copy(folder.ledger) == ""
        TrialsCsv(folder.trials_csv, ledger).write()
    return folder


def _trial(index: int) -> NewTrial:
    values = {"model.depth": 20 + index % 3 * 12, "training.learning_rate": 0.1 / (index + 1)}
    configuration = {"model.family": "resnet", **values, "training.epochs": 3}
    return NewTrial(f"{index:064x}", configuration, values, 0, 0, f"s{index % 3}", 272474, 4060)


def _train(ledger: Ledger, folder: RunFolder, number: int) -> None:
    ledger.start(number, 1)
    for epoch, accuracy in enumerate(CURVE, start=1):
        saved = None
        if number % 20 == 0:
            arrays = {"weights": np.arange(50, dtype="float32") + epoch}
            name = f"{number}-{epoch}.npz"
            saved = checkpoint.save(folder.checkpoints, name, arrays, {"epoch": epoch})
        metrics = {"loss": 1.0 / epoch, "val_accuracy": accuracy + number / 1000}
        ledger.record_epoch(number, epoch, metrics, 1.5, saved, kept=(1, 2))
    if number % 7 == 0:
        ledger.finish(number, Outcome(TrialState.FAILED, reason="MemoryError: too large"))
    elif number % 20:
        best = max(CURVE) + number / 1000
        ledger.finish(number, Outcome(TrialState.COMPLETED, best, 2, metrics, 4.5, 0.5))


def leave_in_mid_commit(folder: RunFolder) -> None:
    """Ledger and journal as a power failure inside a commit leaves them: some pages are new."""
    scratch = folder.path / "scratch.sqlite"
    shutil.copyfile(folder.ledger, scratch)
    connection = sqlite3.connect(scratch, isolation_level=None)
    connection.execute("PRAGMA cache_size = 10")
    connection.execute("BEGIN")
    connection.execute("UPDATE trials SET reason = 'half of a commit', digest = 0")
    connection.execute("UPDATE epochs SET seconds = 99, digest = 0")
    shutil.copyfile(scratch, folder.ledger)
    shutil.copyfile(f"{scratch}-journal", f"{folder.ledger}-journal")
    connection.execute("ROLLBACK")
    connection.close()
    scratch.unlink()


def contents(folder: RunFolder) -> dict[str, Any]:
    """Everything that any reader can see of a run.

    Raises:
        TunerError: something is damaged.
    """
    record = read_record(folder)
    with Ledger.open_read_only(folder.ledger) as ledger:
        found = {
            "trials": [plain(row) for row in ledger.rows()],
            "epochs": ledger.epochs(),
            "events": ledger.events(),
            "checkpoints": ledger.checkpoints(),
            "counts": ledger.counts(),
            "top": [row.number for row in ledger.top(10)],
            "keys": ledger.by_key(),
            "meta": (ledger.experiment_name, ledger.objective, ledger.last_run),
            "names": (ledger.value_names, ledger.metric_names),
            "states": [len(ledger.rows([state])) for state in TrialState],
        }
        for row in ledger.checkpoints():
            arrays, notes = checkpoint.load(folder.checkpoints, row.file, row.sha256)
            found[row.file] = ({name: list(array) for name, array in arrays.items()}, notes)
    status = status_of(folder)
    if status.state == "unreadable":
        raise TunerError(status.problem)
    found["status"] = status
    found["environment"] = (record.num_classes, record.environment)
    return found


def plain(row: Any) -> dict[str, Any]:
    """A trial's row as a plain dictionary."""
    found = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    for name in ("configuration", "values", "metrics"):
        found[name] = dict(found[name])
    return found


def verdict(folder: RunFolder, whole: dict[str, Any], harmed: Path) -> str:
    """`same`, `error`, or what is wrong: an error without a name, or other contents."""
    try:
        found = contents(folder)
    except TunerError as error:
        return _named(error, harmed)
    except Exception as error:
        return f"traceback: {error!r}"
    return "same" if found == whole else f"other contents: {differing(found, whole)}"


def differing(found: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    """Which parts are not the same."""
    return [name for name in whole if found.get(name) != whole[name]]


def writer_verdict(folder: RunFolder, whole: dict[str, Any], harmed: Path) -> str:
    """The same law for the next run, which opens the ledger to write."""
    try:
        Ledger.create_or_open(folder.ledger, "grid").close()
    except TunerError as error:
        return _named(error, harmed)
    except Exception as error:
        return f"traceback: {error!r}"
    return verdict(folder, whole, harmed)


def _named(error: TunerError, harmed: Path) -> str:
    file = harmed.name.removesuffix("-journal")
    return "error" if file in str(error) else f"no name: {error}"


def repaired(folder: RunFolder, whole: dict[str, Any]) -> str:
    """`sound: N` trials, `given up` with the file as it was, or what a repair has made worse."""
    before = folder.ledger.read_bytes()
    copied = _copied_rows(folder)
    try:
        result = mend(folder, NOW)
    except Exception as error:
        return f"traceback: {error!r}"
    if any(finding.kind in ("ledger", "none") for finding in result.left):
        return "given up" if folder.ledger.read_bytes() == before else "changed in vain"
    try:
        found = contents(folder)
    except Exception as error:
        return f"unreadable after the repair: {error!r}"
    trials = {row["number"]: row for row in whole["trials"]}
    wrong = [row["number"] for row in found["trials"] if not _is_of(row, trials, copied)]
    if wrong or not set(map(str, found["epochs"])) <= set(map(str, whole["epochs"])):
        return f"invented trials {wrong} or epochs"
    missing = set(trials) - {row["number"] for row in found["trials"]}
    text = " ".join(result.done)
    if missing != set(result.missing) and "whose numbers cannot be told" not in text:
        return f"does not name {sorted(missing)}: {text}"
    kept = folder.path.glob("ledger-before-repair-*.sqlite")
    if found["trials"] != whole["trials"] and not any(k.read_bytes() == before for k in kept):
        return "lost trials without a copy"
    return f"sound: {len(found['trials'])}"


def _copied_rows(folder: RunFolder) -> dict[int, dict[str, Any]]:
    """Trials as they were when the copy was made."""
    try:
        with Ledger.open_read_only(backup_of(folder.ledger)) as ledger:
            return {row.number: plain(row) for row in ledger.rows()}
    except TunerError:
        return {}


def _is_of(row: dict[str, Any], *known: dict[int, dict[str, Any]]) -> bool:
    """The row as it was, now or in the copy; an unfinished trial may have gone back some epochs."""
    for rows in known:
        was = rows.get(row["number"])
        if was is None:
            continue
        may_go_back = was["state"] in (TrialState.RUNNING, TrialState.WAITING)
        if row == was or (may_go_back and row | {"epochs": 0} == was | {"epochs": 0}):
            return True
    return False


def harmed_copy(
    run: RunFolder, where: Path, file: str, harm: Callable[[bytes], bytes]
) -> RunFolder:
    """The run copied to a new folder with one file harmed."""
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(run.path, where / "grid")
    path = where / "grid" / file
    path.write_bytes(harm(path.read_bytes()))
    return RunFolder(where, "grid")
