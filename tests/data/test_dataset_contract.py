"""What every data set does; a new one is one more fixture in the list."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data import official
from tuner.data.cifar import CIFAR100_COARSE
from tuner.data.own import FunctionDataset, NpzDataset
from tuner.data.synthetic import SYNTHETIC


def npz(data_dir):
    data_dir.mkdir()
    labels = np.arange(30) % 3
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 6, 2), dtype=np.uint8)
    np.savez(data_dir / "mine.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    return NpzDataset("mine.npz")


def arrays():
    labels = np.arange(30) % 3
    images = np.random.default_rng(0).random((30, 8, 6))
    return images, labels, images[:9], labels[:9]


MAKERS = {
    "cifar100": official.small_cifar100,
    "cifar100_coarse": lambda data_dir: official.small_cifar100(data_dir, CIFAR100_COARSE),
    "cifar10": official.small_cifar10,
    "mnist": official.small_mnist,
    "fashion_mnist": official.small_fashion_mnist,
    "synthetic": lambda data_dir: SYNTHETIC,
    "npz": npz,
    "function": lambda data_dir: FunctionDataset(f"{__name__}:arrays"),
}


@pytest.fixture(scope="module", params=MAKERS)
def made(request, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data") / "dir"
    return MAKERS[request.param](data_dir), data_dir


def test_info_says_what_the_arrays_are(made):
    dataset, data_dir = made
    info = dataset.info(data_dir)
    for data, count in (
        (dataset.train(data_dir), info.num_train),
        (dataset.test(data_dir), info.num_test),
    ):
        assert data.images.shape == (count, *info.image_shape)
        assert data.images.dtype == np.uint8
        assert data.images.flags.c_contiguous
        assert data.labels.shape == (count,)
        assert data.labels.dtype == np.int32
        assert data.labels.min() == 0
        assert data.labels.max() == info.num_classes - 1


def test_it_is_the_same_each_time(made):
    dataset, data_dir = made
    first, again = dataset.test(data_dir), dataset.test(data_dir)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert dataset.info(data_dir) == dataset.info(data_dir)


def test_what_is_there_is_not_fetched(made):
    dataset, data_dir = made
    before = sorted(data_dir.rglob("*"))
    dataset.fetch(data_dir, progress=lambda what, done, total: pytest.fail("downloaded"))
    assert sorted(data_dir.rglob("*")) == before
