"""`doctor NAME`: what is wrong with an experiment's folder, and its repair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuner.ledger.backup import keep_copy
from tuner.ledger.folder import RunFolder
from tuner.ledger.ledger import Ledger


@pytest.fixture
def folder(results: Path) -> RunFolder:
    found = RunFolder(results, "grid")
    with Ledger.create_or_open(found.ledger, "grid") as ledger:
        ledger.keep_experiment("name: grid\n")
    found.experiment.write_text("name: grid\n")
    return found


@pytest.fixture
def doctor(tuner, folder: RunFolder):
    def call(*options: str):
        return tuner("doctor", "grid", *options, "--results", folder.results_dir)

    return call


def files(folder: RunFolder) -> dict[str, bytes]:
    found = (path for path in folder.path.rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in found}


def test_a_sound_folder_is_sound(doctor, folder: RunFolder) -> None:
    assert doctor("--repair").status == 0
    before = files(folder)
    said = doctor()
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines()[0] == f"{folder.path}: sound"
    assert files(folder) == before


def test_an_unknown_name_is_not_found(tuner, results: Path) -> None:
    said = tuner("doctor", "gird", "--results", results)
    assert said.status == 2
    assert "did you mean grid?" in said.err


def test_repair_without_a_name_is_refused(tuner) -> None:
    said = tuner("doctor", "--repair")
    assert said.status == 2
    assert "NAME" in said.err


def test_a_damaged_ledger_is_saved_row_by_row_after_a_copy(doctor, folder: RunFolder) -> None:
    doctor("--repair")
    assert keep_copy(folder.ledger) == ""
    with Ledger.open_read_only(folder.ledger) as ledger:
        scores = [(row.number, row.score) for row in ledger.rows()]
    content = bytearray(folder.ledger.read_bytes())
    content[:4096] = bytes(4096)
    folder.ledger.write_bytes(content)
    said = doctor()
    assert said.status == 3
    assert "tuner doctor" in said.out
    assert "--repair" in said.out
    assert folder.ledger.read_bytes() == bytes(content)
    said = doctor("--repair")
    assert said.status == 0
    (backup,) = folder.path.glob("ledger-before-repair-*.sqlite")
    assert backup.read_bytes() == bytes(content)
    assert backup.name in said.out
    with Ledger.open_read_only(folder.ledger) as ledger:
        assert [(row.number, row.score) for row in ledger.rows()] == scores
    assert doctor().status == 0


def test_a_ledger_of_which_nothing_is_left_stays_as_it_is(doctor, folder: RunFolder) -> None:
    folder.ledger.write_bytes(bytes(50_000))
    said = doctor("--repair")
    assert said.status == 3
    assert "nothing in it could be read" in said.out
    assert folder.ledger.read_bytes() == bytes(50_000)


def test_a_second_repair_overwrites_no_copy(doctor, folder: RunFolder) -> None:
    for _ in range(2):
        folder.ledger.write_bytes(folder.ledger.read_bytes()[:-4096])
        doctor("--repair")
    assert len(list(folder.path.glob("ledger-before-repair-*.sqlite"))) == 2


def test_a_running_experiment_is_not_repaired(doctor, folder: RunFolder) -> None:
    with folder.lock():
        before = files(folder)
        said = doctor("--repair")
        assert said.status == 1
        assert "has been running" in said.err
        assert doctor().status == 0
        assert files(folder) == before


def test_files_beside_the_ledger_are_restored_and_rubbish_goes(doctor, folder: RunFolder) -> None:
    doctor("--repair")
    folder.trials_csv.write_text("trial,score\n")
    folder.experiment.write_text("name: [")
    folder.checkpoints.mkdir()
    (folder.checkpoints / "9-1.npz").write_bytes(b"left by a crash")
    (folder.path / ".trials.csv.1.tmp").write_text("half")
    said = doctor()
    assert said.status == 3
    for file in ("trials.csv", "experiment.yaml", "checkpoints/", ".trials.csv.1.tmp"):
        assert file in said.out
    assert doctor("--repair").status == 0
    assert folder.experiment.read_text() == "name: grid\n"
    assert folder.trials_csv.read_text().startswith("trial,state,score")
    assert list(folder.checkpoints.iterdir()) == []
    assert not (folder.path / ".trials.csv.1.tmp").exists()
    assert len(list(folder.path.glob("trials-before-repair-*.csv"))) == 1


def test_a_newer_ledger_is_left_alone(doctor, folder: RunFolder) -> None:
    import sqlite3

    other = sqlite3.connect(folder.ledger)
    other.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    other.commit()
    other.close()
    before = folder.ledger.read_bytes()
    said = doctor("--repair")
    assert said.status == 3
    assert "upgrade tuner" in said.out
    assert folder.ledger.read_bytes() == before


def test_json_lists_findings(doctor, folder: RunFolder) -> None:
    folder.trials_csv.write_text("x\n")
    document = json.loads(doctor("--json").out)
    assert document["sound"] is False
    assert [finding["kind"] for finding in document["findings"]] == ["csv"]
    document = json.loads(doctor("--repair", "--json").out)
    assert document["sound"] is True
    assert any("trials.csv" in line for line in document["repaired"])


def test_a_checkpoint_that_was_changed_is_forgotten(doctor, folder: RunFolder) -> None:
    from tuner.ledger import checkpoint

    saved = checkpoint.save(folder.checkpoints, "9-1.npz", {}, {"epoch": 1})
    with Ledger.create_or_open(folder.ledger, "grid") as ledger:
        ledger.start(9, 1)
        ledger.record_epoch(9, 1, {"loss": 1.0}, 1.0, saved)
    doctor("--repair")
    (folder.checkpoints / "9-1.npz").write_bytes(b"changed")
    assert "9-1.npz" in doctor().out
    said = doctor("--repair")
    assert said.status == 0
    with Ledger.open_read_only(folder.ledger) as ledger:
        assert ledger.checkpoints() == []
