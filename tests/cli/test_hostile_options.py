"""Folders and environments that cannot be: a sentence and exit status 2, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.cli.main import run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "nowhere").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize("command", [["status"], ["status", "x"], ["report", "x"], ["show", "x"]])
@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("file", "'file' is no folder"),
        ("file/below", "Not a directory"),
        ("/dev/null", "'/dev/null' is no folder"),
        ("nowhere", "'nowhere' is a link to nothing"),
        ("loop", "Too many levels of symbolic links"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_a_results_folder_that_cannot_be_is_refused(capsys, command, folder, words):
    assert run([*command, "--results", folder]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said) < 500


@pytest.mark.parametrize("folder", ["file", "nowhere", "loop", "x" * 5000])
def test_a_data_folder_of_the_environment_that_cannot_be_is_refused(capsys, monkeypatch, folder):
    monkeypatch.setenv("TUNER_DATA_DIR", folder)
    assert run(["doctor"]) == 2
    assert "TUNER_DATA_DIR" in capsys.readouterr().err


def test_a_tilde_is_the_home(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(["status", "--results=~/new"]) == 0
    assert f"No results in {tmp_path / 'new'}" in capsys.readouterr().err


def test_a_name_that_is_too_long_for_a_file_is_no_result(capsys):
    assert run(["show", "x" * 5000]) == 2
    assert run(["init", "x" * 5000]) == 2
    assert "unexpected" not in capsys.readouterr().err
