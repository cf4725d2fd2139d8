from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tuner.data.synthetic import NUM_CLASSES, NUM_TEST, NUM_TRAIN, SYNTHETIC


@pytest.fixture(scope="module")
def train():
    return SYNTHETIC.train(None)


@pytest.fixture(scope="module")
def test():
    return SYNTHETIC.test(None)


def test_every_machine_makes_the_same_bytes(train, test):
    """A change of these is a change of the data: raise `_VERSION` with it."""
    assert SYNTHETIC.info(None).fingerprint == "synthetic:1"
    for data, sha256 in (
        (train, "a607f7f35d8882cd9baceb335586db5e8995da58d65d46c1eb852890fb36b863"),
        (test, "852bcf074adac7d5a162f787e0892e807fb69ee55cf640a31ac6d8e4b9989cf1"),
    ):
        assert hashlib.sha256(data.images.tobytes()).hexdigest() == sha256


def test_every_class_has_as_many_images(train, test):
    for data, count in ((train, NUM_TRAIN), (test, NUM_TEST)):
        assert np.all(np.bincount(data.labels) == count // NUM_CLASSES)


def test_the_range_is_used_and_hardly_clipped(train):
    assert np.all(np.abs(train.images.mean(axis=(0, 1, 2)) - 128) < 8)
    assert np.all(train.images.std(axis=(0, 1, 2)) > 30)
    assert np.isin(train.images, (0, 255)).mean() < 0.01


def nearest_mean_accuracy(train_features, train, test_features, test):
    """Of giving each test image the class whose mean feature is nearest."""
    means = np.stack([train_features[train.labels == c].mean(axis=0) for c in range(NUM_CLASSES)])
    distances = ((test_features[:, None] - means) ** 2).sum(axis=2)
    return (distances.argmin(axis=1) == test.labels).mean()


def test_a_mean_colour_says_little(train, test):
    colours = [data.images.mean(axis=(1, 2)) for data in (train, test)]
    accuracy = nearest_mean_accuracy(colours[0], train, colours[1], test)
    assert accuracy < 0.06


def test_textures_and_their_colours_say_much_more(train, test):
    """Correlations of colours between near pixels: what a convolution and a mean can see."""

    def features(data):
        images = data.images[:, ::2, ::2].astype(np.float32)
        images -= images.mean(axis=(1, 2), keepdims=True)
        found = []
        for down, right in ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (2, 2)):
            shifted = np.roll(images, (down, right), axis=(1, 2))
            found.append(np.einsum("nhwc,nhwd->ncd", images, shifted).reshape(len(images), -1))
        stacked = np.concatenate(found, axis=1) / images[0, ..., 0].size
        return stacked / 500

    accuracy = nearest_mean_accuracy(features(train), train, features(test), test)
    assert accuracy > 0.15
