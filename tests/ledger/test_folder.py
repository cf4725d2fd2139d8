from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.errors import InputError, TunerError
from tuner.ledger.folder import RunFolder, run_folders, write_atomically
from tuner.ledger.ledger import Ledger


def made(results: Path, name: str) -> RunFolder:
    folder = RunFolder(results, name)
    folder.prepare()
    Ledger.create_or_open(folder.ledger, name).close()
    return folder


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc", "a/b", "a\0b"])
def test_no_name_leads_out_of_the_results_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="out of the results folder"):
        RunFolder(tmp_path, name)


def test_a_folder_is_found_by_name_by_path_and_by_its_ledger(tmp_path: Path) -> None:
    folder = made(tmp_path / "results", "grid")
    for text in ("grid", str(folder.path), str(folder.ledger)):
        assert RunFolder.open(text, tmp_path / "results").path.samefile(folder.path)


def test_an_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    made(tmp_path, "densenet-grid")
    with pytest.raises(InputError, match="did you mean densenet-grid"):
        RunFolder.open("densnet-grid", tmp_path)
    with pytest.raises(InputError, match="did you mean densenet-grid"):
        RunFolder.open("experiments/densenet-grid.yaml", tmp_path)
    with pytest.raises(InputError, match="holds none"):
        RunFolder.open("x", tmp_path / "absent")


def test_folders_with_a_ledger_are_listed_by_name(tmp_path: Path) -> None:
    made(tmp_path, "b")
    made(tmp_path, "a")
    (tmp_path / "tables-only").mkdir()
    assert [folder.name for folder in run_folders(tmp_path)] == ["a", "b"]
    assert run_folders(tmp_path / "absent") == []


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        RunFolder(tmp_path / "file", "grid").prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_an_input_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            RunFolder(tmp_path, "grid").prepare()
    finally:
        tmp_path.chmod(0o700)


def test_a_second_process_is_refused_with_the_first_ones_name(tmp_path: Path) -> None:
    folder = made(tmp_path, "grid")
    script = (
        "import sys; from pathlib import Path; from tuner.ledger.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1]), 'grid').lock():\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        assert folder.holder() == other.pid
        refused = pytest.raises(TunerError, match=f"process {other.pid} has been running")
        with refused, folder.lock():
            pass
        other.kill()
        other.wait()
        assert folder.holder() is None
        with folder.lock():
            assert folder.holder() == os.getpid()
    assert folder.holder() is None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old\n"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
