"""A person's arrays as images and classes: what is read, and what to type for the rest.

Whatever can be read in one way only is read. Everything else is refused with a line of Python that
mends it: over `x_train`, `y_train` and, where there are any, `x_test` and `y_test`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from tuner.data.dataset import BYTES, DatasetInfo, LabelledImages, Pixels
from tuner.errors import InputError, Problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = ("x_train", "y_train", "x_test", "y_test")
_CHUNK_IMAGES = 1024  # floats of so many at a time: a copy of all of them would not fit
_DARK = 128  # fractions below it would lose more than half of the 255 steps
_NUMBERS = "biuf"  # numpy's kinds


@dataclass(frozen=True, eq=False)
class Arrays:
    """Training and test images of one shape, with classes 0..num_classes - 1."""

    train: LabelledImages
    test: LabelledImages | None
    pixels: Pixels = BYTES
    class_names: tuple[str, ...] = ()

    def info(self, fingerprint: str, source: str, notes: tuple[str, ...] = ()) -> DatasetInfo:
        """Shapes and counts."""
        import numpy as np

        _, height, width, channels = self.train.images.shape
        counts = np.bincount(self.train.labels)
        return DatasetInfo(
            image_shape=(height, width, channels),
            num_classes=len(counts),
            num_train=len(self.train.labels),
            num_test=len(self.test.labels) if self.test else 0,
            fingerprint=fingerprint,
            pixels=self.pixels,
            class_names=self.class_names,
            class_counts=tuple(counts.tolist()),
            source=source,
            notes=notes,
        )

    @property
    def is_stretched(self) -> bool:
        """Whether fractions were stretched to 0..255: read otherwise before, so another content."""
        return self.pixels.scale not in (1.0, 255.0)

    def hash(self) -> str:
        """SHA-256 of shapes and content."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            if part:
                digest.update(f"{part.images.shape}".encode())
                digest.update(part.images.data)
                digest.update(part.labels.astype("<i4").tobytes())
        if self.class_names:
            digest.update("\0".join(self.class_names).encode())
        return digest.hexdigest()


def checked_arrays(named: Mapping[str, Any], where: str) -> Arrays:
    """`x_train`, `y_train`[, `x_test`, `y_test`] as uint8 images and int32 labels.

    Images: (n, height, width[, channels]), whole numbers in 0..255, or floats from 0 up to 1, 255
    or less, which become 0..255. Labels: whole numbers or names (n,) or (n, 1), or one-hot; numbers
    without gaps from 0; names are numbered in sorted order.
    Raises InputError.
    """
    _require_names(named, where)
    arrays = {name: _as_array(named[name], f"{where}: {name}") for name in NAMES if name in named}
    pixels = _pixels_of(arrays["x_train"])
    has_test = "x_test" in arrays
    parts = [_Part(where, "train", arrays["x_train"], arrays["y_train"], has_test)]
    if has_test:
        parts.append(_Part(where, "test", arrays["x_test"], arrays["y_test"], has_test))
    images = [_images(part, pixels) for part in parts]
    labels = [_labels(part) for part in parts]
    for part, its_images, its_labels in zip(parts, images, labels, strict=True):
        _require_a_label_each(part, len(its_images), len(its_labels))
    names, numbers = _numbered(parts, labels)
    train, *tests = (LabelledImages(*pair) for pair in zip(images, numbers, strict=True))
    for test in tests:
        _require_same_kind(train, test, where)
    return Arrays(train, tests[0] if tests else None, pixels, names)


@dataclass(frozen=True, eq=False)
class _Part:
    """The training or the test arrays; `has_test` where there are both."""

    where: str
    name: str
    images: NDArray[Any]
    labels: NDArray[Any]
    has_test: bool

    @property
    def x(self) -> str:
        """What the person calls the images."""
        return f"x_{self.name}"

    @property
    def y(self) -> str:
        """What the person calls the labels."""
        return f"y_{self.name}"

    def problem(self, array: str, what: str, received: str, expected: str, mend: str) -> Problem:
        """Of one of the two arrays."""
        return Problem(what, f"{self.where}: {array}", received, expected, mend)

    def alike(self, expression: str, letter: str) -> str:
        """A line that sets `expression`, in which {v} is the array, for training and test."""
        names = [f"{letter}_{part}" for part in ("train", "test")[: 1 + self.has_test]]
        return f"{', '.join(names)} = {', '.join(expression.format(v=name) for name in names)}"

    def kept(self, keep: str) -> str:
        """A line that keeps some of the images."""
        return f"keep = {keep}; {self.x}, {self.y} = {self.x}[keep], {self.y}[keep]"


def _as_array(value: Any, where: str) -> NDArray[Any]:
    """A list, a tensor of any framework, or a column of pandas as an array."""
    import numpy as np

    try:
        return np.asarray(value)
    except Exception as error:  # as numpy or the framework says it: ragged lists, GPU tensors
        received = f"{type(value).__name__}: {(str(error).splitlines() or [''])[0]}"
        shapes = {np.shape(item) for item in value} if isinstance(value, list | tuple) else set()
        if len(shapes) > 1:
            received = f"images of {' and '.join(map(str, sorted(shapes)[:2]))}"
        what, expected = "this cannot be read as one array", "one array, images of one size"
        raise InputError(Problem(what, where, received, expected)) from error


def _require_names(named: Mapping[str, Any], where: str) -> None:
    has = set(named)
    if {"x_train", "y_train"} <= has and ("x_test" in has) == ("y_test" in has):
        return
    raise InputError(
        Problem(
            "an array is missing",
            where=where,
            received=", ".join(map(str, named)) or "none of the arrays",
            expected="x_train and y_train; x_test and y_test together or not at all",
        )
    )


def _require_a_label_each(part: _Part, num_images: int, num_labels: int) -> None:
    if num_images == num_labels:
        return
    raise InputError(
        Problem(
            "images and labels don't match",
            where=part.where,
            received=f"{num_images} images in {part.x}, {num_labels} labels in {part.y}",
            expected="one label for each image",
        )
    )


def _require_same_kind(train: LabelledImages, test: LabelledImages, where: str) -> None:
    received, wanted = test.images.shape[1:], train.images.shape[1:]
    if received != wanted:
        what = "test images of another shape"
        raise InputError(Problem(what, where, str(received), str(wanted)))
    highest, trained = int(test.labels.max()), int(train.labels.max())
    if highest > trained:
        what = "test images of a class that is never trained"
        mend = f"keep = y_test <= {trained}; x_test, y_test = x_test[keep], y_test[keep]"
        raise InputError(Problem(what, where, str(highest), f"at most {trained}", mend))


# ---------------------------------------------------------------------- pixels


def _pixels_of(x_train: NDArray[Any]) -> Pixels:
    """The range that the training images say."""
    import numpy as np

    if not x_train.size or x_train.dtype.kind not in _NUMBERS:
        return BYTES
    high = float(x_train.max())
    if x_train.dtype != np.uint8 and high <= 1.001:  # resizing may go a little beyond
        return Pixels(1.0, 255.0)
    if not 0 < high <= _DARK:
        return BYTES
    if _is_whole(x_train):
        return Pixels(high)
    top = 2.0 ** math.ceil(math.log2(high))
    return Pixels(top, 255.0 / top)


def _is_whole(array: NDArray[Any]) -> bool:
    import numpy as np

    if array.dtype.kind != "f":
        return True
    return not any((chunk != np.rint(chunk)).any() for chunk in _chunks(array))


def _chunks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(array), _CHUNK_IMAGES):
        yield array[start : start + _CHUNK_IMAGES]


def _images(part: _Part, pixels: Pixels) -> NDArray[np.uint8]:
    import numpy as np

    array = part.images
    if problem := _layout_problem(part):
        raise InputError(problem)
    array = array if array.ndim == 4 else array[..., np.newaxis]
    if array.dtype == np.uint8 and (pixels.scale == 1 or array.max() > pixels.high):
        return np.ascontiguousarray(array)
    if problem := _value_problem(part, pixels):
        raise InputError(problem)
    images = np.empty(array.shape, np.uint8)
    for place, chunk in enumerate(_chunks(array)):
        start = place * _CHUNK_IMAGES
        images[start : start + len(chunk)] = np.rint(chunk * pixels.scale)
    return images


def _layout_problem(part: _Part) -> Problem | None:
    """What is wrong with the axes."""
    shape, x = part.images.shape, part.x
    what, mend = "", ""
    if len(shape) not in (3, 4) or 0 in shape:
        what, mend = "these are not images", _unflattened(shape, part)
    elif len(shape) == 3:
        return None
    elif part.labels.shape[:1] == shape[3:] != shape[:1]:  # as MATLAB writes them
        what, mend = "the images' number is the last axis", f"{x} = numpy.moveaxis({x}, -1, 0)"
    # A strip of 3 rows with as many channels as columns is no picture.
    elif shape[1] in (1, 3, 4) and shape[3] > 4 and 1 / 2 <= shape[2] / shape[3] <= 2:
        what, mend = "the channels come first", part.alike("numpy.moveaxis({v}, 1, -1)", "x")
    else:
        return None
    expected = "shape (images, height, width) or (images, height, width, channels)"
    if len(shape) == 1 and (part.images.dtype.kind in "US" or _all(part.images, str)):
        mend = "the images themselves; dataset: FOLDER/ reads files, with one folder a class"
    is_object = not shape and part.images.dtype.kind == "O"
    received = type(part.images.item()).__name__ if is_object else f"shape {shape}"
    return part.problem(x, what, received, expected, mend)


def _unflattened(shape: tuple[int, ...], part: _Part) -> str:
    """Rows of pixels in the shape that they most likely had."""
    if len(shape) != 2 or 0 in shape:
        return ""
    if shape[1] == 3072:  # CIFAR's own files have one colour plane after another
        return part.alike("{v}.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)", "x")
    for channels in (1, 3):
        side = math.isqrt(shape[1] // channels)
        if side > 1 and side * side * channels == shape[1]:
            return part.alike(f"{{v}}.reshape(-1, {side}, {side}, {channels})", "x")
    return ""


def _value_problem(part: _Part, pixels: Pixels) -> Problem | None:
    """What is wrong with the pixels' type or range."""
    import numpy as np

    array, x = part.images, part.x
    expected = "whole numbers in 0..255, or floats in 0..1 or 0..255, none of them NaN"
    if array.dtype.kind not in _NUMBERS:
        mend = part.alike("numpy.array({v}.tolist(), 'float32')", "x")
        return part.problem(x, "pixels of this type are not read", str(array.dtype), expected, mend)
    low, high = float(array.min()), float(array.max())  # NaN when any is
    if not (np.isfinite(low) and np.isfinite(high)):
        return _not_finite(part)
    if part.name == "test" and pixels.high > _DARK and array.dtype.kind == "f" and 0 < high <= 1:
        what, expected = "test images in another range", f"numbers in {pixels}, as in x_train"
        found = f"{array.dtype} in {low:g}..{high:g}"
        return part.problem(x, what, found, expected, "x_test = x_test * 255")
    if low * pixels.scale > -0.5 and high * pixels.scale < 255.5:
        return None
    mend = _into_range(part, low, high)
    if part.name == "test":
        expected = f"numbers in {pixels}, as in x_train"
        is_times_255 = pixels.high == 1 and low >= 0 and _DARK < high <= 255
        mend = "x_test / 255" if is_times_255 else f"numpy.clip(x_test, 0, {pixels.high:g})"
        mend = f"x_test = {mend}"
    found = f"{array.dtype} in {low:g}..{high:g}"
    return part.problem(x, "pixels out of range", found, expected, mend)


def _into_range(part: _Part, low: float, high: float) -> str:
    """Training images to 0..255 or 0..1; of the test images, what goes beyond them is cut off."""
    if part.images.dtype.kind != "f" and low >= 0:
        divisor = 2 ** (int(high).bit_length() - 8)  # 12 bits: 16; 16 bits: 256
        return part.alike(f"numpy.clip({{v}} // {divisor}, 0, 255).astype('uint8')", "x")
    shift = f"- {low!r}" if low >= 0 else f"+ {-low!r}"
    return part.alike(f"numpy.clip(({{v}} {shift}) / {high - low or 1.0!r}, 0, 1)", "x")


def _not_finite(part: _Part) -> Problem:
    import numpy as np

    axes = tuple(range(1, part.images.ndim))
    bad = ~np.isfinite(part.images).all(axis=axes)
    return part.problem(
        part.x,
        "pixels that are NaN or infinite",
        f"{int(bad.sum())} of {len(bad)} images, the first is number {int(bad.argmax())}",
        "numbers",
        part.kept(f"numpy.isfinite({part.x}).all(axis={axes})"),
    )


# ---------------------------------------------------------------------- classes


def _labels(part: _Part) -> NDArray[Any]:
    """Whole numbers or text (n,)."""
    import numpy as np

    array = _as_text(part.labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and _is_one_hot(array):
        array = np.argmax(array, axis=1)
    if array.ndim == 1 and array.dtype.kind in "biuU":
        return array.astype("int64") if array.dtype.kind == "b" else array
    raise InputError(_label_problem(part, array))


def _as_text(array: NDArray[Any]) -> NDArray[Any]:
    """Names as numpy's own text, whether they came as objects, bytes or strings."""
    import numpy as np

    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind == "T" or _all(array, str):
        return np.array(array.tolist(), "U")
    return array.astype("int64") if _all(array, Integral) else array


def _all(array: NDArray[Any], kind: type) -> bool:
    is_object = array.dtype.kind == "O" and array.size > 0
    return is_object and all(isinstance(item, kind) for item in array.ravel())


def _is_one_hot(array: NDArray[Any]) -> bool:
    """Whether each row has one 1 among zeros."""
    if array.dtype.kind not in _NUMBERS or array.shape[1] < 2:
        return False
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())


def _label_problem(part: _Part, array: NDArray[Any]) -> Problem:
    """What the labels are instead, and what makes classes of them."""
    import numpy as np

    y, received = part.y, f"{array.dtype} of shape {array.shape}"
    what, expected = "these are not class numbers", "whole numbers or names, of shape (images,)"
    is_float = array.dtype.kind == "f"
    if array.ndim == 1 and array.dtype.kind == "O":
        what, received, mend = _object_problem(part, array)
    elif array.ndim == 1 and is_float and not np.isfinite(array).all():
        what, received = (
            "labels that are NaN",
            f"{int((~np.isfinite(array)).sum())} of {len(array)}",
        )
        keep = f"numpy.isfinite(numpy.asarray({y}, float))"
        mend = f"{part.kept(keep)}; {y} = {y}.astype('int32')"
    elif array.ndim == 1 and is_float and not _is_whole(array):
        received = f"{received} with fractions, as {array[array != np.rint(array)][0]:g}"
        expected, mend = "classes: nothing here is trained to give amounts", ""
    elif array.ndim == 1 and is_float:
        mend = part.alike("{v}.astype('int32')", "y")
    elif array.ndim == 2 and is_float and np.allclose(array.sum(axis=1), 1, atol=1e-3):
        what = "soft labels: each image has shares of several classes"
        mend = part.alike("{v}.argmax(axis=1)", "y")
    else:
        mend = ""
        if array.ndim == 2 and array.dtype.kind in _NUMBERS:
            received += ", and not one 1 in each row"
    return part.problem(y, what, received, expected, mend)


def _object_problem(part: _Part, array: NDArray[Any]) -> tuple[str, str, str]:
    """What is wrong with labels of several types, and the line that mends it."""
    import pandas as pd

    if missing := int(pd.isna(array).sum()):
        what, received = "labels that are missing", f"{missing} of {len(array)}"
        return what, received, part.kept(f"pandas.notna({part.y})")
    kinds = sorted({type(item).__name__ for item in array})
    mend = part.alike("numpy.array({v}).astype(str)", "y")
    return "labels of several types", ", ".join(kinds), mend


def _numbered(
    parts: list[_Part], labels: list[NDArray[Any]]
) -> tuple[tuple[str, ...], list[NDArray[np.int32]]]:
    """The classes' names, if they have any, and labels from 0."""
    import numpy as np

    if labels[0].dtype.kind != "U":
        for part, numbers in zip(parts, labels, strict=True):
            _require_small_numbers(part, numbers)
        _require_every_class(parts[0], labels[0])
        return (), [numbers.astype(np.int32) for numbers in labels]
    names = np.unique(labels[0])
    if len(names) < 2:
        raise InputError(_one_class(parts[0], f"all are {names[0]!r}"))
    for part, texts in zip(parts, labels, strict=True):
        if unknown := sorted(set(np.unique(texts.astype("U")).tolist()) - set(names.tolist())):
            what, received = "test images of a class that is never trained", ", ".join(unknown[:5])
            expected = f"one of {', '.join(names[:10])}"
            mend = part.kept("numpy.isin(y_test, y_train)")
            raise InputError(part.problem(part.y, what, received, expected, mend))
    places = [np.searchsorted(names, texts.astype("U")).astype(np.int32) for texts in labels]
    return tuple(names.tolist()), places


def _require_small_numbers(part: _Part, labels: NDArray[Any]) -> None:
    if labels.dtype.kind == "U":
        mend = part.alike("{v}.astype(str)", "y")
        what, expected = "names here, and numbers in y_train", "the same in both"
        raise InputError(part.problem(part.y, what, "text", expected, mend))
    if not labels.size or (labels.min() >= 0 and labels.max() < 2**31 - 1):
        return
    what, received = "class numbers out of range", f"{labels.min()}..{labels.max()}"
    raise InputError(part.problem(part.y, what, received, "numbers from 0", _renumbered(part)))


def _renumbered(part: _Part) -> str:
    """The classes that are trained get the numbers 0, 1, 2, ..."""
    if not part.has_test:
        return "y_train = numpy.unique(y_train, return_inverse=True)[1]"
    numbers = part.alike("numpy.searchsorted(classes, {v})", "y")
    return f"classes = numpy.unique(y_train); {numbers}"


def _require_every_class(part: _Part, labels: NDArray[Any]) -> None:
    import numpy as np

    present = np.unique(labels)
    highest = int(present[-1])
    if highest == 0 or len(present) == 1:
        raise InputError(_one_class(part, f"all are {highest}"))
    if len(present) == highest + 1:
        return
    gap = int(np.argmax(present != np.arange(len(present))))
    begins_at_1 = gap == 0 and present[0] == 1 and len(present) == highest
    raise InputError(
        part.problem(
            part.y,
            f"class {gap} has no images",
            f"{len(present)} classes, {int(present[0])} to {highest}",
            "two or more classes, numbered from 0 without gaps",
            part.alike("{v} - 1", "y") if begins_at_1 else _renumbered(part),
        )
    )


def _one_class(part: _Part, received: str) -> Problem:
    what, expected = "one class is nothing to learn", "two or more classes"
    return part.problem(part.y, what, received, expected, "")
