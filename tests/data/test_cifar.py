from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.data import official
from tuner.data.cifar import CIFAR100, CIFAR100_COARSE
from tuner.data.config import DataConfig, final_data
from tuner.data.files import default_data_dir, keras_cache, locate
from tuner.data.images import load_images
from tuner.errors import InputError

CACHE = keras_cache(os.environ)  # of the person who runs the tests


def test_planes_become_channels(tmp_path):
    data = official.small_cifar100(tmp_path).train(tmp_path)
    red, green, blue = official.rows(300, 1)[7].reshape(3, 32, 32)
    np.testing.assert_array_equal(data.images[7], np.stack([red, green, blue], axis=-1))


def test_batches_follow_one_another(tmp_path):
    data = official.small_cifar10(tmp_path).train(tmp_path)
    second = official.rows(20, 2)[0].reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(data.images[20], second)


def test_training_images_are_read_without_the_test_images(tmp_path):
    dataset = official.small_cifar100(tmp_path)
    (tmp_path / "cifar-100-python" / "test").write_bytes(b"never read")
    dataset.train(tmp_path)
    with pytest.raises(InputError, match="damaged"):
        dataset.test(tmp_path)


def test_fine_and_coarse_are_different_data():
    assert CIFAR100.info(None).fingerprint != CIFAR100_COARSE.info(None).fingerprint
    assert CIFAR100.source == CIFAR100_COARSE.source


def real_data_dir() -> Path | None:
    data_dir = default_data_dir(os.environ)
    found = locate(CIFAR100.source, data_dir or CACHE)
    return found.parent if found else None


@pytest.mark.skipif(real_data_dir() is None, reason="CIFAR-100 is not on this machine")
def test_the_real_cifar100_has_its_published_statistics():
    config = DataConfig(dataset="cifar100", validation=5000)
    data = load_images(config, real_data_dir())
    np.testing.assert_allclose(data.mean, [129.3, 124.1, 112.4], atol=0.1)
    np.testing.assert_allclose(data.std, [68.2, 65.4, 70.4], atol=0.1)
    assert np.all(np.bincount(data.y_train) == 450)
    assert np.all(np.bincount(data.y_validation) == 50)
    assert data.hashes["split"] == (
        "7a2865284c37b6909680209f949cf8df7b5e8fa04199e0b607ae1113e8d11659"
    )
    data = load_images(final_data(config), real_data_dir())
    images, labels = data.x_validation, data.y_validation
    assert len(data.x_train) == 50_000
    assert images.shape == (10_000, 32, 32, 3)
    assert np.all(np.bincount(labels) == 100)


def test_fetching_finds_damage_before_anything_else_happens(tmp_path):
    dataset = official.small_cifar100(tmp_path / "data")
    dataset.fetch(tmp_path / "data")
    (damaged,) = (tmp_path / "data").rglob("train")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        dataset.fetch(tmp_path / "data")
