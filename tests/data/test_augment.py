"""Augmentation: what holds under every backend (see tests/test_backends.py)."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tuner.data.augment import CUTOUT_SIZE, PADDING, Augmentation, pad_images
from tuner.errors import InputError

NEUTRAL = {"mean": np.zeros(3, np.float32), "std": np.ones(3, np.float32)}


def coordinates(num_images=7, height=12, width=10):
    """Images of which every pixel says (image + 1, row, column)."""
    images = np.zeros((num_images, height, width, 3), np.uint8)
    images[..., 0] = np.arange(num_images)[:, None, None] + 1
    images[..., 1] = np.arange(height)[None, :, None]
    images[..., 2] = np.arange(width)[None, None, :]
    return images


class Compiled:
    """`Augmentation.batch` in a compiled function, its generator's state carried along."""

    def __init__(self, augmentation, images, seed=3, training=True, names=()):
        self.generator = keras.random.SeedGenerator(seed)
        self.images = keras.ops.convert_to_tensor(images)
        self.traces = 0
        self.call = self._jax() if keras.backend.backend() == "jax" else self._tensorflow()
        self.augmentation = augmentation
        self.training = training
        switches = augmentation.switches(names).items()
        self.values = {name: keras.ops.convert_to_tensor(value) for name, value in switches}

    def _batch(self, images, indices):
        self.traces += 1
        values = self.values
        return self.augmentation.batch(
            images, indices, self.generator, values, training=self.training
        )

    def _tensorflow(self):
        import tensorflow as tf

        return tf.function(
            lambda indices: self._batch(self.images, indices),
            input_signature=[tf.TensorSpec([None], tf.int32)],
        )

    def _jax(self):
        import jax

        def step(images, indices, state):
            with keras.StatelessScope(state_mapping=[(self.generator.state, state)]) as scope:
                batch = self._batch(images, indices)
            return batch, scope.get_current_value(self.generator.state)

        compiled = jax.jit(step)

        def call(indices):
            batch, state = compiled(self.images, indices, self.generator.state.value)
            self.generator.state.assign(state)
            return batch

        return call

    def __call__(self, indices):
        return np.asarray(self.call(np.asarray(indices, np.int32)))


def crops(names, num_batches=60, batch_size=64):
    """(images, indices, batches) of many augmented batches."""
    images = coordinates()
    augmentation = Augmentation(names, images.shape[1:], **NEUTRAL)
    padded = augmentation.prepare(images)
    batch = Compiled(augmentation, padded)
    generator = np.random.default_rng(5)
    indices = [generator.integers(0, len(images), batch_size) for _ in range(num_batches)]
    return padded, np.concatenate(indices), np.concatenate([batch(i) for i in indices])


def windows(padded, image, height, width):
    """All crops of a padded image: {bytes: (down, right, flipped)}."""
    found = {}
    for down in range(2 * PADDING + 1):
        for right in range(2 * PADDING + 1):
            window = padded[image, down : down + height, right : right + width].astype(np.float32)
            found[window.tobytes()] = (down, right, False)
            found[window[:, ::-1].tobytes()] = (down, right, True)
    return found


def decode(padded, indices, batch):
    """Which crop each image of a batch is: (n, 3) of down, right, flipped."""
    _, height, width, _ = batch.shape
    tables = [windows(padded, image, height, width) for image in range(len(padded))]
    return np.array([tables[i][image.tobytes()] for i, image in zip(indices, batch, strict=True)])


def within_chance(counts, expected):
    """Each count within five standard deviations of a binomial."""
    total = counts.sum()
    deviation = np.sqrt(total * expected * (1 - expected))
    return bool(np.all(np.abs(counts - total * expected) < 5 * deviation))


def test_every_output_is_a_crop_or_its_mirror_image_all_equally_likely():
    padded, indices, batch = crops(("crop", "flip"))
    assert batch.dtype == np.float32
    down, right, flipped = decode(padded, indices, batch).T
    for offsets in (down, right):
        assert within_chance(np.bincount(offsets, minlength=9), 1 / 9)
    assert within_chance(np.bincount(flipped, minlength=2), 1 / 2)
    correlations = np.corrcoef([down, right, flipped])[np.triu_indices(3, 1)]
    assert np.all(np.abs(correlations) < 5 / np.sqrt(len(down)))


def test_without_flip_nothing_is_mirrored():
    assert not decode(*crops(("crop",), num_batches=4))[:, 2].any()


def test_without_crop_images_are_whole():
    padded, indices, batch = crops(("flip",))
    assert padded.shape[1:3] == (12, 10)
    original = padded[indices].astype(np.float32)
    kept = (batch == original).all(axis=(1, 2, 3))
    mirrored = (batch == original[:, :, ::-1]).all(axis=(1, 2, 3))
    assert np.all(kept ^ mirrored)
    assert within_chance(np.bincount(mirrored), 1 / 2)


def test_without_augmentation_images_are_gathered_and_normalized():
    images = coordinates()
    mean, std = np.float32([4, 5, 6]), np.float32([2, 3, 4])
    batch = Compiled(Augmentation((), images.shape[1:], mean, std), images)
    indices = [3, 0, 3, 6]
    np.testing.assert_allclose(batch(indices), (images[indices] - mean) / std, rtol=1e-6)


def test_evaluation_takes_the_middle_and_draws_nothing():
    images = coordinates()
    augmentation = Augmentation(("crop", "flip", "cutout"), images.shape[1:], **NEUTRAL)
    batch = Compiled(augmentation, augmentation.prepare(images), training=False)
    before = np.asarray(batch.generator.state)
    for _ in range(2):
        np.testing.assert_array_equal(batch([1, 5]), images[[1, 5]])
    np.testing.assert_array_equal(np.asarray(batch.generator.state), before)


def test_cutout_covers_one_square_cut_off_at_the_edges():
    images = np.full((2, 20, 16, 3), 255, np.uint8)
    batch = Compiled(Augmentation(("cutout",), images.shape[1:], **NEUTRAL), images)
    hidden = np.concatenate([batch(np.zeros(64)) for _ in range(60)]) == 0
    assert np.all(hidden.all(axis=3) == hidden.any(axis=3))
    rows, columns = hidden.any(axis=(2, 3)), hidden.any(axis=(1, 3))
    np.testing.assert_array_equal(hidden[..., 0], rows[:, :, None] & columns[:, None, :])
    for covered, length in ((rows, 20), (columns, 16)):
        edges = np.diff(covered.astype(int), axis=1, prepend=0, append=0)
        assert np.all((edges == 1).sum(axis=1) == 1)  # one stretch
        half = CUTOUT_SIZE // 2
        expected = np.array(
            [min(c + half, length) - max(c - half, 0) for c in range(length)]
        )  # of each centre, all of which are equally likely
        lengths = covered.sum(axis=1)
        assert lengths.max() == CUTOUT_SIZE
        assert lengths.min() == half
        assert abs(lengths.mean() - expected.mean()) < 5 * expected.std() / np.sqrt(len(lengths))


def test_cutout_hides_what_normalizes_to_zero():
    images = coordinates()
    mean = np.float32([50, 50, 50])
    augmentation = Augmentation(("cutout",), images.shape[1:], mean, NEUTRAL["std"])
    assert (Compiled(augmentation, images)(np.arange(7)) == 0).any(axis=(1, 2, 3)).all()


def test_the_seed_decides_and_calls_differ_in_one_trace():
    images = coordinates()
    augmentation = Augmentation(("crop", "flip", "cutout"), images.shape[1:], **NEUTRAL)
    padded = augmentation.prepare(images)
    first, again, other = (Compiled(augmentation, padded, seed) for seed in (1, 1, 2))
    indices = np.arange(7)
    a, b = first(indices), first(indices)
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(again(indices), a)
    np.testing.assert_array_equal(again(indices), b)
    assert not np.array_equal(other(indices), a)
    assert first.traces == again.traces == 1


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
    augmentation = Augmentation(names, (8, 8, 3), **NEUTRAL)
    images = augmentation.prepare(np.zeros((4, 8, 8, 3), np.uint8))
    seeds = keras.random.SeedGenerator(0)
    augmentation.batch(images, keras.ops.arange(4, dtype="int32"), seeds)
    assert int(np.asarray(seeds.state.numpy())[1]) == augmentation.num_draws({})


@pytest.mark.parametrize("names", [(), ("flip",), ("crop", "cutout"), ("crop", "flip", "cutout")])
def test_a_program_that_searches_them_gives_the_images_of_one_that_has_just_these(names):
    images = coordinates()
    closed = Augmentation(names, images.shape[1:], **NEUTRAL)
    searched = Augmentation(
        ("crop", "flip", "cutout"), images.shape[1:], **NEUTRAL, is_searched=True
    )
    one = Compiled(closed, closed.prepare(images))
    other = Compiled(searched, searched.prepare(images), names=names)
    for _ in range(3):  # what is drawn next depends on what has been drawn
        np.testing.assert_array_equal(other(np.arange(7)), one(np.arange(7)))
    assert int(searched.num_draws(other.values)) == closed.num_draws({})
    assert other.traces == 1


def test_pixels_that_are_not_normalized_are_padded_and_covered_with_the_mean():
    images = np.full((7, 12, 12, 3), 200, np.uint8)
    fill, zero, unit = np.float32([50.4, 60, 70]), np.zeros(3, np.float32), np.float32([2, 2, 2])
    names = ("crop", "cutout")
    augmentation = Augmentation(names, images.shape[1:], zero, unit, fill)
    padded = augmentation.prepare(images)
    assert padded[0, 0, 0].tolist() == [50, 60, 70]
    pixels = Compiled(augmentation, padded)(np.arange(7)).reshape(-1, 3)
    found = {tuple(pixel) for pixel in (10 * pixels).round().tolist()}
    assert found == {(1000, 1000, 1000), (250, 300, 350), (252, 300, 350)}
