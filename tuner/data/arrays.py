"""Arrays that a person hands in, checked and brought into one form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.data.dataset import DatasetInfo, LabelledImages
from tuner.errors import InputError, Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Arrays:
    """Training and test images of one shape, with classes 0..num_classes - 1."""

    train: LabelledImages
    test: LabelledImages | None

    def info(self, fingerprint: str) -> DatasetInfo:
        """Shapes and counts."""
        _, height, width, channels = self.train.images.shape
        return DatasetInfo(
            image_shape=(height, width, channels),
            num_classes=int(self.train.labels.max()) + 1,
            num_train=len(self.train.labels),
            num_test=len(self.test.labels) if self.test else 0,
            fingerprint=fingerprint,
        )

    def hash(self) -> str:
        """SHA-256 of shapes and content."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            if part:
                digest.update(f"{part.images.shape}".encode())
                digest.update(part.images.tobytes())
                digest.update(part.labels.astype("<i4").tobytes())
        return digest.hexdigest()


def checked_arrays(named: Mapping[str, Any], where: str) -> Arrays:
    """`x_train`, `y_train`[, `x_test`, `y_test`] as uint8 images and int32 labels.

    Images: (n, height, width[, channels]), uint8, or floats in 0..1 or 0..255, which are rounded
    to 0..255. Labels: whole numbers (n,) or (n, 1), none missing between 0 and the highest.
    Raises InputError.
    """
    _require_names(named, where)
    scale = _scale(named["x_train"])
    train = _labelled(named, "train", where, scale)
    _require_every_class(train.labels, f"{where}: y_train")
    if "x_test" not in named:
        return Arrays(train, None)
    test = _labelled(named, "test", where, scale)
    _require_same_kind(train, test, where)
    return Arrays(train, test)


def _require_names(named: Mapping[str, Any], where: str) -> None:
    has = set(named)
    if {"x_train", "y_train"} <= has and ("x_test" in has) == ("y_test" in has):
        return
    raise InputError(
        Problem(
            "an array is missing",
            where=where,
            received=", ".join(named) or "none of the arrays",
            expected="x_train and y_train; x_test and y_test together or not at all",
        )
    )


def _labelled(named: Mapping[str, Any], part: str, where: str, scale: float) -> LabelledImages:
    images = _images(named[f"x_{part}"], f"{where}: x_{part}", scale)
    labels = _labels(named[f"y_{part}"], f"{where}: y_{part}")
    if len(images) != len(labels):
        raise InputError(
            Problem(
                "images and labels don't match",
                where=where,
                received=f"{len(images)} images in x_{part}, {len(labels)} labels in y_{part}",
                expected="one label for each image",
            )
        )
    return LabelledImages(images, labels)


def _scale(x_train: Any) -> float:
    """What makes 0..255 of floats: 255 where none of the training images goes beyond 1."""
    import numpy as np

    array = np.asarray(x_train)
    floats = np.issubdtype(array.dtype, np.floating) and array.size > 0
    return 255.0 if floats and array.max() <= 1 else 1.0


def _images(value: Any, where: str, scale: float) -> NDArray[np.uint8]:
    import numpy as np

    array = np.asarray(value)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise InputError(
            Problem(
                "these are not images",
                where=where,
                received=f"shape {array.shape}",
                expected="shape (images, height, width) or (images, height, width, channels)",
            )
        )
    array = array if array.ndim == 4 else array[..., np.newaxis]
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    return _rounded(array, where, scale)


def _rounded(array: NDArray[Any], where: str, scale: float) -> NDArray[np.uint8]:
    import numpy as np

    expected = "uint8, or floats in 0..1 or 0..255, none of them NaN"
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            Problem(
                "pixels of this type are not read", where, str(array.dtype), expected,
                mend="x.astype('uint8')",
            )
        )  # fmt: skip
    low, high = array.min(), array.max()  # NaN when any is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(_not_finite(array, where))
    if not (low >= 0 and high * scale <= 255):
        raise InputError(
            Problem(
                "pixels out of range",
                where,
                f"{array.dtype} in {low:g}..{high:g}",
                expected if scale == 1 else "floats in 0..1, as in x_train, none of them NaN",
                mend="undo the normalization: tuner normalizes by itself",
            )
        )
    return np.rint(array * scale).astype(np.uint8)


def _not_finite(array: NDArray[Any], where: str) -> Problem:
    import numpy as np

    bad = ~np.isfinite(array).all(axis=(1, 2, 3))
    return Problem(
        "pixels that are NaN or infinite",
        where,
        f"{int(bad.sum())} of {len(array)} images, the first is number {int(bad.argmax())}",
        "numbers",
        mend="leave them out: keep = numpy.isfinite(x).all(axis=tuple(range(1, x.ndim)))",
    )


def _labels(value: Any, where: str) -> NDArray[np.int32]:
    import numpy as np

    array = np.asarray(value)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            Problem(
                "these are not class numbers",
                where=where,
                received=f"{array.dtype} of shape {array.shape}",
                expected="whole numbers of shape (images,)",
                mend="one-hot labels: y.argmax(axis=1)" if array.ndim == 2 else "y.astype('int32')",
            )
        )
    if array.size and not (array.min() >= 0 and array.max() < 2**31 - 1):
        raise InputError(
            Problem(
                "class numbers out of range",
                where=where,
                received=f"{array.min()}..{array.max()}",
                expected="classes numbered from 0",
            )
        )
    return array.astype(np.int32)


def _require_every_class(labels: NDArray[np.int32], where: str) -> None:
    import numpy as np

    present = np.unique(labels)
    highest = int(present[-1])
    if len(present) == highest + 1 and highest > 0:
        return
    gap = int(np.argmax(present != np.arange(len(present)))) if len(present) <= highest else None
    raise InputError(
        Problem(
            "one class is nothing to learn" if gap is None else f"class {gap} has no images",
            where=where,
            received=f"{len(present)} classes, the highest {highest}",
            expected="two or more classes, numbered from 0 without gaps",
            mend="numpy.unique(y, return_inverse=True)[1] numbers them so",
        )
    )


def _require_same_kind(train: LabelledImages, test: LabelledImages, where: str) -> None:
    for what, received, wanted, same in (
        (
            "test images of another shape",
            test.images.shape[1:],
            train.images.shape[1:],
            test.images.shape[1:] == train.images.shape[1:],
        ),
        (
            "test images of a class that is never trained",
            int(test.labels.max()),
            f"at most {int(train.labels.max())}",
            test.labels.max() <= train.labels.max(),
        ),
    ):
        if not same:
            raise InputError(Problem(what, where, str(received), str(wanted)))
