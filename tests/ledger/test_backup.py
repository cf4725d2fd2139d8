"""The copy that a run's start keeps: made when it must be, never instead of a better one."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import datetime
from pathlib import Path

from tests.ledger import harm
from tuner.experiment.objective import Objective
from tuner.experiment.trial import TrialState
from tuner.ledger import backup
from tuner.ledger.backup import backup_of, keep_copy
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial, Outcome
from tuner.ledger.repair import mend

NOW = datetime(2026, 1, 2, 3, 4, 5)


def trial(number: int) -> NewTrial:
    return NewTrial(f"k{number}", {"a": number}, {"a": number}, 0, 0, "s")


def numbers(path: Path) -> list[int]:
    with Ledger.open_read_only(path) as ledger:
        return [row.number for row in ledger.rows()]


def change_value(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("UPDATE trials SET seed = 7 WHERE number = 1")
    other.commit()
    other.close()


def test_a_copy_is_made_anew_only_if_the_ledger_has_changed(ledger: Ledger, path: Path) -> None:
    assert keep_copy(path) == ""
    assert not backup_of(path).exists(), "an empty ledger needs no copy"
    ledger.add([trial(1)])
    assert keep_copy(path) == ""
    first = backup_of(path).stat()
    assert keep_copy(path) == ""
    assert backup_of(path).stat().st_ino == first.st_ino
    ledger.add([trial(2)])
    assert keep_copy(path) == ""
    assert numbers(backup_of(path)) == [1, 2]
    assert sorted(file.name for file in path.parent.iterdir()) == [backup_of(path).name, path.name]


def test_a_sound_copy_is_not_replaced_by_a_damaged_one(ledger: Ledger, path: Path) -> None:
    ledger.add([trial(1)])
    keep_copy(path)
    change_value(path)
    said = keep_copy(path)
    assert "row 1 of trials is not what was written" in said
    assert "doctor" in said
    assert numbers(backup_of(path)) == [1]


def test_a_full_disk_stops_no_run_and_is_said(ledger, path, monkeypatch):
    def full(connection: sqlite3.Connection, draft: Path) -> None:
        draft.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    ledger.add([trial(1)])
    monkeypatch.setattr(backup, "_write", full)
    assert "No space left on device; the run goes on" in keep_copy(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 9, 0))
    assert "no room" in keep_copy(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_copy_of_another_ledger_is_set_aside_and_never_mixed_in(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "grid")
    folder.prepare()
    for hour, key in ((1, "old"), (2, "new")):
        folder.ledger.unlink(missing_ok=True)
        begun = NOW.replace(hour=hour)
        with Ledger.create_or_open(folder.ledger, "grid", now=lambda begun=begun: begun) as ledger:
            ledger.begin_run(total=9, done=0, workers=1)
            ledger.add([NewTrial(f"{key}{n}", {"a": n}, {}, 0, 0, "s") for n in range(1, 4)])
            if key == "old":
                keep_copy(folder.ledger)
    copy = backup_of(folder.ledger)
    shutil.copyfile(folder.ledger, tmp_path / "whole")
    change_value(folder.ledger)
    result = mend(folder, NOW)
    assert result.missing == (1,)
    assert "is of another ledger" in " ".join(result.done)
    assert numbers(folder.ledger) == [2, 3]
    shutil.copyfile(tmp_path / "whole", folder.ledger)
    assert "was a copy of another ledger" in keep_copy(folder.ledger)
    assert numbers(copy.with_name("ledger.backup-2.sqlite")) == [1, 2, 3]
    with Ledger.open_read_only(copy) as ledger:
        assert ledger.rows()[0].key == "new1"


def test_trials_from_the_copy_are_scored_by_the_objective_of_now(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "grid")
    folder.prepare()
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        ledger.set_objective(Objective("val_accuracy", "max"))
        ledger.add([trial(1), trial(2)])
        for epoch, (accuracy, loss) in enumerate([(0.5, 2.0), (0.4, 1.0)], start=1):
            ledger.record_epoch(1, epoch, {"val_accuracy": accuracy, "val_loss": loss}, 1.0)
        ledger.finish(1, Outcome(TrialState.COMPLETED, 0.5, 1, {"val_loss": 1.0}))
        keep_copy(folder.ledger)
        ledger.set_objective(Objective("val_loss", "min"))
        right = ledger.row(1)
    change_value(folder.ledger)
    result = mend(folder, NOW)
    assert result.missing == ()
    assert "trials 1; what was recorded of them since is lost" in " ".join(result.done)
    with Ledger.open_read_only(folder.ledger) as ledger:
        assert ledger.objective == Objective("val_loss", "min")
        assert harm.plain(ledger.row(1)) == harm.plain(right)


def test_what_a_repair_could_not_save_is_named_and_proposed_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "grid")
    folder.prepare()
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        ledger.mark_current("plan", ())
        ledger.add([trial(n) for n in range(1, 6)], position=5)
    for number in (2, 3, 5):
        other = sqlite3.connect(folder.ledger)
        other.execute("UPDATE trials SET seed = 7 WHERE number = ?", (number,))
        other.commit()
        other.close()
    result = mend(folder, NOW)
    assert result.missing == (2, 3, 5)
    assert "missing: trials 2 to 3, 5" in result.done
    with Ledger.open_read_only(folder.ledger) as ledger:
        assert ledger.position == 0
        assert [row.number for row in ledger.rows()] == [1, 4]
