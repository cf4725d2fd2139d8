from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.data import augment_laws
from tests.data.backend import law_names, run_laws
from tuner.data.augment import PADDING, Augmentation, pad_images
from tuner.errors import InputError


@cache
def outcome(backend: str) -> dict[str, str | None]:
    return run_laws(augment_laws.__file__, backend)


@pytest.mark.parametrize("law", law_names(augment_laws))
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_law(backend, law):
    traceback = outcome(backend)[law]
    assert traceback is None, traceback


def test_padding_is_the_rounded_mean_around_the_image():
    images = np.full((2, 5, 6, 3), 9, np.uint8)
    padded = pad_images(images, np.float32([0.4, 100.6, 255]))
    assert padded.shape == (2, 13, 14, 3)
    np.testing.assert_array_equal(padded[:, PADDING:-PADDING, PADDING:-PADDING], images)
    np.testing.assert_array_equal(padded[1, 0, 3], [0, 101, 255])
    np.testing.assert_array_equal(padded[0, 8, 13], [0, 101, 255])
    assert (padded == 9).sum() == images.size


def test_more_pixels_than_an_index_can_count_are_refused():
    one = np.ones(1, np.float32)
    images = np.broadcast_to(np.uint8(0), (2**15, 2**8, 2**8, 1))
    with pytest.raises(InputError, match="at most 32767"):
        Augmentation(("flip",), (2**8, 2**8, 1), one, one).prepare(images)


@pytest.mark.parametrize("names", [("flip",), ("crop",), ("cutout",), ("crop", "flip", "cutout")])
def test_the_number_of_draws_is_what_a_batch_takes_from_its_generator(names):
    import keras

    mean, std = np.zeros(3, np.float32), np.ones(3, np.float32)
    augmentation = Augmentation(names, (8, 8, 3), mean, std)
    images = augmentation.prepare(np.zeros((4, 8, 8, 3), np.uint8))
    seeds = keras.random.SeedGenerator(0)
    augmentation.batch(images, keras.ops.arange(4, dtype="int32"), seeds)
    assert int(np.asarray(seeds.state.numpy())[1]) == augmentation.num_draws
