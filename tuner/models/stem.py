"""The two beginnings that families offer: for small images and for those of ImageNet."""

from __future__ import annotations

from typing import Literal

from tuner.errors import InputError, Problem
from tuner.models.family import ImageShape

# cifar: convolutions with stride 1; imagenet: a 7×7 convolution and a 3×3 max pool with stride 2.
Stem = Literal["cifar", "imagenet"]

IMAGENET_REDUCTION = 4


def check_image(image_shape: ImageShape, stem: Stem, reduction: int) -> None:
    """Refuse images from which the strides of a network would leave nothing.

    Args:
        image_shape: of the data set.
        stem: of the network.
        reduction: what all that follows the stem divides height and width by.

    Raises:
        InputError: height or width below the product of the strides.
    """
    height, width, _ = image_shape
    least = reduction * (IMAGENET_REDUCTION if stem == "imagenet" else 1)
    if min(height, width) >= least:
        return
    small_enough = stem == "imagenet" and min(height, width) >= reduction
    raise InputError(
        Problem(
            what=f"the images are too small for the {stem} stem and what follows",
            where="model.stem",
            received=f"images of {height}x{width}",
            expected=f"images of at least {least}x{least}, since the network divides them by it",
            mend="set stem: cifar" if small_enough else "take another family, such as resnet",
        )
    )
