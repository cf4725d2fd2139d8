"""Which images are trained on and which are held out: fixed by the seed and the labels alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuner.errors import InputError, Problem

Validation = int | float | Literal["test"]
"""Images that are held out: how many, which fraction, or none, because the test set is read."""

_PURPOSE = 0x5B117  # keeps this generator apart from every other that starts from the same seed


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into the training images of a data set, each ascending; no image is in both."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]

    @cached_property
    def hash(self) -> str:
        """SHA-256 of both lists of indices."""
        digest = hashlib.sha256()
        for indices in (self.train, self.validation):
            digest.update(f"{len(indices)}:".encode())
            digest.update(indices.astype("<i8").tobytes())
        return digest.hexdigest()


def split(
    labels: NDArray[np.int32], validation: Validation, train_images: int | None, seed: int
) -> Split:
    """Hold out images of every class in proportion, and train on the rest or a part of it.

    Every class is in both parts. The same seed with more `train_images` trains on the same
    images and more. Independent of the machine and of numpy's version.
    Raises InputError where the numbers cannot be met.
    """
    if validation == "test":
        return _all_but_none(labels, train_images, seed)
    available = np.bincount(labels)
    problems = class_problems(available) or size_problems(
        len(labels), len(available), validation, train_images
    )
    if problems:
        raise InputError(problems)
    shuffled = _permutation(len(labels), seed)
    held_out = proportional_counts(available, validation_size(validation, len(labels)))
    place = _place_in_class(labels[shuffled]) - held_out[labels[shuffled]]
    rest = shuffled[place >= 0]
    order = _stratified_order(labels[rest], place[place >= 0], available - held_out)
    return Split(train=np.sort(rest[order][:train_images]), validation=np.sort(shuffled[place < 0]))


def _all_but_none(labels: NDArray[np.int32], train_images: int | None, seed: int) -> Split:
    """Nothing is held out: the test images are there to compare on."""
    available = np.bincount(labels)
    shuffled = _permutation(len(labels), seed)
    order = _stratified_order(labels[shuffled], _place_in_class(labels[shuffled]), available)
    return Split(np.sort(shuffled[order][:train_images]), np.empty(0, np.int64))


def validation_size(validation: Validation, num_images: int) -> int:
    """How many images are held out: a whole number says so itself, a fraction is of all images."""
    if validation == "test":
        return 0
    return validation if isinstance(validation, int) else round(validation * num_images)


def train_size(validation: Validation, train_images: int | None, num_images: int) -> int:
    """How many images are trained on."""
    return train_images or num_images - validation_size(validation, num_images)


def size_problems(
    num_images: int, num_classes: int, validation: Validation, train_images: int | None
) -> list[Problem]:
    """What is wrong with the sizes that are asked for; known before any image is read."""
    held_out = validation_size(validation, num_images)
    if validation == "test":
        return _size_problems_of_training(num_images, num_classes, held_out, train_images)
    most = num_images - num_classes  # one image of each class is left to train on
    if not num_classes <= held_out <= most:
        count = "" if held_out == validation else f" ({held_out} images)"
        return [
            Problem(
                "the search compares trials on validation images: "
                "every class needs one there, and one to train on",
                where="data.validation",
                received=f"{validation}{count}",
                expected=f"{num_classes} to {most} of {num_images} images in {num_classes} classes",
                mend=f"validation: {max(num_classes, min(num_images // 10, most))}",
            )
        ]
    return _size_problems_of_training(num_images, num_classes, held_out, train_images)


def _size_problems_of_training(
    num_images: int, num_classes: int, held_out: int, train_images: int | None
) -> list[Problem]:
    rest = num_images - held_out
    if train_images is None or num_classes <= train_images <= rest:
        return []
    return [
        Problem(
            "more training images than there are"
            if train_images > rest
            else "too few training images: every class needs one",
            where="data.train_images",
            received=str(train_images),
            expected=f"{num_classes} to {rest} ({num_images} images, {held_out} held out)",
            mend="train_images: null trains on all that are left",
        )
    ]


def class_problems(
    available: NDArray[np.int64] | Sequence[int], names: Sequence[str] = ()
) -> list[Problem]:
    """What is wrong with the number of images of each class."""
    few = [number for number, count in enumerate(available) if count < 2]
    if not few:
        return []
    called = {number: names[number] if names else f"class {number}" for number in few[:5]}
    return [
        Problem(
            "a class has fewer than two images: one to train on, one to validate with",
            where="data.dataset",
            received=", ".join(f"{name}: {available[c]}" for c, name in called.items()),
            expected=f"at least 2 images of each of the {len(available)} classes",
            mend="leave the class out"
            if names
            else "leave the class out, and number the others without gaps from 0",
        )
    ]


def proportional_counts(available: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """How many of `total` fall to each class: the largest remainders get what does not divide.

    At least one, and at most all but one, of each class. Whole-number arithmetic; ties go to the
    lower class.
    """
    num_images = int(available.sum())
    counts = np.clip(total * available // num_images, 1, available - 1)
    while (short := total - int(counts.sum())) != 0:
        remainders = total * available - counts * num_images
        open_classes = counts < available - 1 if short > 0 else counts > 1
        worth = np.where(open_classes, np.sign(short) * remainders, np.iinfo(np.int64).min)
        counts[int(np.argmax(worth))] += np.sign(short)
    return counts


def _permutation(count: int, seed: int) -> NDArray[np.int64]:
    """Raw bits and a stable sort: numpy promises that these never change."""
    raw = np.random.PCG64(np.random.SeedSequence([seed, _PURPOSE])).random_raw(count)
    return np.argsort(raw, kind="stable")


def _place_in_class(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many of the same class come before each."""
    order = np.argsort(labels, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))[:-1]])
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels)) - starts[labels[order]]
    return place


def _stratified_order(
    labels: NDArray[np.int32], place: NDArray[np.int64], available: NDArray[np.int64]
) -> NDArray[np.int64]:
    """An order of which every beginning holds the classes in proportion (Webster's method).

    Largest remainders would not do: with them a larger subset may hold fewer of a class.
    The first image of every class comes before the second of any.
    """
    share = (2 * place + 1) / (2 * available[labels])
    return np.lexsort((np.arange(len(labels)), share, place > 0))
