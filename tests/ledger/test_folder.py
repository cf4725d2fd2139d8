from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reliability import fuzz
from tuner.errors import InputError, TunerError
from tuner.ledger.folder import (
    RunFolder,
    network_file_system,
    run_folders,
    write_atomically,
)
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


def test_hostile_names_make_no_folder_outside_their_results_folder(tmp_path: Path) -> None:
    seen = fuzz.measure_names(range(2000), tmp_path)
    assert seen.failures == []
    assert set(seen.outcomes) == {"made", "refused"}


@pytest.mark.parametrize("name", ["x" * 256, "é" * 128, "a\ud800"])
def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no folder can have this name"):
        RunFolder(tmp_path, name)
    with pytest.raises(InputError, match="no results of this name"):
        RunFolder.open(name, tmp_path)


@pytest.mark.parametrize("inside", ["", "logs", "lock", "checkpoints"])
def test_nothing_is_written_through_a_link(tmp_path: Path, inside: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = RunFolder(tmp_path / "results", "grid")
    link = folder.path / inside if inside else folder.path
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(InputError, match="this is a link; nothing was written"):
        folder.prepare()
    assert list(elsewhere.iterdir()) == []


def test_a_draft_is_never_written_through_a_planted_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".table.csv.{os.getpid()}.tmp").symlink_to(victim)
    write_atomically(tmp_path / "table.csv", "new\n")
    assert victim.read_text() == "precious"
    assert (tmp_path / "table.csv").read_text() == "new\n"


def test_a_results_folder_that_is_none_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match="file is no folder"):
        RunFolder(tmp_path / "file", "grid").prepare()
    with pytest.raises(InputError, match="link is a link to nowhere, which does not exist"):
        RunFolder(tmp_path / "link", "grid").prepare()
    assert run_folders(tmp_path / "link") == []
    assert run_folders(tmp_path / ("x" * 5000)) == []


def test_results_never_replace_the_experiment_that_they_are_of(tmp_path):
    folder = RunFolder(tmp_path, "grid")
    folder.path.mkdir()
    folder.experiment.write_text("# mine")
    with pytest.raises(InputError, match="--results DIR"):
        folder.prepare(str(folder.experiment))
    folder.ledger.touch()  # then it is a run's own, which continues
    folder.prepare(str(folder.experiment))
    assert folder.experiment.read_text() == "# mine"


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/local\\040disk xfs rw 0 0
me@host: /mnt/far fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/results", ""),
        ("/home/me/results", "nfs4"),
        ("/home/local disk/results", ""),
        ("/homeless", ""),
        ("/mnt/far", "sshfs"),
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_place(path: str, kind: str) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    folder = RunFolder(tmp_path, "run")
    folder.prepare()
    with pytest.raises(InputError, match="no locks"), folder.lock():
        pass
