"""Hostile and damaged .npz files: one clear error each, and no memory for what they claim."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest

from tuner.data import npz
from tuner.data.npz import read_npz
from tuner.data.own import NpzDataset
from tuner.errors import InputError

LABELS = np.arange(12) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
NAMES = ("x_train", "y_train", "x_test", "y_test")


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape, descr="|u1") -> bytes:
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.fixture
def write(tmp_path):
    def write(x_train: bytes, method=zipfile.ZIP_DEFLATED):
        path = tmp_path / "mine.npz"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("x_train.npy", x_train)
            archive.writestr("y_train.npy", npy(LABELS))
        return path

    return write


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header((10**11,)), "says shape (100000000000,) of uint8, and holds 0 bytes"),
        (header((-1, 5)), "says shape (-1, 5)"),
        (header((2**62, 2**62, 4)), "holds 0 bytes"),
        (header((12,), "|S2000000000"), "holds 0 bytes"),
        (header((1,), "|O"), "Python objects"),
        (header((1,), "garbage"), "not a valid dtype"),
        (npy(IMAGES)[:-10], "holds 710 bytes"),
        (npy(IMAGES) + b"more", "holds 724 bytes"),
        (b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"(" * 9000, "EOF"),
        (b"\x93NUMPY\x02\x00" + (10**8).to_bytes(4, "little"), "expected 100000000 bytes"),
        (b"\x93NUMPY\x01\x00\x1c\x00__import__('os').getcwd()   \n", "malformed"),
        (b"\x93NUMPY\x09\x09", "format 9.9"),
        (b"cos\nsystem\n", "magic string"),
        (b"", "EOF"),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(write, content, words):
    path = write(content)
    with pytest.raises(InputError, match="data file cannot be read") as caught:
        read_npz(path, NAMES)
    (problem,) = caught.value.problems
    assert words in problem.received
    assert problem.where == str(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_damaged_compression_is_refused(write, method):
    path = write(npy(IMAGES), method)
    whole = bytearray(path.read_bytes())
    whole[60:120] = bytes(60)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="cannot be read"):
        read_npz(path, NAMES)


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, 99)])
def test_encrypted_and_unknown_compression_are_refused(write, offset, value):
    path = write(npy(IMAGES))
    whole = bytearray(path.read_bytes())
    whole[whole.find(b"PK\x01\x02") + offset] = value
    path.write_bytes(whole)
    with pytest.raises(InputError, match="cannot be read"):
        read_npz(path, NAMES)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(write, monkeypatch):
    monkeypatch.setattr(npz, "available_bytes", lambda: 800)
    with pytest.raises(InputError, match="do not fit into memory"):
        read_npz(write(npy(IMAGES)), NAMES)


def test_the_memory_that_is_free_is_known():
    assert 2**20 < npz.available_bytes() < 2**50


def test_random_damage_is_read_or_refused(write):
    path = write(npy(IMAGES))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(whole)
        for index in rng.integers(0, len(whole), 3):
            damaged[index] = rng.integers(0, 256)
        path.write_bytes(damaged[: rng.integers(1, 2 * len(whole))])
        try:
            read_npz(path, NAMES)
        except InputError as error:
            assert error.problems[0].where == str(path)


def test_what_is_no_plain_file_is_said_to_be_none(tmp_path):
    os.mkfifo(tmp_path / "fifo.npz")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    for name in ("fifo", "folder", "zero"):
        with pytest.raises(InputError, match="this is no plain file"):
            NpzDataset(str(tmp_path / f"{name}.npz")).info(None)


@pytest.mark.parametrize("name", ["x" * 5000, "~no-such-user/x", "a\0b", "a/" * 3000, "\ud800"])
def test_a_path_that_cannot_be_is_no_such_file(name):
    with pytest.raises(InputError, match="no such file"):
        NpzDataset(f"{name}.npz").fetch(None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_says_so(write):
    path = write(npy(IMAGES))
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        NpzDataset(str(path)).info(None)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_counted(tmp_path, bad):
    images = IMAGES.astype(np.float32)
    images[3, 0, 0, 0] = images[7, 1, 1, 1] = bad
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=LABELS)
    with pytest.raises(InputError, match="NaN or infinite") as caught:
        NpzDataset(str(tmp_path / "mine.npz")).info(None)
    assert "2 of 12 images, the first is number 3" in str(caught.value)
