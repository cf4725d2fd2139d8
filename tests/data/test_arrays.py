"""Arrays as people have them: what is read, and that the line which mends the rest works."""

from __future__ import annotations

import numpy
import numpy as np
import pandas as pd
import pytest

from tuner.data.arrays import checked_arrays
from tuner.data.dataset import Pixels
from tuner.data.own import NpzDataset
from tuner.errors import InputError

LABELS = np.arange(24) % 3
BYTES = np.random.default_rng(0).integers(0, 256, (24, 6, 5, 3), dtype=np.uint8)
BYTES[0, 0, 0] = 0, 128, 255
NAMES = np.array(["owl", "cat", "dog"])


def arrays(x=BYTES, y=LABELS, **test):
    return {"x_train": x, "y_train": y, **test}


def refused(named):
    with pytest.raises(InputError) as caught:
        checked_arrays(named, "mine.npz")
    (problem,) = caught.value.problems
    return problem


def mended(named):
    """What the arrays are once the line has been typed; also of what had to be refused twice."""
    named = dict(named)
    for _ in range(2):
        try:
            return checked_arrays(named, "mine.npz")
        except InputError as error:
            (problem,) = error.problems
            exec(problem.mend, {"numpy": numpy, "pandas": pd}, named)
    return checked_arrays({n: v for n, v in named.items() if n[:2] in ("x_", "y_")}, "mine.npz")


# ---------------------------------------------------------------------- read as they are


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint16", "uint64", "float16"])
def test_whole_numbers_of_any_type_are_kept(kind):
    low = np.minimum(BYTES, 127 if kind == "int8" else 255)
    data = checked_arrays(arrays(low.astype(kind)), "x")
    np.testing.assert_array_equal(data.train.images, low)


@pytest.mark.parametrize(
    ("x", "pixels"),
    [
        (BYTES, Pixels()),
        (BYTES / 255, Pixels(1.0, 255.0)),
        (BYTES > 100, Pixels(1.0, 255.0)),
        (BYTES // 16, Pixels(15.0)),
        ((BYTES // 16).astype(float), Pixels(15.0)),
        (BYTES / 16.0, Pixels(16.0, 255 / 16)),
        (BYTES * 0.99, Pixels()),
        (BYTES / 255 * 1.0005, Pixels(1.0, 255.0)),  # as resizing leaves it
    ],
)
def test_the_range_comes_from_the_data(x, pixels):
    data = checked_arrays(arrays(x), "x")
    assert data.pixels == pixels
    np.testing.assert_allclose(data.train.images / pixels.scale, x, atol=0.51 / pixels.scale)
    assert data.info("f", "s").pixels == pixels


def test_fractions_that_were_rounded_away_before_have_another_fingerprint(tmp_path):
    def fingerprint(x):
        np.savez(tmp_path / "a.npz", x_train=x, y_train=LABELS)
        return NpzDataset(str(tmp_path / "a.npz")).info(None).fingerprint

    assert fingerprint(BYTES / 16.0).endswith(":0..16")
    assert fingerprint(BYTES / 255.0).count(":") == 2


@pytest.mark.parametrize(
    "y",
    [
        NAMES[LABELS],
        NAMES[LABELS].astype("S"),
        NAMES[LABELS].astype(object),
        NAMES[LABELS].tolist(),
        NAMES[LABELS].astype(np.dtypes.StringDType()),
        pd.Series(NAMES[LABELS]),
        pd.Series(NAMES[LABELS]).astype("category"),
        NAMES[LABELS][:, None],
    ],
)
def test_names_are_classes_in_sorted_order(y):
    data = checked_arrays(arrays(y=y), "x")
    assert data.class_names == ("cat", "dog", "owl")
    np.testing.assert_array_equal(data.train.labels, np.array([2, 0, 1])[LABELS])


def test_test_images_may_lack_a_name_and_have_no_other():
    y_test = np.array(["owl", "cat", "owl"])
    data = checked_arrays(arrays(y=NAMES[LABELS], x_test=BYTES[:3], y_test=y_test), "x")
    assert data.test.labels.tolist() == [2, 0, 2]
    named = arrays(y=NAMES[LABELS], x_test=BYTES[:3], y_test=["owl", "emu", "cat"])
    assert refused(named).received == "emu"
    assert mended({**named, "y_test": np.array(named["y_test"])}).test.labels.tolist() == [2, 0]


@pytest.mark.parametrize("kind", [int, float, bool])
def test_one_hot_labels_are_classes(kind):
    data = checked_arrays(arrays(y=np.eye(3)[LABELS].astype(kind)), "x")
    np.testing.assert_array_equal(data.train.labels, LABELS)


def test_true_and_false_are_two_classes():
    np.testing.assert_array_equal(
        checked_arrays(arrays(y=LABELS > 0), "x").train.labels, (LABELS > 0)
    )


# ---------------------------------------------------------------------- refused, and mended

TWELVE_BITS = BYTES.astype("uint16") * 16
NEGATIVE = (BYTES / 127.5 - 1).astype("float32")


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (BYTES.astype("uint16") * 257, "out of range"),
        (TWELVE_BITS, "out of range"),
        (TWELVE_BITS.astype("int32"), "out of range"),
        (BYTES.astype("int16") - 1024, "out of range"),
        (BYTES.astype("int16") * 9 - 1024, "out of range"),
        ((BYTES.astype(int) - 128).astype("int8"), "out of range"),
        (NEGATIVE, "out of range"),
        (BYTES * 2.0, "out of range"),
        (BYTES.astype(object), "of this type"),
        (BYTES.astype(str), "of this type"),
        (np.moveaxis(np.repeat(BYTES, 2, 2)[:, :, :6], -1, 1), "channels come first"),
        (np.moveaxis(BYTES[..., :1], -1, 1), "channels come first"),
        (np.moveaxis(BYTES, 0, -1), "last axis"),
        (BYTES[:, :5, :, 0].reshape(24, -1), "not images"),
        (BYTES[:, :5].reshape(24, -1), "not images"),
        (np.zeros((24, 3072), np.uint8), "not images"),
    ],
)
@pytest.mark.parametrize("has_test", [False, True])
def test_the_line_that_mends_images_works(x, what, has_test):
    test = {"x_test": x[:9], "y_test": LABELS[:9]} if has_test and "last" not in what else {}
    named = arrays(x, **test)
    assert what in refused(named).what
    data = mended(named)
    assert data.train.images.shape[1:3] in ((6, 5), (6, 6), (5, 5), (32, 32))
    if x.ndim == 4 and x.shape == BYTES.shape and x.dtype.kind not in "OU":
        low, high = float(x.min()), float(x.max())
        wanted = (x.astype(float) - low) / (high - low)
        np.testing.assert_allclose(data.train.images / 255, wanted, atol=1 / 255)
    if test:
        np.testing.assert_array_equal(data.test.images, data.train.images[:9])


@pytest.mark.parametrize(
    ("x_train", "x_test"),
    [
        (BYTES / 255, BYTES * 1.0),
        (BYTES / 255, NEGATIVE),
        (BYTES, BYTES / 255),
        (BYTES * 1.0, BYTES / np.float32(255)),
    ],
)
def test_test_images_are_brought_into_the_range_of_the_training_images(x_train, x_test):
    data = mended(arrays(x_train, x_test=x_test, y_test=LABELS))
    if x_test.min() == 0:
        np.testing.assert_array_equal(data.test.images, BYTES)


def test_images_that_are_not_numbers_are_left_out():
    x = BYTES / 255
    x[3, 0, 0, 0], x[5, 1, 1, 1] = np.nan, np.inf
    assert refused(arrays(x)).received.startswith("2 of 24 images, the first is number 3")
    assert len(mended(arrays(x)).train.labels) == 22
    grey = arrays(x[..., 0])
    assert len(mended(grey).train.labels) == 23


SOFT = np.eye(3)[LABELS] * 0.9 + 1 / 30


@pytest.mark.parametrize(
    ("y", "what", "wanted"),
    [
        (LABELS + 1, "class 0 has no images", LABELS),
        ((LABELS + 1).astype("uint8"), "class 0 has no images", LABELS),
        (LABELS * 2, "class 1 has no images", LABELS),
        (LABELS + 10, "class 0 has no images", LABELS),
        (LABELS - 1, "out of range", LABELS),
        (LABELS * 2**40, "out of range", LABELS),
        (LABELS.astype("float32"), "not class numbers", LABELS),
        (LABELS + 1.0, "not class numbers", LABELS),
        (SOFT, "soft labels", LABELS),
    ],
)
@pytest.mark.parametrize("has_test", [False, True])
def test_the_line_that_mends_labels_works(y, what, wanted, has_test):
    # The test images are of one class, so that they cannot be numbered on their own.
    some = np.flatnonzero(LABELS == 1)
    test = {"x_test": BYTES[some], "y_test": y[some]} if has_test else {}
    named = arrays(y=y, **test)
    assert what in refused(named).what
    data = mended(named)
    np.testing.assert_array_equal(data.train.labels, wanted)
    if has_test:
        assert set(data.test.labels) == {1}


def test_images_without_a_label_are_left_out():
    y = LABELS.astype(float)
    y[4] = np.nan
    assert refused(arrays(y=y)).received == "1 of 24"
    assert len(mended(arrays(y=y)).train.labels) == 23
    names = NAMES[LABELS].astype(object)
    names[2:4] = None, np.nan
    assert refused(arrays(y=names)).received == "2 of 24"
    assert mended(arrays(y=names)).class_names == ("cat", "dog", "owl")
    numbers = pd.Series(LABELS, dtype="Int64")
    assert checked_arrays(arrays(y=numbers), "x").train.labels.tolist() == LABELS.tolist()
    numbers[5] = pd.NA
    assert len(mended(arrays(y=numbers)).train.labels) == 23
    mixed = np.array([0, "a", 0.5] * 8, dtype=object)
    assert refused(arrays(y=mixed)).received == "float, int, str"
    assert mended(arrays(y=mixed)).class_names == ("0", "0.5", "a")


@pytest.mark.parametrize(
    ("y", "received"),
    [
        (LABELS + 0.5, "with fractions, as 0.5"),
        (np.ones((24, 3), int), "not one 1 in each row"),
        (NAMES[:1].repeat(24), "owl"),
        (None, "object of shape ()"),
        (np.zeros((24, 2, 2), int), "of shape (24, 2, 2)"),
        (LABELS * 0, "all are 0"),
    ],
)
def test_what_are_no_classes_is_said_to_be_none(y, received):
    assert received in refused(arrays(y=y)).received


def test_images_of_several_sizes_name_two():
    problem = refused(arrays([np.zeros((4, 4)), np.zeros((5, 4))], [0, 1]))
    assert problem.received == "images of (4, 4) and (5, 4)"


@pytest.mark.parametrize(
    "names",
    [
        {"x_train": "X", "y_train": "y"},
        {"x_train": "images", "y_train": "labels"},
        {"x_train": "X_train", "y_train": "y_tr", "x_test": "X_test", "y_test": "y_te"},
        {"x_train": "tr_x", "y_train": "tr_y", "x_test": "val_x", "y_test": "val_y"},
    ],
)
def test_other_names_in_a_file_get_a_line_that_renames_them(tmp_path, names):
    path = tmp_path / "mine.npz"
    content = arrays(x_test=BYTES[:9], y_test=LABELS[:9])
    if "test" in "".join(names.values()):  # of one size: names tell which labels are whose
        content |= {"x_test": BYTES[::-1], "y_test": LABELS[::-1]}
    np.savez(path, other=np.arange(3), **{new: content[old] for old, new in names.items()})
    with pytest.raises(InputError, match="an array is missing") as caught:
        NpzDataset(str(path)).info(None)
    (problem,) = caught.value.problems
    assert f"{names['x_train']} (24, 6, 5, 3)" in problem.received
    exec(problem.mend, {"numpy": numpy})
    for old in names:
        np.testing.assert_array_equal(np.load(path)[old], content[old])
    assert "other" in np.load(path)
    NpzDataset(str(path)).info(None)
