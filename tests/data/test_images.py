from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.data.config import DataConfig, final_data
from tuner.data.images import channel_statistics, check, load_images
from tuner.errors import InputError


@pytest.fixture
def npz(tmp_path):
    labels = np.arange(600) % 4
    images = np.random.default_rng(0).integers(0, 200, (600, 6, 5, 2), dtype=np.uint8)
    images[..., 1] += 50
    images[:, 0, 0, 0] = np.arange(600) % 256  # with the next, each image says which it is
    images[:, 0, 1, 0] = np.arange(600) // 256
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images[:40], y_test=labels[:40])
    return str(path)


def numbers(images):
    low, high = images[:, 0, :2, 0].astype(int).T
    return low + 256 * high


def test_every_image_keeps_its_label_and_is_in_one_part(npz):
    data = load_images(DataConfig(dataset=npz, validation=100), None)
    train, validation = numbers(data.x_train), numbers(data.x_validation)
    assert sorted([*train, *validation]) == list(range(600))
    np.testing.assert_array_equal(data.y_train, train % 4)
    np.testing.assert_array_equal(data.y_validation, validation % 4)
    assert len(validation) == 100
    assert data.image_shape == (6, 5, 2)
    assert data.num_classes == 4


def test_statistics_are_those_of_the_used_training_images_alone(npz):
    data = load_images(DataConfig(dataset=npz, validation=0.5, train_images=37), None)
    assert len(data.x_train) == 37
    np.testing.assert_allclose(data.mean, data.x_train.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(data.std, data.x_train.std(axis=(0, 1, 2)), rtol=1e-6)
    assert data.mean.dtype == data.std.dtype == np.float32


@settings(deadline=None)
@given(st.integers(1, 600), st.integers(1, 4), st.integers(0, 2**32))
def test_statistics_agree_with_numpy(count, channels, seed):
    shape = (count, 3, 2, channels)
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-6)
    expected = images.std(axis=(0, 1, 2))
    np.testing.assert_allclose(std, np.where(expected > 0, expected, 1), rtol=1e-5)


def test_statistics_of_many_bright_images_do_not_overflow():
    mean, std = channel_statistics(np.full((2000, 8, 8, 3), 255, np.uint8))
    np.testing.assert_array_equal(mean, [255, 255, 255])
    np.testing.assert_array_equal(std, [1, 1, 1])  # a constant channel is only shifted


def test_test_images_are_given_to_who_asks_for_them(npz):
    data = load_images(final_data(DataConfig(dataset=npz)), None)
    images, labels = data.x_validation, data.y_validation
    np.testing.assert_array_equal(labels, numbers(images) % 4)
    assert len(images) == 40


def test_check_finds_wrong_sizes_before_anything_is_read():
    info = check(DataConfig(dataset="cifar100", validation=5000), None, backend="jax")
    assert (info.num_train, info.num_test) == (50_000, 10_000)
    for fields, where in (
        ({"validation": 60_000}, "data.validation"),
        ({"validation": 99}, "data.validation"),
        ({"train_images": 45_001}, "data.train_images"),
    ):
        with pytest.raises(InputError) as caught:
            check(DataConfig(dataset="cifar100", **fields), None, backend="jax")
        assert caught.value.problems[0].where == where


def test_the_hash_of_the_content_follows_the_images_and_labels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
    labels = np.arange(60) % 3
    found = []
    for x, y in ((images, labels), (images ^ 1, labels), (images, labels[::-1].copy())):
        np.savez(tmp_path / "mine.npz", x_train=x, y_train=y)
        config = DataConfig(dataset=str(tmp_path / "mine.npz"), validation=12)
        found.append(load_images(config, None).hashes["content"])
    fortran = np.asfortranarray(images.astype(np.float32))
    np.savez(tmp_path / "mine.npz", x_train=fortran, y_train=labels)
    found.append(load_images(config, None).hashes["content"])
    assert len(set(found)) == 3
    assert found[0] == found[3]


def test_pixels_as_they_are_come_in_the_range_of_the_data(tmp_path):
    x, path = np.random.default_rng(0).random((40, 4, 4, 2)), tmp_path / "mine.npz"
    for scale, values in ((255.0, x), (1.0, np.rint(x * 255))):
        np.savez(path, x_train=values, y_train=np.arange(40) % 2)
        data = load_images(DataConfig(dataset=str(path), validation=10, normalize=False), None)
        assert (data.mean.tolist(), data.std.tolist()) == ([0, 0], [scale, scale])
        assert data.pixels.scale == scale
        mean = data.x_train.mean(axis=(0, 1, 2))
        np.testing.assert_allclose(data.fill, mean, rtol=1e-6)
        assert load_images(DataConfig(dataset=str(path), validation=10), None).fill is None


def test_a_class_of_one_image_is_refused_before_anything_runs_and_named(tmp_path):
    names = np.array(["cat"] * 9 + ["emu"] + ["dog"] * 9)
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=np.zeros((19, 4, 4), np.uint8), y_train=names)
    with pytest.raises(InputError, match="fewer than two images") as caught:
        check(DataConfig(dataset=str(path), validation=3), None, backend="jax")
    assert caught.value.problems[0].received == "emu: 1"
