"""Small official files: the layouts of the real ones, with a few images."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from tuner.data.cifar import CIFAR10, CIFAR100, Cifar
from tuner.data.files import OfficialFile, OfficialSource
from tuner.data.mnist import FASHION_MNIST, MNIST, Idx, Mnist

NOWHERE = "file:///nowhere-at-all/"


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def tar_of(folder: str, files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(stream.getvalue(), mtime=0)


def source_of(
    dataset: str, folder: str, files: dict[str, bytes], archive: str = ""
) -> OfficialSource:
    """A source of these files; nowhere to be had yet."""
    packed = OfficialFile(archive, md5(tar_of(folder, files))) if archive else None
    known = tuple(OfficialFile(name, md5(data)) for name, data in files.items())
    return OfficialSource(dataset, folder, known, NOWHERE, packed)


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def cifar_batch(count: int, seed: int) -> bytes:
    labels = {b"labels": 10, b"fine_labels": 100, b"coarse_labels": 20}
    batch = {key: [i % classes for i in range(count)] for key, classes in labels.items()}
    return pickle.dumps(batch | {b"data": rows(count, seed)}, protocol=2)


def small(dataset: Cifar, files: dict[str, bytes], num_train: int, num_test: int) -> Cifar:
    source = dataset.source
    assert source.archive is not None
    return replace(
        dataset,
        source=source_of(source.dataset, source.folder, files, source.archive.name),
        known=replace(dataset.known, num_train=num_train, num_test=num_test),
    )


def small_cifar100(data_dir: Path, dataset: Cifar = CIFAR100) -> Cifar:
    files = {"train": cifar_batch(300, 1), "test": cifar_batch(100, 2)}
    write(data_dir / "cifar-100-python", files)
    return small(dataset, files, 300, 100)


def small_cifar10(data_dir: Path) -> Cifar:
    files = {f"data_batch_{i}": cifar_batch(20, i) for i in range(1, 6)}
    files["test_batch"] = cifar_batch(10, 6)
    write(data_dir / "cifar-10-batches-py", files)
    return small(CIFAR10, files, 100, 10)


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count, dtype=np.uint8) % 10
    return np.broadcast_to(labels[:, None, None], (count, 28, 28)), labels


def small_mnist(data_dir: Path) -> Mnist:
    stream, (train, labels) = io.BytesIO(), digits(300)
    np.savez(stream, x_train=train, y_train=labels, x_test=train[:100], y_test=labels[:100])
    files = {"mnist.npz": stream.getvalue()}
    write(data_dir, files)
    known = replace(MNIST.known, num_train=300, num_test=100)
    return replace(MNIST, source=source_of("mnist", "", files), known=known)


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), compresslevel=1)


def small_fashion_mnist(data_dir: Path) -> Idx:
    files = {}
    for part, count in (("train", 300), ("t10k", 100)):
        images, labels = digits(count)
        files[f"{part}-images-idx3-ubyte.gz"] = idx(images)
        files[f"{part}-labels-idx1-ubyte.gz"] = idx(labels)
    write(data_dir / "fashion-mnist", files)
    known = replace(FASHION_MNIST.known, num_train=300, num_test=100)
    source = source_of("fashion_mnist", "fashion-mnist", files)
    return replace(FASHION_MNIST, source=source, known=known)
