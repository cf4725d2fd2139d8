"""Checkpoint files: whole or not at all, and never anything but arrays."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest

from tuner.ledger import checkpoint
from tuner.ledger.checkpoint import CheckpointError

ARRAYS = {"weights": np.arange(5, dtype=np.float32), "moving.0": np.ones((2, 3))}
NOTES = {"key": "abc", "epoch": 3}


@pytest.fixture
def saved(tmp_path):
    return checkpoint.save(tmp_path, "1-3-1.npz", ARRAYS, NOTES)


def test_what_was_saved_is_loaded(tmp_path, saved):
    arrays, notes = checkpoint.load(tmp_path, saved.file, saved.sha256)
    assert notes == NOTES
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    assert (tmp_path / saved.file).stat().st_size == saved.num_bytes


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b"", lambda b: b"\0" * len(b)])
def test_a_file_that_is_not_what_was_written_is_refused(tmp_path, saved, change):
    path = tmp_path / saved.file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(tmp_path, saved.file, saved.sha256)


def test_a_missing_file_is_named(tmp_path, saved):
    with pytest.raises(CheckpointError, match=r"2-1-1\.npz"):
        checkpoint.load(tmp_path, "2-1-1.npz", saved.sha256)


def test_a_name_never_leads_out_of_the_folder(tmp_path, saved):
    folder = tmp_path / "checkpoints"
    checkpoint.save(folder, "x.npz", ARRAYS, NOTES)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(folder, f"../{saved.file}", saved.sha256)
    checkpoint.remove(folder, [f"../{saved.file}"])
    assert (tmp_path / saved.file).exists()


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code ran",))


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.npy", b"\x93NUMPY\x01\x00" + pickle.dumps(_Bomb()))
    digest = checkpoint.hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        checkpoint.load(tmp_path, path.name, digest)
    np.savez(tmp_path / "objects.npz", weights=np.array([_Bomb()], dtype=object))
    digest = checkpoint.hashlib.sha256((tmp_path / "objects.npz").read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        checkpoint.load(tmp_path, "objects.npz", digest)


def test_nothing_is_left_of_a_save_that_failed(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, "1-1-1.npz", ARRAYS, NOTES)
    assert list(tmp_path.iterdir()) == []


def test_rubbish_is_what_no_ledger_names(tmp_path, saved):
    (tmp_path / ".1-4-1.npz.77.tmp").touch()
    (tmp_path / "1-4-1.npz").touch()
    assert checkpoint.rubbish(tmp_path, {saved.file}) == [".1-4-1.npz.77.tmp", "1-4-1.npz"]
    assert checkpoint.rubbish(tmp_path / "none", {saved.file}) == []
