from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tuner.errors import InputError
from tuner.experiment.trial import TrialState
from tuner.ledger.ledger import Ledger
from tuner.ledger.records import NewTrial

TRIAL = NewTrial("k", {"a": 1}, {}, 0, 0, "s")


def refusal(path: Path) -> str:
    """The message with which both the writer and a reader refuse the file, unchanged."""
    before = path.read_bytes()
    with pytest.raises(InputError) as first:
        Ledger.open_read_only(path)
    with pytest.raises(InputError) as second:
        Ledger.create_or_open(path, "grid")
    assert path.read_bytes() == before
    assert str(path) in str(first.value)
    assert "left as it is" in str(second.value)
    return str(second.value)


def filled(path: Path, trials: int = 200) -> None:
    with Ledger.create_or_open(path, "grid") as ledger:
        ledger.add([NewTrial(f"k{i}", {"a": i}, {"a": i}, 0, 0, "s") for i in range(trials)])


def test_a_missing_ledger_is_named(path: Path) -> None:
    with pytest.raises(InputError, match=r"ledger\.sqlite: cannot read"):
        Ledger.open_read_only(path)
    assert not path.exists()


def spoil(path: Path, statement: str) -> None:
    other = sqlite3.connect(path)
    other.execute(statement)
    other.commit()
    other.close()


def test_what_is_no_ledger_is_foreign(path: Path) -> None:
    path.write_text("hello, I am somebody's notes\n")
    assert "not a ledger" in refusal(path)
    path.unlink()
    spoil(path, "CREATE TABLE trials (x)")
    assert "not a ledger" in refusal(path)


def test_a_newer_version_is_refused(path: Path) -> None:
    filled(path)
    spoil(path, "UPDATE meta SET value = '99' WHERE name = 'schema'")
    message = refusal(path)
    assert "newer version" in message
    assert "99" in message


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.9, 0.999])
def test_a_cut_or_zeroed_ledger_is_damaged(path: Path, share: float) -> None:
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "damaged" in refusal(path)
    path.write_bytes(bytes(5000))
    assert "damaged" in refusal(path)


def test_a_zeroed_page_is_found_before_writing(path: Path) -> None:
    filled(path)
    whole = bytearray(path.read_bytes())
    whole[8192:12288] = bytes(4096)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="damaged"):
        Ledger.create_or_open(path, "grid")
    assert path.read_bytes() == bytes(whole)


def test_an_unreadable_row_is_damage(path: Path) -> None:
    filled(path, trials=1)
    spoil(path, "UPDATE trials SET configuration = '{broken'")
    with Ledger.open_read_only(path) as ledger, pytest.raises(InputError, match="damaged"):
        ledger.rows()


def test_a_half_made_ledger_is_no_ledger(path: Path) -> None:
    path.with_name(path.name + ".new").write_bytes(b"half")
    filled(path)
    assert not path.with_name(path.name + ".new").exists()


def test_a_reader_undoes_the_commit_in_which_a_writer_was_killed(path: Path) -> None:
    filled(path, trials=2000)
    script = (
        "import os, signal, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN')\n"
        'c.execute("UPDATE trials SET structure = hex(randomblob(300))")\n'
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert os.path.getsize(f"{path}-journal") > 0
    with Ledger.open_read_only(path) as ledger:
        assert {row.structure for row in ledger.rows()} == {"s"}
        assert ledger.counts()[TrialState.WAITING] == 2000


def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20?#ü"
    folder.mkdir()
    filled(folder / "ledger.sqlite", trials=1)
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        assert len(ledger.rows()) == 1
