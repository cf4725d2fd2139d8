"""Compiled programs on the disk: whole or not at all, bounded, and never in the way."""

from __future__ import annotations

import os
import time

import pytest

from tuner.training.compiled import CompiledPrograms


@pytest.fixture
def notices():
    return []


@pytest.fixture
def programs(tmp_path, notices):
    return CompiledPrograms(tmp_path / "cache" / "programs", notices.append, max_bytes=3000)


def folder(tmp_path):
    return tmp_path / "cache" / "programs"


def test_what_was_written_is_read_by_another_process(tmp_path, programs, notices):
    assert programs.read("a") is None
    programs.write("a", b"code" * 100)
    other = CompiledPrograms(folder(tmp_path), notices.append)
    assert (other.read("a"), other.read("b"), notices) == (b"code" * 100, None, [])


@pytest.mark.parametrize("damage", [b"", b"x" * 40, None])
def test_a_damaged_one_is_said_once_and_replaced(tmp_path, programs, notices, damage):
    programs.write("a", b"code" * 100)
    path = folder(tmp_path) / "a.program"
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    assert programs.read("a") is None
    programs.write("a", b"code" * 100)
    assert programs.read("a") == b"code" * 100
    path.write_bytes(b"again")
    assert programs.read("a") is None
    (notice,) = notices
    assert str(folder(tmp_path)) in notice and "damaged" in notice


def test_what_was_not_used_for_longest_makes_room(tmp_path, programs, notices):
    for number, name in enumerate("abc"):
        programs.write(name, os.urandom(900))
        os.utime(folder(tmp_path) / f"{name}.program", (number, number))
    assert programs.read("a")  # used now
    programs.write("d", os.urandom(900))
    assert [bool(programs.read(name)) for name in "abcd"] == [True, False, True, True]
    programs.write("e", os.urandom(4000))  # more than all together may have
    assert programs.read("e") is None
    assert not notices


def test_drafts_of_killed_writers_go_and_those_of_others_stay(tmp_path, programs):
    programs.write("a", b"code")
    old, new = folder(tmp_path) / ".b.program.7.part", folder(tmp_path) / ".c.program.8.part"
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    programs.write("d", b"code")
    assert (old.exists(), new.exists()) == (False, True)


def test_where_nothing_can_be_kept_it_is_said_once(tmp_path, notices):
    (tmp_path / "file").write_text("in the way")
    programs = CompiledPrograms(tmp_path / "file" / "programs", notices.append)
    programs.write("a", b"code")
    assert programs.read("a") is None
    (notice,) = notices
    assert "cannot be kept" in notice


def test_a_full_disk_is_said_once(programs, notices, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    programs.write("a", b"code")
    programs.write("b", b"code")
    assert programs.read("a") is None
    (notice,) = notices
    assert notice.endswith("cannot be kept: No space left on device")


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path, programs, notices):
    programs.write("a", b"code")
    folder(tmp_path).chmod(0o777)
    other = CompiledPrograms(folder(tmp_path), notices.append)
    assert other.read("a") is None
    (notice,) = notices
    assert "others may write" in notice
