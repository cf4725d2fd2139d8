from __future__ import annotations

import numpy as np
import pytest

from tuner.data.own import FunctionDataset, NpzDataset
from tuner.errors import InputError

LABELS = np.arange(12) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "mine.npz", **arrays)
        return NpzDataset(str(tmp_path / "mine.npz"))

    return save


def test_uint8_images_are_kept(save):
    dataset = save(x_train=IMAGES, y_train=LABELS)
    np.testing.assert_array_equal(dataset.train(None).images, IMAGES)
    info = dataset.info(None)
    assert (info.image_shape, info.num_classes) == ((5, 4, 3), 3)
    assert (info.num_train, info.num_test) == (12, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_0_to_1_and_of_0_to_255_become_bytes(save, dtype):
    for images in (IMAGES.astype(dtype) / dtype(255), IMAGES.astype(dtype)):
        dataset = save(x_train=images, y_train=LABELS)
        np.testing.assert_array_equal(dataset.train(None).images, IMAGES)


def test_test_images_are_scaled_as_the_training_images_are(save):
    dark = np.full((12, 5, 4, 3), 0.9)
    bright = np.full((12, 5, 4, 3), 200.0)
    bright_data = save(x_train=bright, y_train=LABELS, x_test=dark, y_test=LABELS)
    assert bright_data.test(None).images.max() == 1
    with pytest.raises(InputError, match=r"x_test: pixels out of range"):
        save(x_train=dark, y_train=LABELS, x_test=bright, y_test=LABELS).test(None)


def test_grey_images_get_their_channel_and_column_labels_lose_theirs(save):
    data = save(x_train=IMAGES[..., 0], y_train=LABELS[:, None].astype(np.uint16)).train(None)
    assert data.images.shape == (12, 5, 4, 1)
    assert data.labels.shape == (12,)


def test_the_fingerprint_follows_the_content(save):
    one = save(x_train=IMAGES, y_train=LABELS).info(None).fingerprint
    other = save(x_train=IMAGES ^ 1, y_train=LABELS).info(None).fingerprint
    assert one.startswith("npz:sha256:")
    assert one != other


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": IMAGES}, "an array is missing"),
        ({"images": IMAGES, "labels": LABELS}, "an array is missing"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES}, "an array is missing"),
        ({"x_train": IMAGES[0, 0], "y_train": LABELS}, "x_train: these are not images"),
        ({"x_train": IMAGES[None], "y_train": LABELS}, "x_train: these are not images"),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, "x_train: these are not images"),
        ({"x_train": IMAGES.astype(np.int64), "y_train": LABELS}, "of this type"),
        ({"x_train": IMAGES.astype(str), "y_train": LABELS}, "of this type"),
        ({"x_train": IMAGES - 128.0, "y_train": LABELS}, "pixels out of range"),
        ({"x_train": IMAGES * 2.0, "y_train": LABELS}, "pixels out of range"),
        ({"x_train": np.where(IMAGES > 250, np.nan, IMAGES), "y_train": LABELS}, "NaN or infinite"),
        ({"x_train": IMAGES, "y_train": LABELS[:-1]}, "don't match"),
        ({"x_train": IMAGES, "y_train": LABELS.astype(float)}, "not class numbers"),
        ({"x_train": IMAGES, "y_train": np.eye(3, dtype=int)[LABELS]}, "argmax"),
        ({"x_train": IMAGES, "y_train": LABELS - 1}, "out of range"),
        ({"x_train": IMAGES, "y_train": LABELS + 1}, "class 0 has no images"),
        ({"x_train": IMAGES, "y_train": LABELS * 2}, "class 1 has no images"),
        ({"x_train": IMAGES, "y_train": LABELS * 0}, "one class"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:, 1:], "y_test": LABELS},
            "another shape",
        ),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS + 1},
            "never trained",
        ),
    ],
)
def test_arrays_of_another_kind_are_one_clear_error(save, arrays, message):
    dataset = save(**arrays)
    for ask in (dataset.info, dataset.train):
        with pytest.raises(InputError, match=message) as caught:
            ask(None)
        assert "mine.npz" in str(caught.value)


def test_objects_are_not_unpickled(save):
    dataset = save(x_train=np.array([{}], dtype=object), y_train=LABELS)
    with pytest.raises(InputError, match="cannot be read"):
        dataset.info(None)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"not a zip"])
def test_a_file_that_is_no_npz_is_one_clear_error(tmp_path, content):
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        NpzDataset(str(path)).train(None)


def test_a_single_array_is_no_npz(tmp_path):
    path = tmp_path / "mine.npz"
    with path.open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(InputError, match="single array"):
        NpzDataset(str(path)).train(None)


def test_a_file_cut_short_is_one_clear_error(save, tmp_path):
    dataset = save(x_train=IMAGES, y_train=LABELS)
    path = tmp_path / "mine.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes(100) + whole[160:])
    with pytest.raises(InputError, match="cannot be read"):
        dataset.train(None)


def test_a_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        NpzDataset("mine.npz").fetch(tmp_path / "data")
    assert str(tmp_path / "mine.npz") in str(caught.value)
    assert str(tmp_path / "data" / "mine.npz") in str(caught.value)


def test_a_file_without_test_images_has_none_to_give(save):
    with pytest.raises(InputError, match="no test images"):
        save(x_train=IMAGES, y_train=LABELS).test(None)


@pytest.fixture
def module(tmp_path, monkeypatch):
    def module(name, text):
        (tmp_path / f"{name}.py").write_text(f"import numpy as np\n{text}")
        monkeypatch.syspath_prepend(tmp_path)

    return module


def test_a_function_gives_the_arrays(module):
    module("their_data", "def load():\n    return np.eye(4)[[0, 1, 2]].reshape(3, 2, 2), [0, 1, 1]")
    dataset = FunctionDataset("their_data:load")
    info = dataset.info(None)
    assert (info.image_shape, info.num_classes, info.num_train) == ((2, 2, 1), 2, 3)
    assert info.fingerprint.startswith("function:sha256:")
    assert dataset.train(None).images.max() == 255


@pytest.mark.parametrize("name", ["no_such_module:load", "json:no_such_function"])
def test_a_function_that_is_not_there_is_one_clear_error(name):
    with pytest.raises(InputError, match="no such function"):
        FunctionDataset(name).info(None)


def test_a_function_that_returns_something_else_is_one_clear_error(module):
    module("their_odd", "def one():\n    return np.eye(3)\ndef three():\n    return 1, 2, 3")
    for name, received in (("one", "ndarray"), ("three", "tuple of 3")):
        with pytest.raises(InputError, match=received):
            FunctionDataset(f"their_odd:{name}").info(None)
