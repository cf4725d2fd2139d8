"""Configurations that papers name, for the reference; their sizes are computed, never written here.

A family without an entry is shown with its defaults alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

ImageShape = tuple[int, int, int]

CIFAR_IMAGE: ImageShape = (32, 32, 3)
IMAGENET: tuple[ImageShape, int] = (224, 224, 3), 1000


class Published(NamedTuple):
    """A name from a paper, the values that make it, and what it classified."""

    name: str
    values: dict[str, Any]
    image_shape: ImageShape = CIFAR_IMAGE
    num_classes: int = 100


_PRE_BOTTLENECK = {"block": "bottleneck", "shortcut": "projection", "pre_activation": True}
_BC = {"bottleneck": True, "compression": 0.5}

_DPN = {"stem": "imagenet", "residual_filters": 256, "growth_rate": 16}
_DPN_92 = {
    **_DPN,
    "depth": 92,
    "stem_filters": 64,
    "groups": 32,
    "bottleneck_filters": 96,
    "growth_multipliers": [1.0, 2.0, 1.5, 8.0],
}
_DPN_98 = {
    **_DPN,
    "depth": 98,
    "stem_filters": 96,
    "groups": 40,
    "bottleneck_filters": 160,
    "growth_multipliers": [1.0, 2.0, 2.0, 8.0],
}

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "resnet": (
        Published("ResNet-20", {"depth": 20}),
        Published("ResNet-56", {"depth": 56}),
        Published("ResNet-110", {"depth": 110}),
        Published("PreResNet-164", {"depth": 164, **_PRE_BOTTLENECK}),
        *(
            Published(f"ResNet-{depth}", {"stem": "imagenet", "depth": depth}, *IMAGENET)
            for depth in (18, 34, 50, 101, 152)
        ),
    ),
    "wide_resnet": (
        Published("WRN-16-8", {"depth": 16, "widen_factor": 8}),
        Published("WRN-28-10", {"depth": 28, "widen_factor": 10}),
        Published("WRN-40-4", {"depth": 40, "widen_factor": 4}),
    ),
    "densenet": (
        Published("DenseNet-40, k = 12", {"depth": 40, "growth_rate": 12}),
        Published("DenseNet-BC-100, k = 12", {"depth": 100, "growth_rate": 12, **_BC}),
        Published("DenseNet-BC-250, k = 24", {"depth": 250, "growth_rate": 24, **_BC}),
        Published("DenseNet-BC-190, k = 40", {"depth": 190, "growth_rate": 40, **_BC}),
    ),
    "dual_path": (
        Published("DPN-92", _DPN_92, *IMAGENET),
        Published("DPN-98", _DPN_98, *IMAGENET),
    ),
    "inception": (
        Published(
            "GoogLeNet",
            {"stem": "imagenet", "width": 1.0, "batch_normalization": False},
            *IMAGENET,
        ),
        Published("GoogLeNet, normalized", {"stem": "imagenet", "width": 1.0}, *IMAGENET),
    ),
    "lenet": (Published("LeNet-5", {}, (28, 28, 1), 10),),
    "plain": (
        Published("plain-20", {"depth": 20}),
        Published("plain-56", {"depth": 56}),
    ),
}
